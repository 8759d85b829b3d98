"""Multi-path Pathfinder: a mixture of the Gaussians that several Pathfinders take, each from a start of its own.

    q(z) = sum_k weight_k N(z; location_k, scale_tril_k scale_tril_k'),

weight_k the share of path k in an importance resampling of equally many draws from each path (Zhang, Carpenter, Gelman
& Vehtari 2022, section 2.3). Their importance weights are Pareto smoothed, and are p(x, z) over the density of the
mixture with equal weights (the balance heuristic: Veach & Guibas 1995), so that two paths to one mode do not count it
twice.
Nothing is optimised. How far such a member is from the best mixture is not known.
"""

from __future__ import annotations

from guides.contract import Family

FAMILY = Family(largest_dimension=500, ways_of="full_rank", built_on=("full_rank",))
"""Its parameters are ``logits`` (k,), ``locations`` (k, d) and ``scale_trils`` (k, d, d)."""
