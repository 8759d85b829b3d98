"""Full rank: one Gaussian with any covariance on the unconstrained latents, z = location + scale_tril eps.

``scale_tril`` is the lower Cholesky factor of the covariance. The family holds every Gaussian posterior; what it
cannot hold is skewness, heavy tails or several modes. It costs d(d + 1)/2 parameters.
"""

from __future__ import annotations

import math

import numpy as np
import scipy.linalg

from guides.contract import Curvature, Parameters

__all__ = ["LARGEST", "Coordinates"]

LARGEST = 500
"""Dimension beyond which the family is not attempted: its parameters and its cost grow with the square or worse."""


class Coordinates:
    """location = mode + C0 x_1, scale_tril = C0 L(x_2), with C0 C0' the inverse of the precision at the mode.

    L is lower triangular with x below its diagonal and exp(x / sqrt 2) on it. In these coordinates -ELBO bends like
    the identity where the posterior is Gaussian: the natural gradient of Gaussian variational inference.
    """

    def __init__(self, curvature: Curvature) -> None:
        dimension = curvature.location.size
        self.dimension, self.size = dimension, dimension + dimension * (dimension + 1) // 2
        self.curvature, self.location = curvature, curvature.location
        precision_factor = curvature.colour(np.eye(dimension))
        self.factor = np.linalg.cholesky(precision_factor @ precision_factor.T)
        self.rows, self.columns = np.tril_indices(dimension)
        self.on_diagonal = self.rows == self.columns

    def triangle(self, x: np.ndarray) -> np.ndarray:
        entries = x[self.dimension :].copy()
        entries[self.on_diagonal] = np.exp(entries[self.on_diagonal] / math.sqrt(2))
        triangle = np.zeros((self.dimension, self.dimension))
        triangle[self.rows, self.columns] = entries
        return triangle

    def parameters(self, x: np.ndarray) -> Parameters:
        return {
            "location": self.location + self.factor @ x[: self.dimension],
            "scale_tril": self.factor @ self.triangle(x),
        }

    def pullback(self, x: np.ndarray, gradient: Parameters) -> np.ndarray:
        entries = (self.factor.T @ np.tril(gradient["scale_tril"]))[self.rows, self.columns]
        entries[self.on_diagonal] *= np.diag(self.triangle(x)) / math.sqrt(2)
        return np.concatenate([self.factor.T @ gradient["location"], entries])

    def locate(self, parameters: Parameters) -> np.ndarray:
        def solve(right: np.ndarray) -> np.ndarray:
            return scipy.linalg.solve_triangular(self.factor, right, lower=True)

        entries = solve(parameters["scale_tril"])[self.rows, self.columns]
        entries[self.on_diagonal] = math.sqrt(2) * np.log(entries[self.on_diagonal])
        return np.concatenate([solve(parameters["location"] - self.location), entries])
