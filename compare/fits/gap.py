"""How far from the best member of its family a guide is, without knowing the best member.

In coordinates where -ELBO bends like the identity, a guide whose gradient is g is g'g / 2 nats short of the
optimum (Newton's decrement; Boyd & Vandenberghe 2004, section 9.5.1). With noisy gradients g_1 .. g_R from independent
draws the square of the mean is biased upwards by the noise; the products of different ones, g_r'g_s, are not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["Gap", "estimate"]

UNKNOWN = 0.5
"""The part of an estimate that counts into its error because the curvature is known in one direction only."""


@dataclass(frozen=True)
class Gap:
    """An estimated optimisation gap, in nats, with its error."""

    value: float
    mcse: float

    @property
    def upper(self) -> float:
        """The estimate plus two of its errors."""
        return self.value + 2 * self.mcse


def pairs(gradients: np.ndarray) -> float:
    """Half the mean of g_r'g_s over all pairs r != s; gradients has shape (R, size)."""
    count = len(gradients)
    total = gradients.sum(axis=0)
    return float(0.5 * (total @ total - np.sum(gradients**2)) / (count * (count - 1)))


def estimate(gradients: np.ndarray, bend: Callable[[np.ndarray], np.ndarray], floor: float = 0.0) -> Gap:
    """The gap from independent gradients, shape (R, size), in whitened coordinates.

    ``bend(v)`` is the product of -ELBO's Hessian with v: along the mean gradient it says by how much the curvature
    differs from 1; the estimate is divided by it. Into the error go what that changed, half the estimate itself (across
    that direction the curvature may differ too, and on skewed posteriors does), and ``floor``.
    """
    value = pairs(gradients)
    count = len(gradients)
    left_out = np.array([pairs(np.delete(gradients, r, axis=0)) for r in range(count)])
    mcse = float(np.sqrt((count - 1) / count * np.sum((left_out - left_out.mean()) ** 2)))
    mean = gradients.mean(axis=0)
    length = np.linalg.norm(mean)
    curvature = 1.0
    if 0.5 * length**2 > floor:
        curvature = float(mean @ bend(mean / length)) / length
    if not np.isfinite(curvature) or curvature < 0.05:  # not near an optimum at all
        return Gap(abs(value) / 0.05, abs(value) / 0.05)
    corrected = value / curvature
    return Gap(corrected, math.hypot(mcse / curvature, corrected - value, UNKNOWN * corrected) + floor)
