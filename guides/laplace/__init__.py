"""Laplace: the Gaussian at the posterior's mode, with the curvature there, on the unconstrained latents.

Its precision is minus the Hessian of the log joint at its highest point (MacKay 2003, chapter 27; Gelman et al. 2013,
section 4.1). It costs one climb and one Hessian and looks at one point only: mean and spread are the posterior's where
that is Gaussian, and miss its skewness elsewhere. It is a member of the full-rank family, seldom the best: the
optimisation gap says what the best would gain.
"""

from __future__ import annotations

from dataclasses import replace

from guides import full_rank

FAMILY = replace(full_rank.FAMILY, local_posterior=None, at_mode_of="full_rank", built_on=("full_rank",))
