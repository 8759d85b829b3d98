"""Full rank: one Gaussian with any covariance on the unconstrained latents, z = location + scale_tril eps.

``scale_tril`` is the lower Cholesky factor of the covariance. The family holds every Gaussian posterior; what it
cannot hold is skewness, heavy tails or several modes. It costs d(d + 1)/2 parameters.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg

from guides.contract import Curvature, Family, LocalPosterior, Parameters
from guides.triangle import Triangle


class Coordinates:
    """location = mode + C0 x_1, scale_tril = C0 L(x_2), with C0 C0' the inverse of the precision at the mode.

    L is lower triangular with x below its diagonal and exp(x / sqrt 2) on it. Where the posterior is
    Gaussian, the Hessian of -ELBO in these coordinates is the identity: the gradient is the natural one.
    """

    def __init__(self, curvature: Curvature) -> None:
        self.curvature, self.dimension = curvature, curvature.location.size
        root = curvature.colour(np.eye(self.dimension))
        self.factor = np.linalg.cholesky(root @ root.T)
        self.triangle = Triangle(self.factor, 1, np.eye(self.dimension))
        self.size = self.dimension + self.triangle.size

    def parameters(self, x: np.ndarray) -> Parameters:
        step, part = np.split(x, [self.dimension])
        return {"location": self.curvature.location + self.factor @ step, "scale_tril": self.triangle.factor(part)}

    def pullback(self, x: np.ndarray, gradient: Parameters) -> np.ndarray:
        part = self.triangle.pullback(x[self.dimension :], np.tril(gradient["scale_tril"]))
        return np.concatenate([self.factor.T @ gradient["location"], part])

    def locate(self, parameters: Parameters) -> np.ndarray:
        shift = parameters["location"] - self.curvature.location
        step = scipy.linalg.solve_triangular(self.factor, shift, lower=True)
        return np.concatenate([step, self.triangle.locate(parameters["scale_tril"])])


def shapes(latent: int) -> dict[str, tuple[int, ...]]:
    return {"location": (latent,), "log_scale": (latent,), "below": (latent * (latent - 1) // 2,)}


def from_mean_field(row: np.ndarray, latent: int) -> np.ndarray:
    return np.concatenate([row, np.zeros((*row.shape[:-1], latent * (latent - 1) // 2))], axis=-1)


def log_density(rows: np.ndarray, z: np.ndarray) -> np.ndarray:
    latent = z.shape[-1]
    part = LOCAL_POSTERIOR.split(rows, latent)
    factor = np.zeros((len(rows), latent, latent))
    factor[(slice(None), *np.tril_indices(latent, -1))] = part["below"]
    factor[:, range(latent), range(latent)] = np.exp(part["log_scale"])
    eps = np.linalg.solve(factor, (z - part["location"][:, None, :]).swapaxes(1, 2))
    return -0.5 * (eps**2 + np.log(2 * np.pi)).sum(1) - part["log_scale"].sum(-1)[:, None]


LOCAL_POSTERIOR = LocalPosterior(
    shapes,
    start=lambda latent: np.zeros(2 * latent + latent * (latent - 1) // 2),
    log_density=log_density,
    contains={"mean_field": from_mean_field},
)
"""For encoders: q(z) = N(z; location, L L'), L lower triangular: exp(log_scale) on its diagonal, ``below`` under it."""

FAMILY = Family(Coordinates, local_posterior=LOCAL_POSTERIOR, largest_dimension=500, within=("flow",))
"""Its parameters and its cost grow with the square of the dimension or worse."""
