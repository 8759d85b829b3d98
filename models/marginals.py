"""Distributions of one number, on a grid or as mixtures, with the methods of SciPy's frozen distributions."""

import math
from typing import Any

import numpy as np
import scipy.fft
from scipy import optimize, special, stats
from scipy.interpolate import PchipInterpolator

LEVELS = 64  # how many different sds a table of Gaussians is made with


class TabulatedMixture:
    """A mixture of many Gaussians, tabulated: its density is linear between the points of a grid.

    The table is made by Fourier transforms. Nothing narrower than a ten-thousandth of the whole range is resolved.

    Args:
        means: Of the Gaussians, shape (n,).
        sds: Their standard deviations, shape (n,).
        weights: Their weights, shape (n,), which need not sum to 1.
    """

    def __init__(self, means: np.ndarray, sds: np.ndarray, weights: np.ndarray) -> None:
        self.components = means, sds, weights / weights.sum()
        lower, upper = float((means - 8 * sds).min()), float((means + 8 * sds).max())
        heavy = weights > 1e-5 * weights.max()
        cells = math.ceil(4 * (upper - lower) / max(float(sds[heavy].min()), 1e-4 * (upper - lower)))
        cells = scipy.fft.next_fast_len(max(1000, cells), real=True)
        width = (upper - lower) / cells
        waves = 2 * np.pi * scipy.fft.rfftfreq(cells, width)
        cell, right = np.divmod((means - lower) / width, 1.0)
        cell, right = cell.astype(np.int64), right * weights
        # A Gaussian is shared by the two nearest of a few sds, and by the two points of the grid beside its mean. The
        # first keeps its variance, the second is undone by the division by sinc^2.
        scale = np.geomspace(sds[heavy].min(), max(sds[heavy].max(), 1.0001 * sds[heavy].min()), LEVELS)
        level = np.searchsorted(scale[1:-1], sds)
        wider = ((sds**2 - scale[level] ** 2) / (scale[level + 1] ** 2 - scale[level] ** 2)).clip(0, 1)
        order = np.argsort(level.astype(np.uint16), kind="stable")
        spectrum = np.zeros(len(waves), complex)
        for alike in np.split(order, np.flatnonzero(np.diff(level[order])) + 1):
            for sd, share in ((scale[level[alike[0]]], 1 - wider[alike]), (scale[level[alike[0]] + 1], wider[alike])):
                counts = np.bincount(cell[alike], share * (weights[alike] - right[alike]), cells)
                counts += np.bincount(cell[alike] + 1, share * right[alike], cells)
                spectrum += scipy.fft.rfft(counts) * np.exp(-0.5 * (sd * waves) ** 2)
        spectrum /= np.sinc(waves * width / (2 * np.pi)) ** 2
        # Between the points of the grid its waves are known too.
        density, width = np.maximum(scipy.fft.irfft(spectrum, 4 * cells), 0.0), width / 4
        below = np.concatenate([[0.0], np.cumsum(0.5 * width * (density[1:] + density[:-1]))])
        self.grid = lower + width * np.arange(4 * cells)
        self.density, self.below = density / below[-1], below / below[-1]

    def mean(self) -> float:
        means, _, weights = self.components
        return float(weights @ means)

    def std(self) -> float:
        means, sds, weights = self.components
        return math.sqrt(weights @ ((means - self.mean()) ** 2 + sds**2))

    def pdf(self, x: np.ndarray) -> np.ndarray:
        return np.interp(x, self.grid, self.density, left=0.0, right=0.0)

    def cdf(self, x: np.ndarray) -> np.ndarray:
        return np.interp(x, self.grid, self.below)

    def ppf(self, q: float) -> float:
        return float(np.interp(q, self.below, self.grid))


class BandLimited:
    """A density known at equally spaced points, and between them as the sum of sinc functions through these.

    Where halving the step changes no integral the density has no higher waves than the points can hold, and so this
    interpolation is as exact as the integrals are (Trefethen & Weideman 2014, section 5).

    Args:
        places: The points, shape (n,), in ascending order.
        masses: The probability that each stands for, shape (n,).
        step: The distance between them.
    """

    def __init__(self, places: np.ndarray, masses: np.ndarray, step: float) -> None:
        self.places, self.masses, self.step = places, masses, step

    def mean(self) -> float:
        return float(self.masses @ self.places)

    def std(self) -> float:
        return math.sqrt(self.masses @ (self.places - self.mean()) ** 2)

    def pdf(self, x: np.ndarray) -> np.ndarray:
        waves = np.sinc((x[:, None] - self.places) / self.step)
        inside = (x >= self.places[0]) & (x <= self.places[-1])
        return np.where(inside, np.maximum(waves @ self.masses / self.step, 0.0), 0.0)

    def cdf(self, x: float) -> float:
        return float((0.5 + special.sici(np.pi * (x - self.places) / self.step)[0] / np.pi) @ self.masses)

    def ppf(self, q: float) -> float:
        low, high = self.places[0], self.places[-1]
        if not self.cdf(low) < q < self.cdf(high):
            return float(low if q < 0.5 else high)
        return float(optimize.brentq(lambda x: self.cdf(x) - q, low, high, xtol=1e-12))


