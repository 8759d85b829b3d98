"""Pathfinder: the Gaussian of the highest ELBO on L-BFGS's way to the mode.

At every point of the way, L-BFGS's estimate of the inverse Hessian is a covariance, and a Newton step leads to a mean
(Zhang, Carpenter, Gelman & Vehtari 2022, Pathfinder: parallel quasi-Newton variational inference, algorithms 1 to 4).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np
from scipy import optimize

HISTORY = 6
"""Steps that an inverse Hessian is estimated from."""

STEPS = 1000
"""Steps of the way, at most."""

LEAST = 1e-12
"""Curvature along a step, beside the squared change of the gradient over it, from which on the step says something."""

LogJoint = Callable[[np.ndarray], tuple[float, np.ndarray]]
"""A location in, the log joint and its gradient out."""

Point = tuple[np.ndarray, np.ndarray]
"""A location and the log joint's gradient there."""

Gaussian = tuple[np.ndarray, np.ndarray]
"""Its mean, shape (d,), and its covariance, (d, d)."""


def way_to_the_mode(log_joint: LogJoint, start: np.ndarray, is_late: Callable[[], bool] = lambda: False) -> list[Point]:
    """Where L-BFGS comes by, the start first; as far as it comes before it is late."""
    seen: list[Point] = []
    way: list[Point] = []

    def value(x: np.ndarray) -> tuple[float, np.ndarray]:
        height, gradient = log_joint(x)
        seen[:] = [*seen[-1:], (x.copy(), gradient)]
        if not way:
            way.append(seen[-1])
        return (-height, -gradient) if np.isfinite(height) else (np.inf, np.zeros_like(gradient))

    def arrive(intermediate_result: optimize.OptimizeResult) -> None:
        x = intermediate_result.x
        way.append(next((point for point in seen if np.array_equal(point[0], x)), (x.copy(), log_joint(x)[1])))
        if is_late():
            raise StopIteration

    options = {"maxiter": STEPS, "maxcor": HISTORY, "ftol": 1e-13, "gtol": 1e-8}
    optimize.minimize(value, start, jac=True, method="L-BFGS-B", options=options, callback=arrive)
    return way


def gaussians(way: Sequence[Point]) -> Iterator[Gaussian]:
    """The Gaussian at every point of the way but the first."""
    scale, steps = np.ones(way[0][0].size), deque[tuple[np.ndarray, np.ndarray]](maxlen=HISTORY)
    for (before, slope_before), (here, slope) in pairwise(way):
        step, change = here - before, slope_before - slope
        if step @ change > LEAST * (change @ change):
            scale = rescaled(scale, step, change)
            steps.append((step, change))
        covariance = inverse_hessian(scale, steps)
        yield here + covariance @ slope, covariance


def rescaled(scale: np.ndarray, step: np.ndarray, change: np.ndarray) -> np.ndarray:
    """The diagonal that the estimate starts from, after one more step (Gilbert & Lemarechal 1989; algorithm 3)."""
    along, curved = step @ change, change @ (scale * change)
    inverse = curved / (along * scale) + change**2 / along
    inverse -= curved * step**2 / (along * (step @ (step / scale)) * scale**2)
    return 1 / inverse


def inverse_hessian(scale: np.ndarray, steps: Sequence[Point] | deque[Point]) -> np.ndarray:
    """Minus the log joint's inverse Hessian, by BFGS's update for each (step, change of minus the gradient)."""
    inverse = np.diag(scale)
    for step, change in steps:
        along = step @ change
        project = np.eye(step.size) - np.outer(change, step) / along
        inverse = project.T @ inverse @ project + np.outer(step, step) / along
    return inverse
