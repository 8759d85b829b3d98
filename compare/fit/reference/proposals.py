"""Mixtures of Student t distributions: proposals that can be drawn from, evaluated, fitted and adapted."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import linalg, special
from scipy.cluster.vq import kmeans2

from compare.fit.reference.modes import Mode

__all__ = ["StudentMixture", "around_modes", "fit_mixture"]

MAX_COMPONENTS = 60
"""Components of a mixture at most."""


@dataclass(frozen=True)
class StudentMixture:
    """A mixture of multivariate Student t distributions.

    Attributes:
        weights: Shape (m,), sum 1.
        locations: Shape (m, d).
        scales: Lower triangular L with L L^T = the scale matrix, shape (m, d, d).
        df: Degrees of freedom of all components.
    """

    weights: np.ndarray
    locations: np.ndarray = field(repr=False)
    scales: np.ndarray = field(repr=False)
    df: float

    @property
    def dimension(self) -> int:
        """The number of coordinates d; `draw` needs uniforms for d + 2."""
        return self.locations.shape[1]

    def draw(self, uniforms: np.ndarray) -> np.ndarray:
        """Points (n, d) from uniforms (n, d + 2): the first picks the component, the last the radius."""
        uniforms = np.clip(uniforms, 1e-12, 1 - 1e-12)
        component = np.searchsorted(np.cumsum(self.weights)[:-1], uniforms[:, 0])
        normals = special.ndtri(uniforms[:, 1:-1])
        radius = np.sqrt(self.df / special.chdtri(self.df, uniforms[:, -1]))
        return self.locations[component] + radius[:, None] * np.einsum("nij,nj->ni", self.scales[component], normals)

    def component_log_densities(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log weight plus log density of each component at points (n, d), and squared distances, both (n, m)."""
        d, df = self.dimension, self.df
        squares = np.empty((len(points), len(self.weights)))
        for k, (location, scale) in enumerate(zip(self.locations, self.scales, strict=True)):
            gaps = np.clip(linalg.solve_triangular(scale, (points - location).T, lower=True), -1e150, 1e150)
            squares[:, k] = (gaps**2).sum(0)
        log_scales = np.log(np.abs(np.einsum("kii->ki", self.scales))).sum(1)
        constant = special.gammaln((df + d) / 2) - special.gammaln(df / 2) - d / 2 * np.log(df * np.pi)
        with np.errstate(divide="ignore"):
            log_weights = np.log(self.weights)
        return log_weights + constant - log_scales - (df + d) / 2 * np.log1p(squares / df), squares

    def log_density(self, points: np.ndarray) -> np.ndarray:
        """The log density at points (n, d), shape (n,)."""
        return special.logsumexp(self.component_log_densities(points)[0], axis=1)

    def adapted(self, points: np.ndarray, weights: np.ndarray, df: float) -> StudentMixture:
        """The mixture after one EM step on weighted points (population Monte Carlo).

        Components that explain too little to estimate a covariance keep theirs.

        Args:
            points: Shape (n, d).
            weights: Shape (n,), sum 1.
            df: Degrees of freedom of the new mixture.

        Source: Cappe, Douc, Guillin, Marin and Robert (2008), Adaptive importance sampling in general mixture classes,
        section 4.
        """
        log_parts, squares = self.component_log_densities(points)
        shares = weights[:, None] * special.softmax(log_parts, axis=1)
        masses = shares.sum(0)
        pulls = shares * (self.df + self.dimension) / (self.df + squares)
        locations, scales = self.locations.copy(), self.scales.copy()
        counts = masses**2 / np.maximum((shares**2).sum(0), 1e-300)  # effective points of each component
        for k in np.flatnonzero(counts > 3 * self.dimension + 5):
            locations[k] = pulls[:, k] @ points / pulls[:, k].sum()
            gaps = points - locations[k]
            covariance = (pulls[:, k, None] * gaps).T @ gaps / masses[k]
            scales[k] = _factor(covariance)
        kept = masses > 1e-5
        masses = np.maximum(masses[kept], 1e-3)
        return StudentMixture(masses / masses.sum(), locations[kept], scales[kept], df)


def _factor(covariance: np.ndarray) -> np.ndarray:
    """The Cholesky factor of a covariance, with no direction narrower than 1e-6 of its coordinates' sds."""
    sds = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
    values, vectors = np.linalg.eigh(covariance / np.outer(sds, sds))
    values = np.maximum(values, 1e-10)
    return sds[:, None] * np.linalg.cholesky((vectors * values) @ vectors.T)


def around_modes(modes: Sequence[Mode], df: float, inflation: float = 1.2) -> StudentMixture:
    """A component at each member of each mode, with weights between uniform and by Laplace's masses.

    Args:
        modes: Modes found.
        df: Degrees of freedom.
        inflation: Factor on the Laplace sds.
    """
    members = [(mode.member_log_mass[i], mode.members[i], mode.member_factors[i]) for mode in modes for i in _few(mode)]
    members = sorted(members, key=lambda member: -member[0])[:MAX_COMPONENTS]
    log_masses = np.array([member[0] for member in members])
    weights = 0.5 * special.softmax(log_masses) + 0.5 * special.softmax(log_masses / 4)
    scales = np.array([_factor(np.linalg.inv(member[2].T @ member[2])) for member in members]) * inflation
    return StudentMixture(weights / weights.sum(), np.array([member[1] for member in members]), scales, df)


def _few(mode: Mode) -> range:
    return range(min(len(mode.members), MAX_COMPONENTS // 2))


def fit_mixture(
    points: np.ndarray, n_components: int, df: float, rng: np.random.Generator, inflation: float = 1.0
) -> StudentMixture:
    """A mixture with the moments of the clusters (k-means, in standardised coordinates) of points (n, d)."""
    d = points.shape[1]
    sds = np.maximum(points.std(0), 1e-300)
    n_components = max(1, min(n_components, len(points) // (5 * d + 20)))
    labels = np.zeros(len(points), int)
    if n_components > 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an empty cluster is left out below
            _, labels = kmeans2(points / sds, n_components, minit="++", rng=rng)
    counts = np.bincount(labels, minlength=n_components)
    parts = [points[labels == k] for k in np.flatnonzero(counts > 2 * d + 2)] or [points]
    correction = inflation * np.sqrt((df - 2) / df)
    scales = [_factor(np.atleast_2d(np.cov(part.T))) * correction for part in parts]
    weights = np.array([len(part) for part in parts], float)
    return StudentMixture(weights / weights.sum(), np.array([part.mean(0) for part in parts]), np.array(scales), df)
