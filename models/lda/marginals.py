"""Distributions of one number between 0 and 1, with the methods of SciPy's frozen distributions."""

import math

import numpy as np
from scipy import optimize, special, stats
from scipy.interpolate import PchipInterpolator

__all__ = ["BetaMixture", "Drawn"]


class BetaMixture:
    """A mixture of Beta distributions.

    Args:
        a: First parameters, shape (n,).
        b: Second parameters, shape (n,); all 0 for the number 1.
        weights: Their weights, shape (n,), which sum to 1.
    """

    def __init__(self, a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> None:
        pairs, place = np.unique(a + 1j * b, return_inverse=True)
        self.a, self.b, self.weights = pairs.real, pairs.imag, np.bincount(place, weights)

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
        return float(optimize.brentq(lambda x: self.cdf(x) - q, 0.0, 1.0, xtol=1e-300, rtol=1e-13))


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
