"""The regression's posterior and evidence where the noise is known: a Gaussian.

With A the inputs beside a column of ones and s the prior sds, A diag(s) = U diag(S) V': in this basis the coefficients
are independent, whatever the noise (Bishop 2006, sections 3.3 and 3.5.1). No normal equations are formed, so that
collinear columns cost no digits.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
from scipy import stats

from models.contract import Best, Exact, Latents, Marginal
from models.designs import coefficients, sites
from models.linear.data import LinearData

LOG_2PI = math.log(2 * math.pi)


class Rotated:
    """The regression in the basis in which design and prior are diagonal.

    Attributes:
        n_rows: The number of rows.
        sds: Prior sds of the coefficients, shape (d,).
        basis: V, shape (d, d).
        singular: S, shape (d,).
        projected: U' targets, shape (d,).
        residual: The squared distance of the targets from the space that the columns span.
    """

    def __init__(self, data: LinearData) -> None:
        features, self.sds = data.design.with_ones, data.prior_sds
        self.n_rows, d = features.shape
        scaled = np.pad(features * self.sds, ((0, max(0, d - self.n_rows)), (0, 0)))  # V is whole with few rows, too
        targets = np.pad(data.design.targets, (0, len(scaled) - self.n_rows))
        left, self.singular, right = np.linalg.svd(scaled, full_matrices=False)
        self.basis, self.projected = right.T, left.T @ targets
        residual = float(np.sum((targets - left @ self.projected) ** 2))
        self.residual = residual if residual > 1e-20 * float(np.sum(targets**2)) else 0.0  # rounding
        self.squares = np.sum((features * self.sds) ** 2, axis=0)

    def location(self, variance: Any) -> np.ndarray:
        """The coefficients' means for noise of this variance, shape (*shape of it, d)."""
        v = np.asarray(variance)[..., None]
        return (self.singular * self.projected / (v + self.singular**2)) @ self.basis.T * self.sds

    def widths(self, variance: Any) -> np.ndarray:
        """Posterior over prior sds along the basis, shape (*shape of the variance, d)."""
        v = np.asarray(variance)[..., None]
        return np.sqrt(v / (v + self.singular**2))

    def log_likelihood(self, variance: Any) -> np.ndarray:
        """log p(targets | variance), the coefficients integrated out, of the variance's shape."""
        v = np.asarray(variance)
        spread = v[..., None] + self.singular**2
        log_det = (self.n_rows - len(self.sds)) * np.log(v) + np.log(spread).sum(-1)
        return -0.5 * (self.n_rows * LOG_2PI + log_det + self.residual / v + (self.projected**2 / spread).sum(-1))

    def log_density(self, values: np.ndarray, variance: Any) -> np.ndarray:
        """log p(coefficients | targets, variance), shape (n_draws,)."""
        widths = self.widths(variance)
        eps = ((values - self.location(variance)) / self.sds) @ self.basis / widths
        log_det = np.log(widths).sum(-1) + np.log(self.sds).sum()
        return -0.5 * (eps**2).sum(-1) - log_det - 0.5 * len(self.sds) * LOG_2PI

    def coloured(self, eps: np.ndarray, variance: Any) -> np.ndarray:
        """Coefficients from standard normals, both of shape (n_draws, d)."""
        return self.location(variance) + (eps * self.widths(variance)) @ self.basis.T * self.sds

    def covariance(self, variance: float = 1.0) -> np.ndarray:
        """The coefficients' covariance, shape (d, d)."""
        root = self.sds[:, None] * self.basis * self.widths(variance)
        return root @ root.T

    def variances(self, variance: Any) -> np.ndarray:
        """The covariance's diagonal, shape (*shape of the variance, d)."""
        return (self.widths(variance) ** 2) @ (self.basis.T**2) * self.sds**2

    def precisions(self, variance: Any) -> np.ndarray:
        """The diagonal of the precision, shape (*shape of the variance, d)."""
        return (self.squares / np.asarray(variance)[..., None] + 1) / self.sds**2

    def divergence(self, variance: float) -> float:
        """KL(q*, posterior) in nats of the best factorised Gaussian: (sum log Lambda_jj - log det Lambda) / 2."""
        log_det = -2 * (np.log(self.widths(variance)).sum() + np.log(self.sds).sum())
        return float(0.5 * (np.log(self.precisions(variance)).sum() - log_det))


class GaussianRegression(Exact):
    """intercept, weights | targets ~ N(location, Lambda^-1)."""

    method = "closed form (singular values)"

    def __init__(self, data: LinearData) -> None:
        self.rotated, self.variance = Rotated(data), data.noise**2
        self.location = self.rotated.location(self.variance)
        self.log_evidence = float(self.rotated.log_likelihood(self.variance))
        self.tolerance = 1e-13 * (10 + len(data.design.targets) + abs(self.log_evidence))

    @cached_property
    def sds(self) -> np.ndarray:
        """Posterior sds, shape (d,)."""
        return np.sqrt(self.rotated.variances(self.variance))

    def draw(self, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        return sites(self.rotated.coloured(rng.standard_normal((count, len(self.location))), self.variance))

    def log_posterior(self, latents: Latents) -> np.ndarray:
        return self.rotated.log_density(coefficients(latents), self.variance)

    def marginal(self, site: str, index: tuple[int, ...] = ()) -> Marginal:
        return stats.norm(sites(self.location)[site][index], sites(self.sds)[site][index])

    def mean(self) -> dict[str, np.ndarray]:
        return sites(self.location)

    def sd(self) -> dict[str, np.ndarray]:
        return sites(self.sds)

    def extra_summary(self) -> dict[str, Any]:
        return {
            "mean-field sd / true sd": self.shrinkage.tolist(),
            "mean-field KL to the posterior": self.rotated.divergence(self.variance),
        }

    @cached_property
    def shrinkage(self) -> np.ndarray:
        """Sds of the best factorised Gaussian over the true ones, 1 / sqrt(Lambda_jj Sigma_jj), shape (d,)."""
        return 1 / np.sqrt(self.rotated.precisions(self.variance)) / self.sds


def gaussian_best(data: LinearData, family: str) -> Best | None:
    """The best member of a Gaussian family where the noise is known.

    Mean field has the posterior's means and the variances 1 / Lambda_jj (Bishop 2006, section 10.1.2).
    """
    exact = GaussianRegression(data)
    parameters = {"location": exact.location}
    if family == "mean_field":
        parameters["scale"] = 1 / np.sqrt(exact.rotated.precisions(exact.variance))
        elbo = exact.log_evidence - exact.rotated.divergence(exact.variance)
        return Best(elbo, exact.tolerance, "closed form: the posterior's means, variances 1 / Lambda_jj", parameters)
    if family == "full_rank":
        parameters["scale_tril"] = np.linalg.cholesky(exact.rotated.covariance(exact.variance))
        return Best(exact.log_evidence, exact.tolerance, "closed form: the posterior itself", parameters)
    return None
