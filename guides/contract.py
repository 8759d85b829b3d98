"""What a family's folder fills in, beside the guide itself.

A guide fits best in coordinates x in which -ELBO bends the same way in every direction: then a gradient is
already a natural gradient, a step of length one is about right, and half the squared gradient is the distance
to the best member in nats. For a Gaussian family those coordinates follow from the curvature of the log joint.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import scipy.linalg

__all__ = ["Coordinates", "Curvature", "Parameters"]

Parameters = dict[str, np.ndarray]
"""A family's parameters by name, in its own terms (location, scale, ...), float64."""


@dataclass(frozen=True)
class Curvature:
    """Where the log joint is highest in the unconstrained space, and how it bends there.

    ``location`` has shape (d,). ``factor`` is a lower Cholesky factor of the precision (minus the Hessian): either
    dense, shape (d, d), or of a tridiagonal precision in SciPy's lower banded form, shape (2, d).
    ``diagonal`` is the precision's diagonal, shape (d,).
    """

    location: np.ndarray
    factor: np.ndarray
    diagonal: np.ndarray

    @property
    def banded(self) -> bool:
        """Whether the factor is in banded form."""
        return self.factor.ndim == 2 and self.factor.shape != (self.location.size, self.location.size)

    def whiten(self, gradient: np.ndarray) -> np.ndarray:
        """factor^-1 gradient: a gradient in the location becomes one in whitened coordinates."""
        if self.banded:
            return scipy.linalg.solve_banded((1, 0), self.factor, gradient)
        return scipy.linalg.solve_triangular(self.factor, gradient, lower=True)

    def colour(self, step: np.ndarray) -> np.ndarray:
        """factor^-T step: a step in whitened coordinates becomes one in the location."""
        if self.banded:
            upper = np.zeros_like(self.factor)
            upper[0, 1:], upper[1] = self.factor[1, :-1], self.factor[0]
            return scipy.linalg.solve_banded((0, 1), upper, step)
        return scipy.linalg.solve_triangular(self.factor, step, lower=True, trans="T")


class Coordinates(Protocol):
    """A family's parameters as a smooth function of whitened coordinates x, shape (size,).

    ``x = 0`` is where the fit starts: the family's Laplace approximation.
    """

    size: int

    def parameters(self, x: np.ndarray) -> Parameters:
        """The family's parameters at x."""

    def pullback(self, x: np.ndarray, gradient: Parameters) -> np.ndarray:
        """A gradient with respect to the parameters at x, as one with respect to x."""

    def locate(self, parameters: Parameters) -> np.ndarray:
        """The x of given parameters: the inverse of `parameters`."""
