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

__all__ = ["flat_direction"]

DISTANCES = np.array([10.0, 20.0])
"""Sds from the mode at which a marginal is compared with itself."""

FARTHEST_SD = 1e6
"""The sd that is assumed of a coordinate whose log density is flat."""

N_STARTS, N_RESTARTS = 64, 8
"""Starts of the climb to the mode, and of each climb with one coordinate held."""


def flat_direction(target: Target, coordinates: Sequence[int], rng: np.random.Generator) -> np.ndarray | None:
    """The direction in which the posterior does not fall off, a unit vector (d,); None where it falls off in all.

    Args:
        target: The posterior.
        coordinates: The coordinates to look along, those of improper priors.
        rng: Source of all randomness.

    Raises:
        OutOfTime: After the target's deadline.
    """
    d = target.dimension
    starts = rng.uniform(-2, 2, (N_STARTS, d))
    points, heights = ascend(target, starts)
    heights = np.where(np.abs(points).max(1) < FARTHEST_SD, heights, -np.inf)
    if not np.isfinite(heights).any():
        return None
    mode = points[np.argmax(heights)]
    sds = _sds(target, mode)
    for coordinate in coordinates:
        steps = sds[coordinate] * np.concatenate([DISTANCES, -DISTANCES])
        masses, tops = _marginal(target, mode, sds, coordinate, steps, rng)
        for near, far in ((0, 1), (2, 3)):
            known = np.isfinite(masses[[near, far]]).all()
            if known and masses[near] - masses[far] < np.log(DISTANCES[1] / DISTANCES[0]):
                direction = tops[far] - tops[near]
                return direction / np.linalg.norm(direction)
    return None


def _widest(point: np.ndarray) -> np.ndarray:
    return 10 * np.maximum(1.0, np.abs(point))


def _sds(target: Target, mode: np.ndarray) -> np.ndarray:
    """The sds by Laplace's method, shape (d,), at most `FARTHEST_SD`."""
    values, vectors = np.linalg.eigh(hessians(target, mode[None], _widest(mode))[0])
    return np.sqrt((vectors**2) @ (1 / np.maximum(values, FARTHEST_SD**-2)))


def _marginal(
    target: Target, mode: np.ndarray, sds: np.ndarray, coordinate: int, steps: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The log marginal of a coordinate so many steps from the mode, shape (n,), and the highest points there (n, d)."""
    others = np.arange(target.dimension) != coordinate

    def slope(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, gradients = target.value_and_gradient(points)
        return values, np.where(others, gradients, 0.0)

    jitter = rng.standard_normal((len(steps), N_RESTARTS, target.dimension)) * np.minimum(sds, _widest(mode))
    jitter[:, 0] = 0.0
    starts = mode + np.where(others, jitter, steps[:, None, None])
    held = replace(target, value_and_gradient=slope)
    points, heights = ascend(held, starts.reshape(-1, target.dimension))
    best = np.argmax(heights.reshape(len(steps), -1), axis=1)
    tops = points.reshape(len(steps), N_RESTARTS, -1)[np.arange(len(steps)), best]
    masses = evaluate_gradient(held, tops)[0]
    for place, (top, step) in enumerate(zip(tops, steps, strict=True)):
        if others.any() and np.isfinite(masses[place]):
            precision = hessians(target, top[None], _widest(top))[0][np.ix_(others, others)]
            values = np.maximum(np.linalg.eigvalsh(precision), step**-2)
            masses[place] -= np.log(values).sum() / 2
    return masses, tops
