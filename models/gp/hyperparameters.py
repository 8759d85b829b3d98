"""The process's posterior where length and noise are unknown, by quadrature over the two.

Their logs are normal around the logs of ``length`` and ``noise``; z are their normal scores. Given them the posterior
is `models.gp.exact`'s Gaussian, so that each value of f has a mixture of Gaussians. With K = V diag(l) V' for a length,

    log p(y | length, noise) = -(sum_k (V'y)_k^2 / (l_k + s^2) + sum_k log(l_k + s^2) + n log 2 pi) / 2

for every noise s (Rasmussen & Williams 2006, section 5.4.1).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import stats

from models.contract import Exact, Latents, Marginal, Reference
from models.gp import classes
from models.gp.data import GpData
from models.gp.exact import LOG_2PI, GaussianProcess
from models.marginals import NormalScores, TabulatedMixture
from models.shared_lattice import integrate

MOST_POINTS = 60
"""Points up to which length and noise are integrated over; every draw takes factors of its own."""

ENTRIES = 4_000_000  # most entries of the matrices that are held at once

HYPERPARAMETERS = ("length", "noise")


class OverHyperparameters:
    """A density of length and noise, the prior's times a likelihood, and Gaussians of f (or u) given them.

    Attributes:
        mass: Where the density of the normal scores has its mass.
    """

    def __init__(self, data: GpData) -> None:
        self.data, self.site = data, "u" if data.is_whitened else "f"
        self.targets = data.design.targets
        line = np.linspace(-8, 8, 65)
        ceiling = self.log_likelihood(np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)).max() + 1.0
        self.mass = integrate(lambda rows, z: self.log_joint(z)[:, None], 2, np.array([ceiling]))[0]
        self.log_evidence, self.tolerance = self.mass.log_evidence, self.mass.change + 1e-9

    def log_likelihood(self, z: np.ndarray) -> np.ndarray:
        """The log likelihood of normal scores (m, 2), or what takes its place: (m,)."""
        raise NotImplementedError

    def given(self, lengths: np.ndarray, noises: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """L, the Cholesky factor of u's precision, and its mean for each pair: (m, n, n) twice, and (m, n)."""
        raise NotImplementedError

    def values(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Length and noise at normal scores (m, 2), each (m,)."""
        steps = np.exp(self.data.spread * z)
        return self.data.length * steps[:, 0], self.data.noise * steps[:, 1]

    def kernels(self, lengths: np.ndarray) -> np.ndarray:
        """K for each length, shape (m, n, n)."""
        inputs = self.data.design.inputs
        white = self.data.variance * self.data.jitter * np.eye(len(inputs))
        return self.data.covariance(inputs, inputs, lengths[:, None, None]) + white

    def log_joint(self, z: np.ndarray) -> np.ndarray:
        """log p(y, z) at normal scores (m, 2): (m,)."""
        return stats.norm.logpdf(z).sum(axis=1) + self.log_likelihood(z)

    def blocks(self, count: int) -> list[np.ndarray]:
        """Rows of draws whose matrices fit into memory together."""
        return np.array_split(np.arange(count), 1 + count * len(self.targets) ** 2 // ENTRIES)

    def draw(self, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        lengths, noises = self.values(self.mass.draw(self.log_joint, rng, count))
        values = rng.standard_normal((count, len(self.targets)))
        for rows in self.blocks(count):
            factor, information, mean = self.given(lengths[rows], noises[rows])
            u = mean + np.linalg.solve(information.transpose(0, 2, 1), values[rows, :, None])[..., 0]
            values[rows] = u if self.data.is_whitened else (factor @ u[..., None])[..., 0]
        return {"length": lengths, "noise": noises, self.site: values}

    def log_posterior(self, latents: Latents) -> np.ndarray:
        lengths, noises, values = (np.asarray(latents[site]) for site in (*HYPERPARAMETERS, self.site))
        z = np.log(np.stack([lengths / self.data.length, noises / self.data.noise], axis=-1)) / self.data.spread
        logs = self.log_joint(z) - self.log_evidence - np.log(self.data.spread**2 * lengths * noises)
        for rows in self.blocks(len(logs)):
            factor, information, mean = self.given(lengths[rows], noises[rows])
            u = values[rows] if self.data.is_whitened else np.linalg.solve(factor, values[rows, :, None])[..., 0]
            eps = (information.transpose(0, 2, 1) @ (u - mean)[..., None])[..., 0]
            logs[rows] += log_diagonal(information) - 0.5 * (eps**2 + LOG_2PI).sum(axis=1)
            if not self.data.is_whitened:
                logs[rows] -= log_diagonal(factor)
        return logs


class UnknownHyperparameters(OverHyperparameters, Exact):
    """The posterior of length and noise by quadrature, and of f (or u) given them.

    Attributes:
        means: Posterior means by site where length and noise have mass, each (points, n).
        spreads: Posterior sds there by site, each (points, n).
    """

    def __init__(self, data: GpData) -> None:
        super().__init__(data)
        self.method = f"quadrature over length and noise: trapezoid, {len(self.mass.indices):,} nodes"
        self.means, self.spreads = self.conditionals()
        self.marginals: dict[tuple[str, tuple[int, ...]], Marginal] = {}

    def log_likelihood(self, z: np.ndarray) -> np.ndarray:
        """log p(y | length, noise) at normal scores (m, 2): (m,)."""
        lengths, noises = self.values(z)
        distinct, place = np.unique(lengths, return_inverse=True)
        spectra, vectors = np.linalg.eigh(self.kernels(distinct))
        squares = (self.targets @ vectors) ** 2
        spread = spectra[place] + noises[:, None] ** 2
        return -0.5 * (squares[place] / spread + np.log(spread) + LOG_2PI).sum(axis=1)

    def conditionals(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Means and sds of u and f given length and noise at the points that have mass."""
        lengths, noises = self.values(self.mass.points)
        shape = len(noises), len(self.targets)
        means, spreads = ({site: np.empty(shape) for site in ("u", "f")} for _ in range(2))
        for length in np.unique(lengths):
            (kernel,) = self.kernels(np.array([length]))
            spectrum, vectors = np.linalg.eigh(kernel)
            rows = np.flatnonzero(lengths == length)
            total = spectrum + noises[rows, None] ** 2
            scaled, loading = vectors.T @ self.targets / total, np.linalg.cholesky(kernel).T @ vectors
            means["f"][rows], means["u"][rows] = (spectrum * scaled) @ vectors.T, scaled @ loading.T
            spreads["f"][rows] = np.sqrt((spectrum * (1 - spectrum / total)) @ (vectors**2).T)
            spreads["u"][rows] = np.sqrt(1 - (1 / total) @ (loading**2).T)
        return means, spreads

    def given(self, lengths: np.ndarray, noises: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        factor = np.linalg.cholesky(self.kernels(lengths))
        scaled = factor.transpose(0, 2, 1) / noises[:, None, None]
        information = np.linalg.cholesky(np.eye(len(self.targets)) + scaled @ scaled.transpose(0, 2, 1))
        half = np.linalg.solve(information, scaled @ self.targets[:, None] / noises[:, None, None])
        return factor, information, np.linalg.solve(information.transpose(0, 2, 1), half)[..., 0]

    def marginal(self, site: str, index: tuple[int, ...] = ()) -> Marginal:
        if (site, index) not in self.marginals:
            if site in HYPERPARAMETERS:
                prior = stats.lognorm(self.data.spread, scale=getattr(self.data, site))
                known: Marginal = NormalScores(prior, self.mass.marginal(HYPERPARAMETERS.index(site)))
            else:
                (i,) = index
                known = TabulatedMixture(self.means[site][:, i], self.spreads[site][:, i], self.mass.probabilities)
            self.marginals[site, index] = known
        return self.marginals[site, index]

    @property
    def _shapes(self) -> dict[str, tuple[int, ...]]:  # type: ignore[override]
        """The latents' shapes, and that of f where it is derived."""
        size = (len(self.targets),)
        return {"length": (), "noise": (), self.site: size, "f": size}


def log_diagonal(factors: np.ndarray) -> np.ndarray:
    """The log determinants of triangular matrices (m, n, n): (m,)."""
    return np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1)


@lru_cache(maxsize=8)
def integrated(data: GpData, content: tuple[bytes, ...]) -> UnknownHyperparameters:
    """The posterior, computed once for each content of the data."""
    return UnknownHyperparameters(data)


def truth(data: GpData) -> Exact | Reference:
    """Closed form where length and noise are known, quadrature where they are not and the points are few."""
    if not data.is_normal:
        return classes.truth(data)
    if data.is_known:
        return GaussianProcess(data)
    if len(data.design.targets) > MOST_POINTS:
        return Reference("NUTS on the latents, length and noise")
    return integrated(data, data.content)
