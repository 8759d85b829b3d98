"""The Laplace approximation a Gaussian fit starts from: the mode of the log joint, and how it bends there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.linalg
from scipy import optimize

from guides.contract import Curvature

__all__ = ["NoMode", "laplace"]

LogJoint = Callable[[np.ndarray], tuple[float, np.ndarray]]


class NoMode(ArithmeticError):
    """The log joint has no highest point that could be found."""


def positive_factor(precision: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A Cholesky factor of the precision, and its diagonal; of the nearest usable one where it is not positive."""
    banded = precision.shape[0] != precision.shape[1]
    diagonal = np.abs(precision[0] if banded else np.diag(precision))
    diagonal = np.maximum(diagonal, 1e-12 * diagonal.max() + np.finfo(float).tiny)
    root = np.sqrt(diagonal)
    if banded:
        scaled = precision / np.stack([diagonal, root * np.append(root[1:], 1.0)])
        scaled[0] = 1.0
        try:
            factor = scipy.linalg.cholesky_banded(scaled, lower=True)
        except np.linalg.LinAlgError:
            factor = np.stack([np.ones_like(root), np.zeros_like(root)])
        return factor * np.stack([root, np.append(root[1:], 1.0)]), diagonal
    scaled = precision / np.outer(root, root)
    np.fill_diagonal(scaled, 1.0)
    try:
        factor = np.linalg.cholesky(scaled)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(scaled)
        factor = np.linalg.cholesky((vectors * np.maximum(np.abs(values), 1e-8)) @ vectors.T)
    return root[:, None] * factor, diagonal


def laplace(
    log_joint: LogJoint, precision: Callable[[np.ndarray], np.ndarray], start: np.ndarray, rounds: int = 30
) -> Curvature:
    """Climb to the mode in coordinates whitened anew each round, until it is within 1e-8 nats.

    Raises:
        FloatingPointError: the log joint or its gradient is not a number at the start.
        NoMode: the climb ends nowhere: the log joint keeps rising, or bends the wrong way where it is flat.
    """
    value, gradient = log_joint(start)
    if not (np.isfinite(value) and np.isfinite(gradient).all()):
        raise FloatingPointError(f"the log joint is {value} with a gradient that is not finite where the guide starts")
    location = np.array(start, dtype=float)
    for _ in range(rounds):
        bend = precision(location)
        if not np.isfinite(bend).all():
            raise NoMode("the log joint's curvature is not finite on the way to its mode")
        curvature = Curvature(location, *positive_factor(bend))

        def downhill(y: np.ndarray, curvature: Curvature = curvature) -> tuple[float, np.ndarray]:
            value, gradient = log_joint(curvature.location + curvature.colour(y))
            if not (np.isfinite(value) and np.isfinite(gradient).all()):
                return 1e300, np.zeros_like(y)
            return -value, -curvature.whiten(gradient)

        zero = np.zeros_like(location)
        decrement = 0.5 * np.sum(downhill(zero)[1] ** 2)
        if decrement < 1e-8:
            if np.min(bend[0] if curvature.banded else np.diag(bend)) <= 0:
                raise NoMode(
                    "the log joint is flat, or bends upwards, in some direction: the posterior may be improper"
                )
            return curvature
        found = optimize.minimize(
            downhill, zero, jac=True, method="L-BFGS-B", options={"maxiter": 20, "ftol": 0, "gtol": 1e-6}
        )
        location = curvature.location + curvature.colour(found.x)
        if not np.isfinite(location).all() or np.abs(location).max() > 1e12:
            raise NoMode("the log joint keeps rising without end: the posterior may be improper")
    return curvature
