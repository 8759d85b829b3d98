"""The process's posterior and evidence in closed form, and the best member of each Gaussian family.

With K = L L' the kernel at the inputs and s the noise, f = L u with u ~ N(0, I) has

    u | y ~ N(A^-1 L' y / s^2, A^-1),   A = I + L' L / s^2,   log p(y) = log N(y; 0, K + s^2 I)

(Rasmussen & Williams 2006, Gaussian Processes for Machine Learning, section 2.2). A's eigenvalues are at least 1, so
that no digits are lost where K is nearly singular.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
from scipy import special, stats
from scipy.linalg import cho_solve, solve_triangular

from models.contract import Best, Exact, Latents, Marginal, element
from models.gp.data import GpData

LOG_2PI = math.log(2 * math.pi)


class GaussianProcess(Exact):
    """The values f at the inputs, and u where they are whitened, given the targets.

    Attributes:
        factor: L, shape (n, n).
        information: The lower Cholesky factor of A, shape (n, n).
        location: Posterior means by site, each (n,).
        roots: By site a matrix (n, n) whose product with its transpose is the covariance.
    """

    method = "closed form (Cholesky)"

    def __init__(self, data: GpData) -> None:
        self.data, self.site = data, "u" if data.is_whitened else "f"
        y, variance = data.design.targets, data.noise**2
        self.size = len(y)
        self.factor = data.factor(data.design.inputs)
        self.information = np.linalg.cholesky(np.eye(self.size) + self.factor.T @ self.factor / variance)
        u = cho_solve((self.information, True), self.factor.T @ y) / variance
        root = solve_triangular(self.information, np.eye(self.size), lower=True, trans="T")
        self.location = {"u": u, "f": self.factor @ u}
        self.roots = {"u": root, "f": self.factor @ root}
        total = np.linalg.cholesky(self.factor @ self.factor.T + variance * np.eye(self.size))
        scaled = solve_triangular(total, y, lower=True)
        self.log_evidence = float(-0.5 * (scaled @ scaled + self.size * LOG_2PI) - np.log(np.diagonal(total)).sum())
        self.tolerance = 1e-15 * (10 + self.size) * (1 + np.sum(self.factor**2) / variance)  # rounding

    @property
    def described(self) -> tuple[str, ...]:
        """The latent, and f where that is derived."""
        return ("u", "f") if self.data.is_whitened else ("f",)

    def coefficients(self, latents: Latents) -> np.ndarray:
        """u of draws, shape (n_draws, n)."""
        values = np.asarray(latents[self.site])
        return values if self.data.is_whitened else solve_triangular(self.factor, values.T, lower=True).T

    def sites(self, u: np.ndarray) -> dict[str, np.ndarray]:
        """The latent site of u, shape (n_draws, n)."""
        return {self.site: u if self.data.is_whitened else u @ self.factor.T}

    @cached_property
    def log_volume(self) -> float:
        """log |d latent / d u|."""
        return 0.0 if self.data.is_whitened else float(np.log(np.diagonal(self.factor)).sum())

    def draw(self, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        return self.sites(self.location["u"] + rng.standard_normal((count, self.size)) @ self.roots["u"].T)

    def log_posterior(self, latents: Latents) -> np.ndarray:
        eps = (self.coefficients(latents) - self.location["u"]) @ self.information
        log_det = np.log(np.diagonal(self.information)).sum() - self.log_volume
        return -0.5 * np.sum(eps**2, axis=-1) + log_det - 0.5 * self.size * LOG_2PI

    @cached_property
    def sds(self) -> dict[str, np.ndarray]:
        """Posterior sds by site, each (n,)."""
        return {site: np.sqrt(np.sum(root**2, axis=1)) for site, root in self.roots.items()}

    def marginal(self, site: str, index: tuple[int, ...] = ()) -> Marginal:
        return stats.norm(self.location[site][index], self.sds[site][index])

    def mean(self) -> dict[str, np.ndarray]:
        return {site: self.location[site] for site in self.described}

    def sd(self) -> dict[str, np.ndarray]:
        return {site: self.sds[site] for site in self.described}

    def quantile(self, probability: float) -> dict[str, np.ndarray]:
        return {site: self.location[site] + special.ndtri(probability) * self.sds[site] for site in self.described}

    def precisions(self, site: str) -> np.ndarray:
        """The diagonal of the site's precision: A's, or that of K^-1 + I / s^2; shape (n,)."""
        if site == "u":
            return np.sum(self.information**2, axis=1)
        inverse = solve_triangular(self.factor, np.eye(self.size), lower=True)
        return np.sum(inverse**2, axis=0) + self.data.noise**-2

    def divergence(self, site: str) -> float:
        """KL(q*, posterior) in nats of the best factorised Gaussian in u or in f: (sum log P_ii - log det P) / 2."""
        log_det = 2 * np.log(np.diagonal(self.information)).sum()
        if site == "f":
            log_det -= 2 * np.log(np.diagonal(self.factor)).sum()
        return float(0.5 * (np.log(self.precisions(site)).sum() - log_det))

    def share(self, site: str) -> np.ndarray:
        """The sds of f under the best factorised Gaussian in u or in f, over the true ones; shape (n,)."""
        factor = self.factor if site == "u" else np.eye(self.size)
        return np.sqrt(np.sum(factor**2 / self.precisions(site), axis=1)) / self.sds["f"]

    def predict(self, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and sd of f at inputs of shape (m, columns), each (m,)."""
        across, left = self.data.weights(self.factor, inputs)
        return across.T @ self.location["u"], np.sqrt(left + np.sum((self.roots["u"].T @ across) ** 2, axis=0))

    def extra_summary(self) -> dict[str, Any]:
        ratios = {site: self.share(site) for site in ("u", "f")}
        return {
            "mean-field KL to the posterior, in u and in f": [self.divergence("u"), self.divergence("f")],
            "sd of f / true sd under mean field in u": [float(ratios["u"].min()), float(ratios["u"].max())],
            "sd of f / true sd under mean field in f": [float(ratios["f"].min()), float(ratios["f"].max())],
        }


