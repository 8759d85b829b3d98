"""Coordinates for a lower triangular factor of a covariance."""

from __future__ import annotations

import math

import numpy as np
import scipy.linalg


class Triangle:
    """A lower factor as start L(x): L has x / sqrt(weight) below its diagonal, and on it exp(basis x / sqrt(2 weight)).

    ``start`` has shape (n, n); ``basis`` (k, n) holds orthonormal rows, the directions in which the logs may go.
    """

    def __init__(self, start: np.ndarray, weight: int, basis: np.ndarray) -> None:
        self.start, self.basis = start, basis
        self.below = np.tril_indices(len(start), -1)
        self.size = len(self.below[0]) + len(basis)
        self.off, self.on = 1 / math.sqrt(weight), 1 / math.sqrt(2 * weight)

    def lower(self, x: np.ndarray) -> np.ndarray:
        below, logs = np.split(x, [len(self.below[0])])
        lower = np.diag(np.exp(self.on * logs @ self.basis))
        lower[self.below] = self.off * below
        return lower

    def factor(self, x: np.ndarray) -> np.ndarray:
        return self.start @ self.lower(x)

    def pullback(self, x: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        slope = self.start.T @ gradient
        logs = self.on * self.basis @ (np.diag(slope) * np.diag(self.lower(x)))
        return np.concatenate([self.off * slope[self.below], logs])

    def locate(self, factor: np.ndarray) -> np.ndarray:
        lower = scipy.linalg.solve_triangular(self.start, factor, lower=True)
        return np.concatenate([lower[self.below] / self.off, self.basis @ np.log(np.diag(lower)) / self.on])
