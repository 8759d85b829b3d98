"""Mixtures of Student t distributions: the proposals of importance sampling."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import special
from scipy.cluster.vq import kmeans2

from compare.fit.reference.modes import Mode

__all__ = ["Mixture", "around_modes", "fit_mixture"]

MOST_COMPONENTS = 40
"""Components around modes at most."""

N_EM = 25
"""Steps of expectation maximisation."""

WIDE, WIDE_SHARE = 2.0, 0.1
"""Width, in sds of all points, and share of the component that covers them all."""


@dataclass(frozen=True)
class Mixture:
    """A mixture; each component is half a multivariate t and half a product of univariate t along its axes.

    Given typical values of many other coordinates, a multivariate t is nearly Gaussian along an axis. The product keeps
    its heavy tails along the axes, but has lighter ones along diagonals.

    Attributes:
        weights: Shape (m,), sum 1.
        locations: Shape (m, d).
        scales: Lower triangular L, points are location + L t, shape (m, d, d).
        df: Degrees of freedom.
    """

    weights: np.ndarray
    locations: np.ndarray = field(repr=False)
    scales: np.ndarray = field(repr=False)
    df: float

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Independent draws, shape (n, d)."""
        d = self.locations.shape[1]
        component = rng.choice(len(self.weights), n, p=self.weights)
        divisors = rng.chisquare(self.df, (n, d)) / self.df
        is_product = rng.random(n) < 0.5
        divisors = np.where(is_product[:, None], divisors, divisors[:, :1])
        steps = rng.standard_normal((n, d)) / np.sqrt(divisors)
        points = self.locations[component]
        for k, scale in enumerate(self.scales):
            points[component == k] += steps[component == k] @ scale.T
        return points

    def log_density(self, points: np.ndarray) -> np.ndarray:
        """The log density at points (n, d), shape (n,)."""
        d, df = self.locations.shape[1], self.df
        product = d * (special.gammaln((df + 1) / 2) - special.gammaln(df / 2) - np.log(df * np.pi) / 2)
        joint = special.gammaln((df + d) / 2) - special.gammaln(df / 2) - d / 2 * np.log(df * np.pi)
        parts = np.empty((len(self.weights), len(points)))
        for k, (location, scale) in enumerate(zip(self.locations, self.scales, strict=True)):
            inverse = np.linalg.inv(scale)
            squares = np.clip((points - location) @ inverse.T, -1e150, 1e150) ** 2 / df
            along_axes = product - (df + 1) / 2 * np.log1p(squares).sum(1)
            together = joint - (df + d) / 2 * np.log1p(squares.sum(1))
            parts[k] = np.logaddexp(along_axes, together) - np.log(2) - np.log(np.diag(scale)).sum()
        with np.errstate(divide="ignore"):
            return special.logsumexp(parts + np.log(self.weights)[:, None], axis=0)

    @property
    def within(self) -> np.ndarray:
        """The Cholesky factor of the inverse of the components' average precision, shape (d, d)."""
        inverses = np.linalg.inv(self.scales)
        return factor(np.linalg.inv(np.einsum("k,kji,kjl->il", self.weights, inverses, inverses)))


def around_modes(modes: Sequence[Mode], df: float, inflation: float = 1.2) -> Mixture:
    """A component at each member of each mode, ``inflation`` Laplace sds wide.

    Weights average Laplace's masses with a flattened version of these, as Laplace's may be far off.
    """
    centers = [
        (mass, place, precision_at(mode, i))
        for mode in modes
        for i, (mass, place) in enumerate(zip(mode.member_log_mass, mode.members, strict=True))
    ]
    centers = sorted(centers, key=lambda center: -center[0])[:MOST_COMPONENTS]
    masses = np.array([mass for mass, _, _ in centers])
    weights = (special.softmax(masses) + special.softmax(masses / 4)) / 2
    scales = [inflation * factor(np.linalg.inv(precision)) for _, _, precision in centers]
    return Mixture(weights, np.array([place for _, place, _ in centers]), np.array(scales), df)


