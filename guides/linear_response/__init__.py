"""Linear response: mean field's means, with the covariance that its optimum's own sensitivity gives.

Tilt the log joint by t'z. The posterior's means then move by its covariance, and mean field's by their estimate of it
(Giordano, Broderick & Jordan 2018, Covariances, robustness, and variational Bayes, section 3). With H the Hessian of
-ELBO in mean field's parameters at their optimum,

    q(z) = N(location, S),      S = the locations' block of H^-1, on the unconstrained latents.

Where the posterior is Gaussian, S is its covariance, though mean field holds no correlation. It is what full rank's
guide holds, without full rank's search; where mean field's means are wrong, so are its own.
"""

from __future__ import annotations

from dataclasses import replace

from guides import full_rank

FAMILY = replace(full_rank.FAMILY, local_posterior=None, response_of="mean_field", built_on=("mean_field", "full_rank"))
"""The Hessian takes 16 d batches of gradients and more, and its inverse is dense."""
