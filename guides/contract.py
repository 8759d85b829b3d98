"""What a family's folder fills in, beside the guide itself.

A guide fits best in coordinates x in which -ELBO bends the same way in every direction: then a gradient is
already a natural gradient, a step of length one is about right, and half the squared gradient is the distance
to the best member in nats. For a Gaussian family those coordinates follow from the curvature of the log joint.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import scipy.linalg

__all__ = ["Chart", "Coordinates", "Curvature", "Parameters", "whitening"]

Parameters = dict[str, np.ndarray]
"""A family's parameters by name, in its own terms (location, scale, ...), float64."""


@dataclass(frozen=True)
class Curvature:
    """Where the log joint is highest in the unconstrained space, and how it bends there.

    ``location`` has shape (d,). ``factor`` is a lower Cholesky factor of the precision (minus the Hessian): either
    dense, shape (d, d), or of a tridiagonal precision in SciPy's lower banded form, shape (2, d).
    ``diagonal`` is the precision's diagonal, shape (d,). ``shapes`` are those of the parameters that the guide starts
    from, by name, for a family in which they depend on more than d.
    """

    location: np.ndarray
    factor: np.ndarray
    diagonal: np.ndarray
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)

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

    def discolour(self, shift: np.ndarray) -> np.ndarray:
        """factor' shift: the inverse of `colour`."""
        if self.banded:
            return self.factor[0] * shift + np.append(self.factor[1, :-1] * shift[1:], 0.0)
        return self.factor.T @ shift

    def precision(self, begin: int, end: int) -> np.ndarray:
        """The precision's block of these latents, shape (end - begin, end - begin)."""
        if self.banded:
            diagonal, below = self.factor[0, begin:end], self.factor[1, begin : end - 1]
            before = self.factor[1, begin - 1 : end - 1] if begin else np.append(0.0, below)
            beside = below * diagonal[:-1]
            return np.diag(diagonal**2 + before**2) + np.diag(beside, 1) + np.diag(beside, -1)
        rows = self.factor[begin:end]
        return rows @ rows.T


def whitening(hessian: np.ndarray) -> np.ndarray:
    """The transform T, shape (k, k), for which T' hessian T is the identity; of the nearest that bends upwards."""
    values, vectors = np.linalg.eigh((hessian + hessian.T) / 2)
    return vectors / np.sqrt(np.maximum(np.abs(values), 1e-10 * np.abs(values).max()))


class Coordinates(Protocol):
    """A family's parameters as a smooth function of whitened coordinates x, shape (size,).

    ``x = 0`` is the family's Laplace approximation by ``curvature``, where the fit starts.
    """

    curvature: Curvature
    size: int

    def parameters(self, x: np.ndarray) -> Parameters:
        """The family's parameters at x."""

    def pullback(self, x: np.ndarray, gradient: Parameters) -> np.ndarray:
        """A gradient with respect to the parameters at x, as one with respect to x."""

    def locate(self, parameters: Parameters) -> np.ndarray:
        """The x of given parameters: the inverse of `parameters`."""


class Chart(Protocol):
    """The same for a family that starts where its guide does: made of the parameters there, at which ``x = 0``.

    It has all that `Coordinates` have but the curvature.
    """

    def whitened(self, x: np.ndarray, hessian: np.ndarray | None) -> Chart:
        """The chart around x in which the Hessian of -ELBO there, given in this one, is the identity.

        Without one, where it is too large to be formed, the directions stay as they are.
        """
