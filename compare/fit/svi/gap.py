"""How far from the best member of its family a guide is, without knowing the best member.

Near the optimum a guide whose gradient is g is g' H^-1 g / 2 nats short of it, H the Hessian of -ELBO (Newton's
decrement; Boyd & Vandenberghe 2004, section 9.5.1). With noisy gradients g_1 .. g_R from independent draws the square
of the mean is biased upwards by the noise; the products of different ones, g_r' H^-1 g_s, are not.

H is close to the identity in whitened coordinates, and a few steps of Lanczos's method from the mean gradient find how
it differs in the directions that matter (Golub & Meurant 2010: what the k-th step leaves out shrinks like the error of
conjugate gradients). Arrays have one row a fit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["LEAST", "Gap", "Metric", "estimate", "lanczos", "raw"]

SMALLEST = 0.05
"""Curvature below which, in coordinates where it should be 1, a guide is not near an optimum at all."""

LEAST = 5e-6
"""Smallest error in nats that is claimed where there is noise: a few batches may miss what the rarest draws add."""


@dataclass(frozen=True)
class Gap:
    """An estimated optimisation gap, in nats, with its error."""

    value: float
    mcse: float

    @property
    def upper(self) -> float:
        """The estimate plus two of its errors."""
        return self.value + 2 * self.mcse


@dataclass(frozen=True)
class Metric:
    """The Hessian of one fit, as far as it is known: ``basis`` (k, size) with the tridiagonal ``matrix`` (k, k) on it,
    and the identity on what is orthogonal to it."""

    basis: np.ndarray
    matrix: np.ndarray

    def near_optimum(self) -> bool:
        """Whether the curvature is positive in all known directions, as it must be around an optimum."""
        return bool(np.linalg.eigvalsh(self.matrix).min() > SMALLEST)

    def power(self, vectors: np.ndarray, exponent: float) -> np.ndarray:
        """H^exponent applied to vectors, shape (..., size)."""
        values, directions = np.linalg.eigh(self.matrix)
        change = (directions * (values**exponent - 1)) @ directions.T
        return vectors + ((vectors @ self.basis.T) @ change) @ self.basis

    def spread(self) -> float:
        """By how much 1 / curvature differs from 1 where it is known, at most."""
        return float(np.abs(1 / np.linalg.eigvalsh(self.matrix) - 1).max())


def lanczos(hessian_product: Callable[[np.ndarray], np.ndarray], start: np.ndarray, steps: int = 3) -> list[Metric]:
    """The metric of each fit around its mean gradient ``start``, shape (fits, size).

    ``hessian_product`` takes directions of that shape to their products with the Hessians.
    """
    fits, size = start.shape
    steps = min(steps, size)
    basis, matrix = np.zeros((fits, steps, size)), np.tile(np.eye(steps), (fits, 1, 1))
    residual, alive = start, np.ones(fits, dtype=bool)
    for step in range(steps):
        length = np.linalg.norm(residual, axis=1)
        alive = alive & np.isfinite(length) & (length > (0.0 if step == 0 else 1e-4))
        if not alive.any():
            break
        if step:
            matrix[alive, step, step - 1] = matrix[alive, step - 1, step] = length[alive]
        basis[alive, step] = residual[alive] / length[alive, None]
        residual = hessian_product(basis[:, step])
        matrix[alive, step, step] = np.einsum("fi,fi->f", residual, basis[:, step])[alive]
        for _ in range(2):  # orthogonal to rounding
            residual = residual - np.einsum("fk,fki->fi", np.einsum("fki,fi->fk", basis, residual), basis)
    known = [bool(np.isfinite(inner).all()) for inner in matrix]
    return [
        Metric(axes, inner if finite else np.zeros_like(inner))
        for axes, inner, finite in zip(basis, matrix, known, strict=True)
    ]


def raw(gradients: np.ndarray) -> Gap:
    """Half the mean of g_r'g_s over all pairs r != s, with its standard error; gradients has shape (R, size).

    With mean m and covariance V of one gradient its variance is m'Vm / R + tr(V^2) / (2 R (R - 1)). The first term is
    taken at the mean of the gradients, whose noise makes it somewhat too large where m is nearly 0; tr(V^2) is
    corrected for its bias as for normal noise (Bai & Saranadasa 1996).
    """
    count = len(gradients)
    mean = gradients.mean(axis=0)
    noise = gradients - mean
    products = noise @ noise.T
    value = 0.5 * (mean @ mean - np.trace(products) / (count * (count - 1)))
    along = np.sum((noise @ mean) ** 2) / (count - 1)
    trace, square = np.trace(products) / (count - 1), np.sum(products**2) / (count - 1) ** 2
    square = (count - 1) ** 2 / ((count - 2) * (count + 1)) * (square - trace**2 / (count - 1))
    return Gap(float(value), float(np.sqrt(along / count + max(square, 0.0) / (2 * count * (count - 1)))))


def estimate(gradients: np.ndarray, metric: Metric, floor: float = 0.0) -> Gap:
    """The gap of one fit from independent gradients, shape (R, size).

    Its error adds up the noise; the change by the last step of Lanczos's method; for the unseen directions, as much as
    curvature matters in the seen ones; the third derivative; ``floor``; and `LEAST` where the noise exceeds that. A
    self-concordant function is off its quadratic by decrement^3 / 3 to first order (Boyd & Vandenberghe 2004, section
    9.6.3); -ELBO need not be one, so three times that is taken.
    """
    if not metric.near_optimum():
        value = abs(raw(gradients).value) / SMALLEST
        return Gap(value, value)
    gap = raw(metric.power(gradients, -0.5))
    before = Metric(metric.basis[:-1], metric.matrix[:-1, :-1])
    unseen = raw(gradients - (gradients @ metric.basis.T) @ metric.basis)
    changed = gap.value - raw(before.power(gradients, -0.5)).value
    cubic = (2 * abs(gap.value)) ** 1.5
    parts = (gap.mcse, changed, unseen.value * metric.spread(), cubic)
    least = LEAST if gap.mcse > floor else 0.0
    return Gap(gap.value, float(np.sqrt(np.sum(np.square(parts)))) + floor + least)
