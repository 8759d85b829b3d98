"""What others print about posteriors whose truth is known: pages of documentation, tutorials and benchmarks.

``printed.csv`` has the numbers as they stand on the pages, to at most six decimals: posterior means, sds, and effective
sample sizes (from standard errors where these are printed, the number of draws where only that is known, empty where
nothing was drawn). They were listed before they were judged. `pages` says where each stands, `truths` what is true, and
`judging` how far apart the two are. The data sets:

- ``waffles.csv``: marriages, divorces and their standard error per 1,000 inhabitants, and the median age at marriage,
  in 50 states (U.S. census, as in McElreath's *Statistical Rethinking*, chapter 5);
- ``ordinal.csv`` and ``line.csv``: what the recipes of two pages draw with JAX; the pages print enough of them to know
  that they are the same.
"""
