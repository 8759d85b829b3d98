"""Hamiltonian Monte Carlo of many points at once, a few moves each, which leave the posterior invariant."""

from __future__ import annotations

import numpy as np

from compare.fit.reference.target import Target, evaluate_gradient

__all__ = ["move"]

N_LEAPFROG = 8
"""Leapfrog steps of a move."""

ACCEPTANCE = 0.75
"""Share of the moves that the step size is adapted to."""


def move(target: Target, points: np.ndarray, scale: np.ndarray, n_moves: int, rng: np.random.Generator) -> np.ndarray:
    """The points (n, d) after moves that leave the posterior invariant.

    Args:
        target: The posterior.
        points: Where each begins, shape (n, d).
        scale: Lower triangular; L L^T is the inverse mass matrix, shape (d, d).
        n_moves: Moves of each point.
        rng: Source of all randomness.

    Source: Neal (2011), MCMC using Hamiltonian dynamics, sections 5.3.2 and 5.4.2.
    """
    points, step = points.copy(), 0.7 * target.dimension**-0.25
    values, gradients = evaluate_gradient(target, points)
    for _ in range(n_moves):
        momentum = rng.standard_normal(points.shape)
        energy = values - (momentum**2).sum(1) / 2
        steps = step * rng.uniform(0.6, 1.2, (len(points), 1))
        ends, slopes = points, gradients
        for _ in range(N_LEAPFROG):
            momentum = momentum + steps / 2 * (slopes @ scale)
            ends = ends + steps * (momentum @ scale.T)
            ends = np.clip(ends, -1e100, 1e100)
            heights, slopes = evaluate_gradient(target, ends)
            momentum = momentum + steps / 2 * (slopes @ scale)
        with np.errstate(over="ignore", invalid="ignore"):
            gain = heights - (momentum**2).sum(1) / 2 - energy
            accepted = np.log(rng.random(len(points))) < gain
        points = np.where(accepted[:, None], ends, points)
        values, gradients = np.where(accepted, heights, values), np.where(accepted[:, None], slopes, gradients)
        step *= np.exp(accepted.mean() - ACCEPTANCE)
    return points