def gaussian_best(data: GpData, family: str) -> Best | None:
    """The best member of a Gaussian family in closed form; None for any other family.

    Mean field has the posterior's means and the variances 1 / P_ii (Bishop 2006, section 10.1.2).
    """
    if family not in ("mean_field", "full_rank") or not data.is_gaussian:
        return None
    exact = GaussianProcess(data)
    parameters = {"location": exact.location[exact.site]}
    if family == "mean_field":
        parameters["scale"] = 1 / np.sqrt(exact.precisions(exact.site))
        elbo = exact.log_evidence - exact.divergence(exact.site)
        return Best(elbo, exact.tolerance, "closed form: the posterior's means, variances 1 / P_ii", parameters)
    root = exact.roots[exact.site]
    parameters["scale_tril"] = np.linalg.cholesky(root @ root.T)
    return Best(exact.log_evidence, exact.tolerance, "closed form: the posterior itself", parameters)


def coverage(data: GpData, family: str, probability: float) -> dict[str, float] | None:
    """How often a central interval of the best member's q(f_i) holds f_i, whatever y is seen; None for other families.

    Its means are the posterior's, so with r = sd_q / sd it is P(|N(0, 1)| < r z), z the normal quantile of
    (1 + probability) / 2.
    """
    if family not in ("mean_field", "full_rank") or not data.is_gaussian:
        return None
    exact = GaussianProcess(data)
    ratio = exact.share(exact.site) if family == "mean_field" else np.ones(exact.size)
    inside = 2 * special.ndtr(ratio * special.ndtri((1 + probability) / 2)) - 1
    return {element("f", (i,)): float(value) for i, value in enumerate(inside)}