class BetaMixture:
    """A mixture of Beta distributions.

    Args:
        a: First parameters, shape (n,).
        b: Second parameters, shape (n,); all 0 for the number 1.
        weights: Their weights, shape (n,), which need not sum to 1.
    """

    def __init__(self, a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> None:
        pairs, place = np.unique(a + 1j * b, return_inverse=True)
        self.a, self.b, self.weights = pairs.real, pairs.imag, np.bincount(place, weights / weights.sum())

    def mean(self) -> float:
        return float(self.weights @ (self.a / (self.a + self.b)))

    def std(self) -> float:
        total = self.a + self.b
        second = self.weights @ (self.a * (self.a + 1) / (total * (total + 1)))
        return math.sqrt(max(float(second) - self.mean() ** 2, 0.0))

    def pdf(self, x: np.ndarray) -> np.ndarray:
        return stats.beta.pdf(np.asarray(x)[..., None], self.a, self.b) @ self.weights

    def cdf(self, x: float) -> float:
        return float(special.betainc(self.a, self.b, x) @ self.weights)

    def ppf(self, q: float) -> float:
        if not self.b.any():
            return 1.0
        least = math.log(np.finfo(float).tiny)  # by the log, so that quantiles near 0 keep their digits
        if self.cdf(math.exp(least)) >= q:
            return 0.0
        return math.exp(optimize.brentq(lambda log_x: self.cdf(math.exp(log_x)) - q, least, 0.0, xtol=1e-13))


class Drawn:
    """A distribution known by many independent draws: its quantiles, joined by a monotone cubic.

    Args:
        draws: Shape (n,).
        mean: Its mean, where that is better known than from the draws.
        sd: Its standard deviation, likewise.
    """

    def __init__(self, draws: np.ndarray, mean: float, sd: float) -> None:
        self.moments = mean, sd
        levels = np.linspace(0, 1, 129)
        places, first = np.unique(np.quantile(draws, levels), return_index=True)
        self.below = PchipInterpolator(places, levels[first], extrapolate=False)

    def mean(self) -> float:
        return self.moments[0]

    def std(self) -> float:
        return self.moments[1]

    def pdf(self, x: np.ndarray) -> np.ndarray:
        return np.nan_to_num(self.below(x, 1), nan=0.0)

    def ppf(self, q: float) -> float:
        return float(optimize.brentq(lambda x: self.below(x) - q, *self.below.x[[0, -1]], xtol=1e-14))


class NormalScores:
    """A number x = prior.ppf(Phi(z)) whose normal score z, a priori N(0, 1), has a distribution known on a grid.

    Args:
        prior: The prior of x, a frozen distribution of SciPy's.
        base: The distribution of z; None for the map alone.
    """

    def __init__(self, prior: Any, base: BandLimited | None = None) -> None:
        self.prior = prior
        if base is not None:
            self.base = base

    def value(self, z: np.ndarray) -> np.ndarray:
        """The numbers with these scores; from the nearer end, so that no digits are lost."""
        tail = special.ndtr(-np.abs(z))
        return np.where(np.asarray(z) < 0, self.prior.ppf(tail), self.prior.isf(tail))

    def score(self, x: np.ndarray) -> np.ndarray:
        """The normal scores of these numbers."""
        below, above = self.prior.cdf(x), self.prior.sf(x)
        return np.where(below < 0.5, special.ndtri(below), -special.ndtri(above))

    def mean(self) -> float:
        return float(self.base.masses @ self.value(self.base.places))

    def std(self) -> float:
        return math.sqrt(self.base.masses @ (self.value(self.base.places) - self.mean()) ** 2)

    def pdf(self, x: np.ndarray) -> np.ndarray:
        z = self.score(x)
        inside = np.isfinite(z)
        slopes = self.prior.pdf(x) / stats.norm.pdf(np.where(inside, z, 0.0))
        return np.where(inside, self.base.pdf(np.where(inside, z, 0.0)) * slopes, 0.0)

    def ppf(self, q: float) -> float:
        return float(self.value(np.asarray(self.base.ppf(q))))


def draw_beta(rng: np.random.Generator, a: Any, b: Any, size: Any) -> np.ndarray:
    """Draws from Beta(a, b). None is rounded to 0 or 1, where the density may be infinite."""
    edge = np.finfo(float)
    return np.clip(rng.beta(a, b, size), edge.tiny, 1 - edge.epsneg)
