"""Whether a posterior under an improper prior is proper: along each coordinate its mass must fall off.

A posterior can be improper only through the latents whose priors are. The marginal of each of their coordinates, by
Laplace's method in the others (Tierney & Kadane 1986), must fall faster than 1 / distance far from the mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from compare.fit.reference.optimise import ascend, hessians
from compare.fit.reference.target import Target, evaluate_gradient

__all__ = ["NoMaximum", "flat_direction"]

DISTANCES = np.array([10.0, 20.0, 40.0])
"""Sds from the mode at which a marginal is compared with itself."""

SLOWEST = 1.02
"""A marginal that falls no faster than 1 / distance to this power has no finite mass."""

FARTHEST_SD, PLATEAU = 1e6, 1e5
"""The sd that is assumed of a coordinate whose log density is flat, and that from which steps of one are tried, too."""

DEEPEST = 100.0
"""Nats below the mode beyond which a log density is no longer followed: libraries clip probabilities near 0."""

LEAST_EIGENVALUE = 1e-9
"""The eigenvalue of a scaled precision below which it is rounding."""

TURN = 2 * np.pi
"""The period that is tried, of an angle."""

ROUNDING, APART = 1e-9, 1e3
"""Log densities are equal if they differ by at most this share of their size, and differ if it is this many times more:
one that only varies little over a turn, beside a large constant, is neither."""

N_STARTS, N_RESTARTS = 64, 8
"""Starts of the climb to the mode, and of each climb with one coordinate held."""


class NoMaximum(RuntimeError):
    """The log density has no highest point from which its marginals could be followed."""


def flat_direction(target: Target, coordinates: Sequence[int], rng: np.random.Generator) -> np.ndarray | None:
    """The direction in which the posterior does not fall off, a unit vector (d,); None where it falls off in all.

    Args:
        target: The posterior.
        coordinates: The coordinates to look along, those of improper priors.
        rng: Source of all randomness.

    Raises:
        OutOfTime: After the target's deadline.
        NoMaximum: The density has no bound, as that of a centred hierarchy at a scale of 0.
    """
    target = _bounded(target)
    starts = rng.uniform(-2, 2, (N_STARTS, target.dimension))
    for coordinate in coordinates:
        if _repeats(target, starts[:N_RESTARTS], coordinate):
            return np.eye(target.dimension)[coordinate]
    points, heights = ascend(target, starts)
    near = np.isfinite(heights) & (np.abs(points).max(1) < FARTHEST_SD)
    if not near.any():
        raise NoMaximum
    mode, covariance = _mode(target, points[near], heights[near])
    for coordinate in coordinates:
        sd = min(np.sqrt(covariance[coordinate, coordinate]), FARTHEST_SD)
        for sign in (1.0, -1.0):
            for scale in (sd, sd / 8, 1.0) if sd > PLATEAU else (sd, sd / 8):  # farther out it may be no number
                masses, tops = _marginal(target, mode, covariance, coordinate, sign * scale * DISTANCES, rng)
                if np.isfinite(masses).all():
                    break
            else:
                continue
            if masses[-2] - masses[-1] < SLOWEST * np.log(DISTANCES[-1] / DISTANCES[-2]):
                direction = tops[-1] - tops[-2]
                return direction / np.linalg.norm(direction)
    return None


def _repeats(target: Target, points: np.ndarray, coordinate: int) -> bool:
    """Whether the log density is the same a full turn from the points, and another a quarter turn from one of them."""
    turns = np.array([0.0, 1.0, 0.25])[:, None, None] * TURN * np.eye(target.dimension)[coordinate]
    here, turned, between = evaluate_gradient(target, (points + turns).reshape(-1, target.dimension))[0].reshape(3, -1)
    rounding = ROUNDING * np.maximum(1.0, np.abs(here))
    is_equal, differs = np.abs(turned - here) <= rounding, np.abs(between - here) > APART * rounding
    return bool(is_equal.all() and differs.any())


def _bounded(target: Target) -> Target:
    """The target without a value where its log joint is +inf: a scale that has run down to 0 has underflowed there."""

    def value_and_gradient(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, gradients = target.value_and_gradient(points)
        return np.where(np.asarray(values) == np.inf, np.nan, values), gradients

    return replace(target, value_and_gradient=value_and_gradient)


def _mode(target: Target, points: np.ndarray, heights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The maximum with the largest mass by Laplace's method, and the covariance there.

    Raises:
        NoMaximum: There is none.
    """
    best, largest = None, -np.inf
    for place in np.argsort(-heights)[:N_STARTS:4]:
        precision = hessians(target, points[place][None], _widest(points[place]))[0]
        scale, values, vectors = _scaled(precision)
        inverse = (vectors / values) @ vectors.T / np.outer(scale, scale)
        slope = evaluate_gradient(target, points[place][None])[1][0]
        is_flat = np.abs(slope).max() < 1e-6
        is_maximum = is_flat or (np.all(np.diag(precision) > 0) and slope @ inverse @ slope < 0.1)
        mass = heights[place] - np.log(values).sum() / 2 - np.log(scale).sum()
        if is_maximum and mass > largest:
            best, largest = (points[place], inverse), mass
    if best is None:
        raise NoMaximum
    return best


def _widest(point: np.ndarray) -> np.ndarray:
    return 10 * np.maximum(1.0, np.abs(point))


def _scaled(precision: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The scale of a precision, shape (d,), and the eigenvalues and eigenvectors of the precision in its units."""
    scale = np.sqrt(np.maximum(np.diag(precision), FARTHEST_SD**-2))
    values, vectors = np.linalg.eigh(precision / np.outer(scale, scale))
    return scale, np.maximum(values, LEAST_EIGENVALUE), vectors


def _marginal(
    target: Target,
    mode: np.ndarray,
    covariance: np.ndarray,
    coordinate: int,
    steps: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """The log marginal of a coordinate at these steps from the mode, shape (n,), and its highest points (n, d)."""
    others = np.arange(target.dimension) != coordinate

    def slope(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, gradients = target.value_and_gradient(points)
        return values, np.where(others, gradients, 0.0)

    along = steps[:, None] * covariance[coordinate] / covariance[coordinate, coordinate]
    spread = np.minimum(np.sqrt(np.diag(covariance)), _widest(mode))
    jitter = rng.standard_normal((len(steps), N_RESTARTS, target.dimension)) * np.where(others, spread, 0.0)
    jitter[:, 0] = 0.0
    starts = mode + np.where(others, jitter, steps[:, None, None])
    starts[:, :2] = mode + along[:, None] + jitter[:, :2]  # where the others would be if all were Gaussian
    held = replace(target, value_and_gradient=slope)
    points, heights = ascend(held, starts.reshape(-1, target.dimension))
    best = np.argmax(heights.reshape(len(steps), -1), axis=1)
    tops = points.reshape(len(steps), N_RESTARTS, -1)[np.arange(len(steps)), best]
    masses = evaluate_gradient(held, tops)[0]
    astray = np.abs(tops - mode) > 10 * DISTANCES[:, None] * np.sqrt(np.diag(covariance))
    sunk = masses < evaluate_gradient(target, mode[None])[0] - DEEPEST
    masses[(astray & others).any(1) | sunk] = np.nan  # a density that the library clips would be taken for a flat one
    for place, top in enumerate(tops):
        if others.any() and np.isfinite(masses[place]):
            precision = hessians(target, top[None], _widest(top))[0][np.ix_(others, others)]
            scale, values, _ = _scaled(precision)
            masses[place] -= np.log(values).sum() / 2 + np.log(scale).sum()
    return masses, tops
