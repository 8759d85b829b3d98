"""The line's posterior, a Gaussian, and the evidence (Bishop 2006, sections 3.3 and 3.5.1)."""

from __future__ import annotations

import numpy as np
from scipy import stats

from models.contract import Best, Exact, Latents, Marginal

from .data import Women


class GaussianPosterior(Exact):
    """line | pounds ~ N(location, precision^-1)."""

    method, tolerance = "closed form", 1e-9

    def __init__(self, data: Women) -> None:
        design, pounds, noise, prior_sd = data.arguments().values()
        self.precision = design.T @ design / noise**2 + np.eye(design.shape[1]) / prior_sd**2
        self.covariance = np.linalg.inv(self.precision)
        self.location = self.covariance @ (design.T @ pounds) / noise**2
        marginal = noise**2 * np.eye(len(pounds)) + prior_sd**2 * design @ design.T
        self.log_evidence = float(stats.multivariate_normal(cov=marginal).logpdf(pounds))
        self.posterior = stats.multivariate_normal(self.location, self.covariance)

    def draw(self, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        return {"line": self.posterior.rvs(count, random_state=rng).reshape(count, -1)}

    def log_posterior(self, latents: Latents) -> np.ndarray:
        return np.atleast_1d(self.posterior.logpdf(latents["line"]))

    def marginal(self, site: str, index: tuple[int, ...] = ()) -> Marginal:
        (j,) = index
        return stats.norm(self.location[j], np.sqrt(self.covariance[j, j]))


def best_member(data: Women, family: str) -> Best | None:
    """Full rank is the posterior; mean field has its means, and variances 1 / precision_jj (section 10.1.2)."""
    exact = GaussianPosterior(data)
    if family == "full_rank":
        parameters = {"location": exact.location, "scale_tril": np.linalg.cholesky(exact.covariance)}
        return Best(exact.log_evidence, exact.tolerance, "the posterior itself", parameters)
    if family == "mean_field":
        diagonal, (_, log_det) = np.diagonal(exact.precision), np.linalg.slogdet(exact.precision)
        elbo = exact.log_evidence - 0.5 * float(np.log(diagonal).sum() - log_det)
        parameters = {"location": exact.location, "scale": diagonal**-0.5}
        return Best(elbo, exact.tolerance, "closed form", parameters)
    return None
