"""Mixtures of Student t distributions: proposals that can be drawn from, evaluated, fitted and adapted."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import linalg, special
from scipy.cluster.vq import kmeans2

from compare.fit.reference.modes import Mode

__all__ = ["StudentMixture", "around_modes", "defensive", "fit_mixture"]

MAX_COMPONENTS = 60
"""Components of a mixture at most."""

STRETCH = 3.0
"""By how much draws are stretched that explore the tails of one coordinate."""


@dataclass(frozen=True)
class StudentMixture:
    """A mixture of multivariate Student t distributions.

    In many dimensions such a distribution is nearly Gaussian along any one of them while the others are typical, and
    posteriors have heavier tails than that: those of a log scale are exponential. The draws of some components are
    therefore stretched along one coordinate, each as often, with the others as their regression on it says.

    Attributes:
        weights: Shape (m,), sum 1.
        locations: Shape (m, d).
        scales: Lower triangular L with L L^T = the scale matrix, shape (m, d, d).
        df: Degrees of freedom of all components.
        n_stretched: How many components, the last ones, are stretched, `STRETCH`-fold.
    """

    weights: np.ndarray
    locations: np.ndarray = field(repr=False)
    scales: np.ndarray = field(repr=False)
    df: float
    n_stretched: int = 0

    @property
    def dimension(self) -> int:
        """The number of coordinates d."""
        return self.locations.shape[1]

    @property
    def n_uniforms(self) -> int:
        """How many uniforms `draw` needs for a point."""
        return self.dimension + 3

    def draw(self, uniforms: np.ndarray) -> np.ndarray:
        """Points (n, d) from uniforms (n, d + 3): for the component, the coordinate that is stretched, the radius."""
        uniforms = np.clip(uniforms, 1e-12, 1 - 1e-12)
        component = np.searchsorted(np.cumsum(self.weights)[:-1], uniforms[:, 0])
        radius = np.sqrt(self.df / special.chdtri(self.df, uniforms[:, 2:3]))
        spherical = radius * special.ndtri(uniforms[:, 3:])
        coordinate = (uniforms[:, 1] * self.dimension).astype(int)
        points = self.locations[component]
        for k, scale in enumerate(self.scales):
            chosen = component == k
            steps = spherical[chosen]
            if k >= len(self.scales) - self.n_stretched:
                along = directions(scale)[coordinate[chosen]]
                steps = steps + (STRETCH - 1) * np.einsum("ni,ni->n", along, steps)[:, None] * along
            points[chosen] += steps @ scale.T
        return points

    def component_log_densities(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log weight plus log density of each component at points (n, d), and squared distances, both (n, m)."""
        d, power = self.dimension, (self.df + self.dimension) / 2
        squares, log_parts = np.empty((2, len(points), len(self.weights)))
        constant = special.gammaln(power) - special.gammaln(self.df / 2) - d / 2 * np.log(self.df * np.pi)
        for k, (location, scale) in enumerate(zip(self.locations, self.scales, strict=True)):
            inverse = linalg.solve_triangular(scale, np.eye(d), lower=True)
            whitened = np.clip((points - location) @ inverse.T, -1e150, 1e150)
            squares[:, k] = (whitened**2).sum(1)
            distance = 1 + squares[:, k] / self.df
            log_parts[:, k] = constant - np.log(np.diag(scale)).sum() - power * np.log(distance)
            if k >= len(self.scales) - self.n_stretched:
                shorter = (1 - STRETCH**-2) * (whitened @ directions(scale).T) ** 2 / self.df
                log_parts[:, k] += np.log(((distance / (distance - shorter.T)) ** power).mean(0) / STRETCH)
        with np.errstate(divide="ignore"):
            return log_parts + np.log(self.weights), squares

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
            scales[k] = _factor(_shrunk(covariance, counts[k], scales[k] @ scales[k].T))
        used = masses > 1e-5
        masses = np.maximum(masses[used], 1e-3)
        return StudentMixture(masses / masses.sum(), locations[used], scales[used], df)


def directions(scale: np.ndarray) -> np.ndarray:
    """Unit vectors in whitened coordinates along which each coordinate and its regressions change, shape (d, d)."""
    return scale / np.linalg.norm(scale, axis=1, keepdims=True)


def _shrunk(covariance: np.ndarray, count: float, towards: np.ndarray) -> np.ndarray:
    """A covariance of ``count`` points, as if two more a coordinate had given the one it is shrunk towards."""
    extra = 2 * len(covariance)
    return (count * covariance + extra * towards) / (count + extra)


