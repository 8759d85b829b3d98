"""The regression's posterior where the noise is unknown: in closed form under the conjugate prior, else by quadrature.

Under the conjugate prior, variance ~ InverseGamma(a, b) and coefficients ~ N(0, variance s^2), the variance's posterior
is InverseGamma(a_n, b_n) and the coefficients are Student's t with 2 a_n degrees of freedom (Bishop 2006, exercise
3.12; Gelman et al. 2013, Bayesian Data Analysis, section 14.2). Under any other prior the posterior is a mixture of
Gaussians, one for each sigma, and sigma is the one dimension over which is integrated.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import special, stats

from models.contract import Best, Exact, Latents, Marginal
from models.designs import coefficients, column_of, sites
from models.linear.data import LinearData
from models.linear.exact import LOG_2PI, Rotated, gaussian_best
from models.marginals import NormalScores, TabulatedMixture
from models.shared_lattice import integrate

LEAST = 1e-30  # sigma, for which far scores round to 0


class ConjugateRegression(Exact):
    """variance ~ InverseGamma(a, b), and the coefficients N(location, variance Sigma).

    Attributes:
        a: Shape of the variance's posterior, a + n / 2.
        b: Its rate, b + (targets' weighted sum of squares) / 2.
    """

    method = "closed form (normal-inverse-gamma)"

    def __init__(self, data: LinearData) -> None:
        self.rotated = rotated = Rotated(data)
        spread = 1 + rotated.singular**2
        self.a = data.shape + rotated.n_rows / 2
        self.b = data.rate + 0.5 * (rotated.residual + float(np.sum(rotated.projected**2 / spread)))
        constant = data.shape * math.log(data.rate) - special.gammaln(data.shape) + special.gammaln(self.a)
        log_dets = 0.5 * (rotated.n_rows * LOG_2PI + np.log(spread).sum())
        self.log_evidence = float(constant - self.a * math.log(self.b) - log_dets)
        self.tolerance = 1e-13 * (10 + rotated.n_rows + abs(self.log_evidence))
        self.location, self.units = rotated.location(1.0), np.sqrt(rotated.variances(1.0))

    def draw(self, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        variance = self.b / rng.gamma(self.a, size=count)
        steps = self.rotated.coloured(rng.standard_normal((count, len(self.location))), 1.0) - self.location
        return {"variance": variance, **sites(self.location + np.sqrt(variance)[:, None] * steps)}

    def log_posterior(self, latents: Latents) -> np.ndarray:
        variance = np.asarray(latents["variance"])
        values = self.location + (coefficients(latents) - self.location) / np.sqrt(variance)[:, None]
        given = self.rotated.log_density(values, 1.0) - 0.5 * len(self.location) * np.log(variance)
        return given + stats.invgamma.logpdf(variance, self.a, scale=self.b)

    def marginal(self, site: str, index: tuple[int, ...] = ()) -> Marginal:
        if site == "variance":
            return stats.invgamma(self.a, scale=self.b)
        units = math.sqrt(self.b / self.a) * sites(self.units)[site][index]
        return stats.t(2 * self.a, sites(self.location)[site][index], units)

    def extra_summary(self) -> dict[str, Any]:
        ratio = math.sqrt(1 - 1 / self.a)
        return {
            "posterior of the variance": f"InverseGamma({self.a:g}, {self.b:g})",
            "mean-field KL to the Gaussian of a known noise": self.rotated.divergence(1.0),
            "sd at the mean precision / true sd, sqrt(1 - 1 / a)": ratio,
        }


def prior_of_sigma(data: LinearData) -> Any:
    """The prior of sigma, frozen. A half-normal is SciPy's chi(1): its halfnorm loses quantiles' digits near 0."""
    return stats.uniform(0, data.scale) if data.prior == "uniform" else stats.chi(1, scale=data.scale)


class MixedRegression(Exact):
    """sigma by quadrature over its normal scores z (its prior is N(0, 1) in z), and the coefficients given sigma."""

    def __init__(self, data: LinearData) -> None:
        self.rotated, self.prior = Rotated(data), prior_of_sigma(data)
        self.scores = NormalScores(self.prior)
        ceiling = self.log_likelihood(np.linspace(-8, 8, 4001)).max() + 1.0
        self.mass = integrate(lambda rows, z: self.log_joint(z)[:, None], 1, np.array([ceiling]))[0]
        self.scores = NormalScores(self.prior, self.mass.marginal(0))
        self.sigma = self.scores.value(self.scores.base.places)
        self.shares = self.scores.base.masses
        self.means, self.spreads = self.rotated.location(self.sigma**2), np.sqrt(self.rotated.variances(self.sigma**2))
        self.log_evidence, self.tolerance = self.mass.log_evidence, self.mass.change + 1e-9
        self.method = f"quadrature over sigma: trapezoid, {len(self.sigma):,} nodes"

    def log_joint(self, z: np.ndarray) -> np.ndarray:
        """log p(targets, z) at points of shape (n, 1)."""
        return stats.norm.logpdf(z[:, 0]) + self.log_likelihood(z[:, 0])

    def log_likelihood(self, z: np.ndarray) -> np.ndarray:
        return self.rotated.log_likelihood(np.maximum(self.scores.value(z), LEAST) ** 2)

    def draw(self, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        sigma = self.scores.value(self.mass.draw(self.log_joint, rng, count)[:, 0])
        eps = rng.standard_normal((count, len(self.rotated.sds)))
        return {"sigma": sigma, **sites(self.rotated.coloured(eps, sigma**2))}

    def log_posterior(self, latents: Latents) -> np.ndarray:
        sigma = np.asarray(latents["sigma"])
        log_sigma = self.prior.logpdf(sigma) + self.rotated.log_likelihood(sigma**2) - self.log_evidence
        return log_sigma + self.rotated.log_density(coefficients(latents), sigma**2)

    def marginal(self, site: str, index: tuple[int, ...] = ()) -> Marginal:
        if site == "sigma":
            return self.scores
        place = column_of(index)
        return TabulatedMixture(self.means[:, place], self.spreads[:, place], self.shares)


@lru_cache(maxsize=8)
def mixed(data: LinearData, content: tuple[bytes, ...]) -> MixedRegression:
    """The posterior, computed once for each content of the data (a file's may change)."""
    return MixedRegression(data)


def unknown_noise(data: LinearData) -> Exact:
    """The posterior of coefficients and noise."""
    if data.prior == "conjugate":
        return ConjugateRegression(data)
    return mixed(data, (data.design.inputs.tobytes(), data.design.targets.tobytes()))


def best_member(data: LinearData, family: str) -> Best | None:
    """The best Gaussian, with known noise or the conjugate prior; and what coordinate ascent seeks, ``factorised``.

    Under the conjugate prior, a Gaussian in u = log variance and in the coefficients has E[1 / variance] = a_n / b_n,
    the coefficients' posterior means, and the precision a_n / b_n times Sigma^-1, or its diagonal; u has variance
    1 / (a_n + d / 2). These are the roots of the ELBO's gradient.
    """
    if data.prior == "known":
        return gaussian_best(data, family)
    if data.prior != "conjugate" or family not in ("mean_field", "full_rank", "factorised"):
        return None
    exact = ConjugateRegression(data)
    d, unit = len(exact.location), exact.b / exact.a
    spare = exact.rotated.divergence(1.0) if family != "full_rank" else 0.0
    count = exact.a + d / 2  # of InverseGamma(count, .), the best factor of the variance
    if family == "factorised":
        lost = special.gammaln(exact.a) - special.gammaln(count) + count * math.log(count) - exact.a * math.log(exact.a)
        elbo = exact.log_evidence - spare - float(lost - d / 2)
        return Best(elbo, exact.tolerance, "closed form: E[1 / variance] = a / b", {})
    log_gap = special.gammaln(exact.a) - exact.a * math.log(exact.a) + exact.a - 0.5 * math.log(2 * math.pi / count)
    mean = math.log(unit) + 0.5 / count
    location = np.concatenate([[mean], exact.location])
    parameters: dict[str, np.ndarray] = {"location": location}
    if family == "mean_field":
        sds = np.sqrt(unit / exact.rotated.precisions(1.0))
        parameters["scale"] = np.concatenate([[count**-0.5], sds])
    else:
        factor = np.zeros((d + 1, d + 1))
        factor[0, 0], factor[1:, 1:] = count**-0.5, np.linalg.cholesky(unit * exact.rotated.covariance(1.0))
        parameters["scale_tril"] = factor
    elbo = exact.log_evidence - spare - float(log_gap)
    return Best(elbo, exact.tolerance, "closed form: E[1 / variance] = a / b", parameters)
