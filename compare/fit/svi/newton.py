"""Log joints of too many latents for a matrix, by gradients and by the Hessian's products; and the climb to a mode."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import diags_array

from compare.fit.svi.laplace import ROUNDING, NoMode, not_finite, positive_factor
from compare.fit.svi.protocol import LogJoint
from guides.contract import Curvature
from guides.matrix_free import Deflated, Product, Whitener, solve

CHUNK = 2_000_000
"""Numbers that the directions of one call hold at most."""

ALIKE = 1e-6
"""Relative difference up to which two products of a Hessian are the same, its latents in units of their own."""

PROBES = 3
"""Random directions on which two Hessians are compared."""

ROUNDS = 60
"""Newton steps of a climb, at most."""

INNER = 2_000
"""Rounds of conjugate gradients in one of them, at most."""

ARRIVED = 1e-8
"""Nats from the mode within which the climb has arrived."""


@dataclass
class LongLogJoint:
    """A log joint on its data. ``spent`` counts gradients, a product as one.

    Attributes:
        is_tridiagonal: Whether the Hessian is: three products then give all of it.
    """

    log_joint: LogJoint
    data: Any
    is_tridiagonal: bool = False
    spent: int = 0

    def value(self, location: np.ndarray) -> tuple[float, np.ndarray]:
        self.spent += 1
        value, gradient = self.log_joint.value(location, self.data)
        return float(value), gradient

    def products(self, location: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Minus the Hessian times rows of directions, shape (m, d); calls have few different shapes."""
        count, dimension = rows.shape
        chunk = max(1, min(256, CHUNK // dimension))
        chunk = next((size for size in (1, 8, 64) if size >= min(count, chunk)), chunk)
        pieces = []
        for begin in range(0, count, chunk):
            piece = rows[begin : begin + chunk]
            filled = np.zeros((chunk, dimension))
            filled[: len(piece)] = piece
            pieces.append(self.log_joint.products(location, filled, self.data)[: len(piece)])
        self.spent += count
        return np.concatenate(pieces)

    def bands(self, location: np.ndarray) -> np.ndarray:
        """The tridiagonal of minus the Hessian in lower banded form, shape (2, d)."""
        index = np.arange(location.size)
        products = self.products(location, (index % 3 == np.arange(3)[:, None]).astype(float))
        return np.stack([products[index % 3, index], np.append(products[index[1:] % 3, index[:-1]], 0.0)])

    def diagonal(self, location: np.ndarray, deadline: float) -> np.ndarray:
        """Minus the Hessian's diagonal, shape (d,), exact: a product for each latent.

        Raises:
            TimeoutError: the deadline (`time.perf_counter`) came first.
        """
        dimension = location.size
        diagonal, chunk = np.empty(dimension), max(1, min(256, CHUNK // dimension))
        for begin in range(0, dimension, chunk):
            if time.perf_counter() > deadline:
                raise TimeoutError("its budget ended before the curvature at the mode was known")
            rows = np.arange(begin, min(begin + chunk, dimension))
            axes = np.zeros((len(rows), dimension))
            axes[np.arange(len(rows)), rows] = 1.0
            diagonal[rows] = self.products(location, axes)[np.arange(len(rows)), rows]
        return diagonal

    def curvature(self, location: np.ndarray, deadline: float) -> tuple[np.ndarray, np.ndarray | None]:
        """The diagonal, and the bands where the Hessian is tridiagonal."""
        bands = self.bands(location)
        size = np.abs(bands[0])
        unit = 1 / np.sqrt(np.maximum(size, ROUNDING * size.max() + np.finfo(float).tiny))
        probes = unit * np.random.default_rng(0).standard_normal((PROBES, location.size))
        pushed = self.products(location, probes)
        self.is_tridiagonal = are_alike(unit * pushed, unit * banded_product(bands, probes.T).T)
        return (bands[0], bands) if self.is_tridiagonal else (self.diagonal(location, deadline), None)

    def product_at(self, location: np.ndarray) -> Product:
        return lambda columns: self.products(location, columns.T).T


def are_alike(images: np.ndarray, others: np.ndarray) -> bool:
    """Whether a Hessian's products are those of another one, each latent in a unit of its own.

    Every element counts: the norm of products as they come would be that of the latents of largest precision alone.
    """
    return bool(np.abs(images - others).max() <= ALIKE * np.abs(others).max())


def banded_product(bands: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """A tridiagonal matrix's product with columns, shape (d,) or (d, m)."""
    below = bands[1, :-1]
    return diags_array([below, bands[0], below], offsets=[-1, 0, 1]) @ columns


def whitener_of(diagonal: np.ndarray, bands: np.ndarray | None, location: np.ndarray) -> Whitener:
    """A first preconditioner: exact for a tridiagonal precision, else a diagonal."""
    if bands is not None:
        return Curvature(location, *positive_factor(bands))
    size = np.maximum(np.abs(diagonal), 1e-12 * np.abs(diagonal).max() + np.finfo(float).tiny)
    return Deflated(1 / np.sqrt(size), np.zeros(0), np.zeros((location.size, 0)))


def climb(
    density: LongLogJoint, start: np.ndarray, deadline: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """The mode by Newton's method, each step by preconditioned conjugate gradients; the diagonal and the bands there.

    Raises:
        FloatingPointError: the log joint is not finite at the start.
        NoMode: no step goes up, or the log joint is flat or bends upwards where it ends.
        TimeoutError: the deadline came first.
    """
    location, (value, gradient) = start.copy(), density.value(start)
    if not (np.isfinite(value) and np.isfinite(gradient).all()):
        raise FloatingPointError(not_finite(value, gradient))
    diagonal, bands = density.curvature(location, deadline)
    for _ in range(ROUNDS):
        if time.perf_counter() > deadline:
            raise TimeoutError("its budget ended before the mode was reached")
        bands = density.bands(location) if density.is_tridiagonal else None
        whitener = whitener_of(diagonal, bands, location)
        step, decrement = newton_step(density, location, gradient, whitener, deadline)
        if decrement < ARRIVED + 1e-13 * abs(value):
            return finished(density, location, deadline)
        ahead = line_search(density, location, step, value, decrement)
        if ahead is None:
            if decrement < 1e-4:  # rounding hides what is left
                return finished(density, location, deadline)
            raise NoMode("the log joint has no mode that Newton's method reaches")
        location, value, gradient = ahead
        if not (np.abs(location) <= 1e12).all():
            raise NoMode("the log joint keeps rising without end: the posterior may be improper")
    raise NoMode(f"the log joint still rises after {ROUNDS} steps of Newton's method")


def newton_step(
    density: LongLogJoint, location: np.ndarray, gradient: np.ndarray, whitener: Whitener, deadline: float
) -> tuple[np.ndarray, float]:
    """The step, and half its product with the gradient: the nats that it gains."""
    product, slope = density.product_at(location), whitener.whiten(gradient)[:, None]
    enough = max(1e-3 * 0.5 * float(np.sum(slope**2)), 1e-10)
    solution, _ = solve(lambda w: whitener.whiten(product(whitener.colour(w))), slope, enough, INNER, deadline)
    if not np.sum(solution * slope) > 0:  # it bends upwards: along the gradient
        solution = slope
    return whitener.colour(solution[:, 0]), 0.5 * float(np.sum(solution * slope))


def line_search(
    density: LongLogJoint, location: np.ndarray, step: np.ndarray, value: float, decrement: float
) -> tuple[np.ndarray, float, np.ndarray] | None:
    """The first place that is high enough, halving the step; None where there is none."""
    for halvings in range(40):
        length = 0.5**halvings
        there = location + length * step
        ahead, gradient = density.value(there)
        if np.isfinite(ahead) and np.isfinite(gradient).all() and ahead >= value + 2e-4 * length * decrement:
            return there, ahead, gradient
    return None


def finished(density: LongLogJoint, location: np.ndarray, deadline: float) -> tuple[np.ndarray, np.ndarray, Any]:
    diagonal, bands = density.curvature(location, deadline)
    if not (np.isfinite(diagonal).all() and diagonal.min() > 1e-20 * diagonal.max()):
        raise NoMode("the log joint is flat, or bends upwards, in some direction: the posterior may be improper")
    return location, diagonal, bands