def _factor(covariance: np.ndarray) -> np.ndarray:
    """The Cholesky factor of a covariance, with no direction narrower than 1e-6 of its coordinates' sds."""
    sds = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
    values, vectors = np.linalg.eigh(covariance / np.outer(sds, sds))
    values = np.maximum(values, 1e-10)
    return sds[:, None] * np.linalg.cholesky((vectors * values) @ vectors.T)


def defensive(mixture: StudentMixture, coarse: StudentMixture, share: float) -> StudentMixture:
    """A mixture of which a share of the draws comes from another of the same degrees of freedom, stretched."""
    return StudentMixture(
        np.concatenate([(1 - share) * mixture.weights, share * coarse.weights]),
        np.concatenate([mixture.locations, coarse.locations]),
        np.concatenate([mixture.scales, coarse.scales]),
        mixture.df,
        len(coarse.weights),
    )


def around_modes(modes: Sequence[Mode], df: float, inflation: float = 1.2) -> StudentMixture:
    """A component at each member of each mode, with weights between uniform and by Laplace's masses.

    Args:
        modes: Modes found.
        df: Degrees of freedom.
        inflation: Factor on the Laplace sds.
    """
    members = [
        (mode.member_log_mass[i], mode.members[i], _bounded_precision(mode, i)) for mode in modes for i in _few(mode)
    ]
    members = sorted(members, key=lambda member: -member[0])[:MAX_COMPONENTS]
    log_masses = np.array([member[0] for member in members])
    weights = 0.5 * special.softmax(log_masses) + 0.5 * special.softmax(log_masses / 4)
    scales = np.array([_factor(np.linalg.inv(member[2])) for member in members]) * inflation
    return StudentMixture(weights / weights.sum(), np.array([member[1] for member in members]), scales, df)


def _bounded_precision(mode: Mode, i: int) -> np.ndarray:
    """The precision at a member; where a ridge is flat, its sd is at most the spread of the ridge's other members."""
    precision = mode.member_factors[i].T @ mode.member_factors[i]
    if len(mode.members) < 3:
        return precision
    values, vectors = np.linalg.eigh(precision)
    spread = np.mean(((mode.members - mode.members[i]) @ vectors) ** 2, 0)
    along = spread > 0.01 * spread.max()  # directions in which the ridge extends at all
    values = np.where(along, np.maximum(values, 1 / spread), values)
    return (vectors * values) @ vectors.T


def _few(mode: Mode) -> range:
    return range(min(len(mode.members), MAX_COMPONENTS // 2))


def fit_mixture(
    points: np.ndarray, n_components: int, df: float, rng: np.random.Generator, inflation: float = 1.0
) -> StudentMixture:
    """A mixture with the moments of the clusters (k-means) of points (n, d), cut where these are least Gaussian."""
    d = points.shape[1]
    n_components = max(1, min(n_components, len(points) // (5 * d + 20)))
    labels = np.zeros(len(points), int)
    if n_components > 1:
        standardised = (points - points.mean(0)) / np.maximum(points.std(0), 1e-300)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an empty cluster is left out below
            _, labels = kmeans2(standardised * nonlinearity(standardised), n_components, minit="++", rng=rng)
    counts = np.bincount(labels, minlength=n_components)
    parts = [points[labels == k] for k in np.flatnonzero(counts > 2 * d + 2)] or [points]
    covariances = [np.atleast_2d(np.cov(part.T)) for part in parts]
    weights = np.array([len(part) for part in parts], float)
    within = np.average(covariances, axis=0, weights=weights)
    shrunk = [_shrunk(part, count, within) for part, count in zip(covariances, weights, strict=True)]
    scales = np.array([_factor(part) for part in shrunk]) * inflation * np.sqrt((df - 2) / df)
    return StudentMixture(weights / weights.sum(), np.array([part.mean(0) for part in parts]), scales, df)


def nonlinearity(standardised: np.ndarray) -> np.ndarray:
    """How much each coordinate tells of the shape of the others and itself beyond a Gaussian, shape (d,), 1 at most.

    A coordinate that squares of others, or others by its square, are correlated with is one along which the posterior
    bends or narrows: that of a funnel's scale, of a valley's axis. One with flat or heavy tails is cut, too.

    Args:
        standardised: Points with mean 0 and sd 1 in each coordinate, shape (n, d).
    """
    z = np.clip(standardised, -4, 4)
    z = (z - z.mean(0)) / np.maximum(z.std(0), 1e-300)
    squares = z**2 - 1
    kurtosis = np.mean(squares**2, axis=0)
    third = (z.T @ squares / len(z)) ** 2 / np.maximum(kurtosis, 1e-300)  # squared correlations, (d, d)
    score = third.sum(0) + third.sum(1) + np.abs(np.log(np.maximum(kurtosis, 1e-3) / 2))
    return np.maximum(score / max(score.max(), 1e-300), 0.05)
