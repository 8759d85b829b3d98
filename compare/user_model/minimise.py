"""The minimum of a smooth function of many numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from scipy import optimize

MOST_STEPS = 300

DIGITS = 6
"""Significant digits of the result. Further ones are sums in the order of a run's threads; chains that are given them
would be others in each run."""


def minimise(value_and_slope: Callable[[np.ndarray], Iterable], start: np.ndarray) -> np.ndarray:
    """Where L-BFGS arrives from the start, shape (n,)."""

    def finite(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = value_and_slope(x)
        if not (np.isfinite(value) and np.isfinite(slope).all()):
            return 1e300, np.zeros_like(x)
        return float(value), np.asarray(slope, float)

    options = {"maxiter": MOST_STEPS, "ftol": 1e-10, "gtol": 1e-5}
    best = optimize.minimize(finite, start, jac=True, method="L-BFGS-B", options=options).x
    unit = 10.0 ** (np.floor(np.log10(np.abs(best), out=np.zeros_like(best), where=best != 0)) - DIGITS + 1)
    return np.round(best / unit) * unit
