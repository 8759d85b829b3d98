"""Curvatures of log joints with too many latents for a matrix: known by their products with vectors.

A preconditioner B, shape (d, d) but never formed, makes B' P B the identity or nearly so, P the precision (minus the
Hessian of the log joint). Where P is tridiagonal its Cholesky factor gives B exactly (`guides.contract.Curvature`);
elsewhere B is a diagonal, corrected along the directions of least and largest curvature (`Deflated`).
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from scipy.linalg import eigh_tridiagonal
from scipy.sparse.linalg import LinearOperator, lobpcg

Product = Callable[[np.ndarray], np.ndarray]
"""A matrix's product with columns, shape (d, m)."""


class Whitener(Protocol):
    """B, by its products with columns, shape (d,) or (d, m)."""

    def colour(self, step: np.ndarray) -> np.ndarray:
        """B step."""

    def whiten(self, gradient: np.ndarray) -> np.ndarray:
        """B' gradient."""

    def discolour(self, shift: np.ndarray) -> np.ndarray:
        """B^-1 shift."""


@dataclass(frozen=True)
class Deflated:
    """B = S (I + V (diag(values^-1/2) - I) V'), S diagonal: along V the precision's curvature becomes 1 as well.

    Attributes:
        scale: The diagonal of S, shape (d,).
        values: Eigenvalues of S P S, positive, shape (r,).
        vectors: Their eigenvectors V, shape (d, r).
    """

    scale: np.ndarray
    values: np.ndarray
    vectors: np.ndarray

    def colour(self, step: np.ndarray) -> np.ndarray:
        return (self.scale * self._power(step, -0.5).T).T

    def whiten(self, gradient: np.ndarray) -> np.ndarray:
        return self._power((self.scale * gradient.T).T, -0.5)

    def discolour(self, shift: np.ndarray) -> np.ndarray:
        return self._power((shift.T / self.scale).T, 0.5)

    def _power(self, step: np.ndarray, exponent: float) -> np.ndarray:
        along = self.vectors.T @ step
        return step + self.vectors @ ((self.values**exponent - 1) * along.T).T


@dataclass(frozen=True)
class MatrixFree:
    """A precision at a location, by its products.

    Attributes:
        location: Where it is, shape (d,).
        diagonal: The precision's diagonal, shape (d,), positive.
        product: The precision's product with columns.
        whitener: B.
        smallest: The least eigenvalues of diagonal^-1/2 P diagonal^-1/2 that are known, shape (k,), and their
            eigenvectors, shape (d, k).
        shapes: The shapes of the guide's starting parameters.
    """

    location: np.ndarray
    diagonal: np.ndarray
    product: Product
    whitener: Whitener
    smallest: tuple[np.ndarray, np.ndarray]
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def colour(self, step: np.ndarray) -> np.ndarray:
        return self.whitener.colour(step)

    def whiten(self, gradient: np.ndarray) -> np.ndarray:
        return self.whitener.whiten(gradient)

    def discolour(self, shift: np.ndarray) -> np.ndarray:
        return self.whitener.discolour(shift)

    def weigh(self, step: np.ndarray) -> np.ndarray:
        """B' P B step."""
        return self.whitener.whiten(self.product(self.whitener.colour(step)))


def extreme(
    product: Product, diagonal: np.ndarray, count: int, largest: bool, rounds: int = 30
) -> tuple[np.ndarray, np.ndarray]:
    """The ``count`` least or largest eigenvalues of diagonal^-1/2 P diagonal^-1/2, positive, and their eigenvectors.

    By blocks (LOBPCG: Knyazev 2001), which see eigenvalues that are several times there. They need not be exact: they
    precondition a search, and begin it.
    """
    root = 1 / np.sqrt(diagonal)
    begin = np.random.default_rng(0).standard_normal((diagonal.size, count))

    def scaled(columns: np.ndarray) -> np.ndarray:
        columns = columns.reshape(diagonal.size, -1)
        return root[:, None] * product(root[:, None] * columns)

    operator = LinearOperator((diagonal.size,) * 2, matvec=scaled, matmat=scaled, dtype=float)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where it is not exact
        values, vectors = lobpcg(operator, begin, largest=largest, maxiter=rounds, tol=1e-3)
    vectors, _ = np.linalg.qr(vectors)
    inner = vectors.T @ scaled(vectors)
    values, turn = np.linalg.eigh((inner + inner.T) / 2)
    return np.maximum(values, 1e-12 * np.abs(values).max()), vectors @ turn


def slackest(bands: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """As `extreme`, the least, for a tridiagonal precision in lower banded form, shape (2, d): exact."""
    root = 1 / np.sqrt(bands[0])
    beside = bands[1, :-1] * root[1:] * root[:-1]
    return eigh_tridiagonal(np.ones(len(root)), beside, select="i", select_range=(0, count - 1))


def solve(
    product: Product, columns: np.ndarray, enough: float, most: int, deadline: float = math.inf
) -> tuple[np.ndarray, int]:
    """X with A X = columns, shape (d, m), by conjugate gradients, column by column at once; and the rounds it took.

    It stops where x' A x / 2 is known to ``enough`` in each column, after ``most`` rounds, at the deadline
    (`time.perf_counter`), or where A is not positive.
    """
    solution, residual = np.zeros_like(columns), columns.copy()
    direction, length, rounds = residual.copy(), np.sum(residual**2, axis=0), 0
    while rounds < most and 0.5 * length.max() > enough and time.perf_counter() < deadline:
        pushed = product(direction)
        curvature = np.sum(direction * pushed, axis=0)
        if np.any((curvature <= 0) & (length > 0)) or not np.isfinite(curvature).all():
            break
        step = np.divide(length, curvature, out=np.zeros_like(length), where=curvature > 0)
        solution += step * direction
        residual -= step * pushed
        longer = np.sum(residual**2, axis=0)
        ratio = np.divide(longer, length, out=np.zeros_like(length), where=length > 0)
        direction, length, rounds = residual + ratio * direction, longer, rounds + 1
    return solution, rounds
