"""Pathfinder: the best Gaussian that L-BFGS comes by on its way to the mode of the unconstrained latents.

At every point of the way L-BFGS's estimate of the inverse Hessian, from its last six steps, is a covariance, and a
Newton step leads to a mean; the Gaussian of the highest ELBO is taken (Zhang, Carpenter, Gelman & Vehtari 2022). It
costs one climb, and a few draws at each point. On a funnel it stops short of the neck into which the mode would lead.
With more latents than steps most of the covariance is a diagonal. It is a member of the full-rank family: the
optimisation gap says what the best would gain.
"""

from __future__ import annotations

from dataclasses import replace

from guides import full_rank

FAMILY = replace(full_rank.FAMILY, local_posterior=None, on_way_of="full_rank", built_on=("full_rank",))
