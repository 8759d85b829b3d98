"""Distributions of one number between 0 and 1, with the methods of SciPy's frozen distributions."""

import numpy as np
from scipy import optimize
from scipy.interpolate import PchipInterpolator


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