def precision_at(mode: Mode, i: int) -> np.ndarray:
    """The precision at a member; where a ridge is flat, its sd is at most the spread of the ridge's other members."""
    precision = mode.member_factors[i].T @ mode.member_factors[i]
    if len(mode.members) < 3:
        return precision
    values, vectors = np.linalg.eigh(precision)
    spread = np.mean(((mode.members - mode.members[i]) @ vectors) ** 2, 0)
    extended = spread > 0.01 * spread.max()
    values = np.where(extended, np.maximum(values, 1 / np.maximum(spread, 1e-300)), values)
    return (vectors * values) @ vectors.T


def factor(covariance: np.ndarray) -> np.ndarray:
    """The Cholesky factor of a covariance, with no direction narrower than 1e-5 of its coordinates' sds."""
    sds = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
    values, vectors = np.linalg.eigh(covariance / np.outer(sds, sds))
    return sds[:, None] * np.linalg.cholesky((vectors * np.maximum(values, 1e-10)) @ vectors.T)


def fit_mixture(
    points: np.ndarray, n_components: int, df: float, inflation: float, rng: np.random.Generator
) -> Mixture:
    """A mixture of t distributions for points (n, d), with one wide component that covers them all.

    Gaussians are fitted by expectation maximisation from k-means clusters. The t components take their locations, and
    their scales times ``inflation``.
    """
    n, d = points.shape
    shares = begin(points, max(1, min(n_components, n // (4 * d + 20))), rng)
    for _ in range(N_EM):
        weights, locations, scales = moments(points, shares)
        if len(weights) == 1:
            break
        inverses = [np.linalg.inv(scale) for scale in scales]
        squares = [(((points - m) @ inverse.T) ** 2).sum(1) for m, inverse in zip(locations, inverses, strict=True)]
        heights = np.log(weights) - np.log(np.einsum("kii->ki", scales)).sum(1)
        shares = special.softmax(heights - np.array(squares).T / 2, axis=1)
    overall = factor(np.atleast_2d(np.cov(points.T)))
    scales = np.concatenate([inflation * scales, [WIDE * overall]]) * np.sqrt((df - 2) / df)
    weights = np.append((1 - WIDE_SHARE) * weights, WIDE_SHARE)
    return Mixture(weights, np.concatenate([locations, [points.mean(0)]]), scales, df)


def begin(points: np.ndarray, n_components: int, rng: np.random.Generator) -> np.ndarray:
    """Memberships (n, m) of clusters, cut along the coordinates in which points are least Gaussian."""
    if n_components == 1:
        return np.ones((len(points), 1))
    z = (points - points.mean(0)) / np.maximum(points.std(0), 1e-300)
    squares = np.clip(z, -4, 4) ** 2
    squares = (squares - squares.mean(0)) / np.maximum(squares.std(0), 1e-300)
    bends = np.abs(z.T @ squares) / len(z)  # correlations of coordinates with squares: skewness, valleys, funnels
    interest = np.maximum(np.maximum(bends.max(0), bends.max(1)), 0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about an empty cluster
        labels = kmeans2(z * interest, n_components, minit="++", rng=rng)[1]
    return np.eye(n_components)[labels]


def moments(points: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, means and factors of covariances of components; those of few points are left out.

    A covariance is shrunk towards the average one as if that had been seen on two points a dimension.
    """
    d, counts = points.shape[1], shares.sum(0)
    used = counts > 2 * d + 2
    shares, counts = shares[:, used], counts[used]
    means = shares.T @ points / counts[:, None]
    covariances = [np.atleast_2d(np.cov(points.T, aweights=share, ddof=0)) for share in shares.T]
    average = np.average(covariances, axis=0, weights=counts)
    factors = [factor((c * v + 2 * d * average) / (c + 2 * d)) for c, v in zip(counts, covariances, strict=True)]
    return counts / counts.sum(), means, np.array(factors)
