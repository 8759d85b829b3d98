"""Dropout: points under random masks, which multiply inputs and units by 0 or 1.

Every weight is a point; each input and each hidden unit is kept with probability 1 - rate, and all weights that lead
from one that is dropped are 0 together. The objective that is maximised,

    E_q[log p(x, z)] = E_q[log p(x | z)] - sum over weights of P(kept) point^2 / (2 prior sd^2) + a constant,

is Gal & Ghahramani's (2016, Dropout as a Bayesian approximation, equations 5 to 7) times -rows: squared errors with
weight decay. It has no entropy of q, and is no bound of the evidence: q has atoms, so that KL(q, posterior) is infinite
whatever the points (Hron, Matthews & Ghahramani 2018, Variational Bayesian dropout: pitfalls and fixes). The guide has
no density, and its ledger no number.

A model that has such a guide defines it beside the model, as the function ``dropout``.
"""

from guides.contract import Family

FAMILY = Family(is_particular=True, has_density=False)
