"""An exact sampler of logistic regressions that shares nothing with the zoo: Gibbs with Polya-Gamma variables.

Polson, Scott & Windle 2013, Bayesian inference for logistic models using Polya-Gamma latent variables; PG(1, c) by
Devroye's alternating series, as in their section 4.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import special

__all__ = ["draw", "gibbs"]

CUT = 0.64  # where the two series meet


def coefficient(n: int, x: np.ndarray) -> np.ndarray:
    """The n-th term of the series of the Jacobi density at x."""
    left = (2 / (math.pi * x)) ** 1.5 * np.exp(-2 * (n + 0.5) ** 2 / x)
    return math.pi * (n + 0.5) * np.where(x <= CUT, left, np.exp(-0.5 * (n + 0.5) ** 2 * math.pi**2 * x))


def inverse_gaussian(z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """IG(1 / z, 1) below `CUT`, shape of z."""
    x = np.full(z.shape, np.inf)
    while (todo := np.flatnonzero(x > CUT)).size:
        some, u = z[todo], rng.random(todo.size)
        low = 1 / np.maximum(some, 1e-300) > CUT
        # For small z: a draw of the limit, 1 / chi2 beyond 1 / CUT, accepted with probability exp(-z^2 x / 2).
        tail = -special.ndtri(special.ndtr(-(CUT**-0.5)) * rng.random(todo.size))
        small = tail**-2.0
        accepted = u < np.exp(-0.5 * some**2 * small)
        plain = rng.wald(1 / np.maximum(some, 1e-8), 1.0)
        x[todo] = np.where(low, np.where(accepted, small, np.inf), plain)
    return x


def draw(c: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """PG(1, c), shape of c, (n,)."""
    z = np.abs(c) / 2
    rate = math.pi**2 / 8 + z**2 / 2
    right = math.pi / (2 * rate) * np.exp(-rate * CUT)
    root = CUT**-0.5
    above = special.log_ndtr(root * (CUT * z - 1)) - z
    below = special.log_ndtr(-root * (CUT * z + 1)) + z
    left = 2 * (np.exp(above) + np.exp(below))
    result, todo = np.empty(len(c)), np.arange(len(c))
    while todo.size:
        exponential = rng.random(todo.size) < (right / (right + left))[todo]
        x = np.where(exponential, CUT + rng.exponential(size=todo.size) / rate[todo], inverse_gaussian(z[todo], rng))
        total = coefficient(0, x)
        height, undecided, accepted = rng.random(todo.size) * total, np.ones(todo.size, bool), np.zeros(todo.size, bool)
        for n in range(1, 100):
            total = total + (-1) ** n * coefficient(n, x)
            if n % 2:
                accepted |= undecided & (height <= total)
                undecided &= height > total
            else:
                undecided &= height <= total
            if not undecided.any():
                break
        result[todo[accepted]] = x[accepted] / 4
        todo = todo[~accepted]
    return result


def gibbs(
    features: np.ndarray, targets: np.ndarray, prior_sd: float, rng: np.random.Generator, count: int
) -> np.ndarray:
    """Draws of the coefficients, shape (count, d), after a tenth as many that are thrown away."""
    values, draws = np.zeros(features.shape[1]), np.empty((count, features.shape[1]))
    prior = np.eye(features.shape[1]) / prior_sd**2
    for number in range(-count // 10, count):
        weights = draw(features @ values, rng)
        lower = np.linalg.cholesky((features.T * weights) @ features + prior)
        half = np.linalg.solve(lower, features.T @ (targets - 0.5))
        values = np.linalg.solve(lower.T, half + rng.standard_normal(len(values)))
        if number >= 0:
            draws[number] = values
    return draws
