"""Full rank: one Gaussian with any covariance on the unconstrained latents, z = location + scale_tril eps.

``scale_tril`` is the lower Cholesky factor of the covariance. The family holds every Gaussian posterior; what it
cannot hold is skewness, heavy tails or several modes. It costs d(d + 1)/2 parameters.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg

from guides.contract import Curvature, Family, Parameters
from guides.full_rank.local_posterior import LOCAL_POSTERIOR
from guides.triangle import Triangle

__all__ = ["FAMILY", "Coordinates"]


class Coordinates:
    """location = mode + C0 x_1, scale_tril = C0 L(x_2), with C0 C0' the inverse of the precision at the mode.

    L is lower triangular with x below its diagonal and exp(x / sqrt 2) on it. Where the posterior is
    Gaussian, the Hessian of -ELBO in these coordinates is the identity: the gradient is the natural one.
    """

    def __init__(self, curvature: Curvature) -> None:
        dimension = curvature.location.size
        self.dimension, self.size = dimension, dimension + dimension * (dimension + 1) // 2
        self.curvature, self.location = curvature, curvature.location
        precision_factor = curvature.colour(np.eye(dimension))
        self.factor = np.linalg.cholesky(precision_factor @ precision_factor.T)
        self.triangle = Triangle(self.factor, 1, np.eye(dimension))

    def parameters(self, x: np.ndarray) -> Parameters:
        step, part = np.split(x, [self.dimension])
        return {"location": self.location + self.factor @ step, "scale_tril": self.triangle.factor(part)}

    def pullback(self, x: np.ndarray, gradient: Parameters) -> np.ndarray:
        part = self.triangle.pullback(x[self.dimension :], np.tril(gradient["scale_tril"]))
        return np.concatenate([self.factor.T @ gradient["location"], part])

    def locate(self, parameters: Parameters) -> np.ndarray:
        shift = parameters["location"] - self.location
        step = scipy.linalg.solve_triangular(self.factor, shift, lower=True)
        return np.concatenate([step, self.triangle.locate(parameters["scale_tril"])])


FAMILY = Family(Coordinates, local_posterior=LOCAL_POSTERIOR, largest_dimension=500)
"""Its parameters and its cost grow with the square of the dimension or worse."""
