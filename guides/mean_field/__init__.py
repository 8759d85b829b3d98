"""Mean field: independent Gaussians on the unconstrained latents, q(z) = prod_i N(z_i; location_i, scale_i^2).

The smallest family that can be wrong in an instructive way: it holds no correlation. Against a Gaussian
posterior with precision matrix P its best member has the right means and variances 1 / P_ii, never larger than
the true ones (Bishop 2006, section 10.1.2).
"""

from __future__ import annotations

import math

import numpy as np

from guides.contract import Curvature, Family, LocalPosterior, Parameters


class Coordinates:
    """location = mode + factor^-T x_1, scale = exp(x_2 / sqrt 2) / sqrt(precision diagonal)."""

    def __init__(self, curvature: Curvature) -> None:
        self.curvature, self.size = curvature, 2 * curvature.location.size
        self.scale = 1 / np.sqrt(curvature.diagonal)

    def parameters(self, x: np.ndarray) -> Parameters:
        step, stretch = np.split(x, 2)
        return {
            "location": self.curvature.location + self.curvature.colour(step),
            "scale": self.scale * np.exp(stretch / math.sqrt(2)),
        }

    def pullback(self, x: np.ndarray, gradient: Parameters) -> np.ndarray:
        scale = self.parameters(x)["scale"]
        return np.concatenate([self.curvature.whiten(gradient["location"]), gradient["scale"] * scale / math.sqrt(2)])

    def locate(self, parameters: Parameters) -> np.ndarray:
        step = self.curvature.discolour(parameters["location"] - self.curvature.location)
        return np.concatenate([step, math.sqrt(2) * np.log(parameters["scale"] / self.scale)])


def log_density(rows: np.ndarray, z: np.ndarray) -> np.ndarray:
    part = LOCAL_POSTERIOR.split(rows[:, None, :], z.shape[-1])
    eps = (z - part["location"]) * np.exp(-part["log_scale"])
    return -0.5 * (eps**2 + np.log(2 * np.pi)).sum(-1) - part["log_scale"].sum(-1)


LOCAL_POSTERIOR = LocalPosterior(
    shapes=lambda latent: {"location": (latent,), "log_scale": (latent,)},
    start=lambda latent: np.zeros(2 * latent),
    log_density=log_density,
    gaussian=lambda mean, sd: np.concatenate([mean, np.log(sd)], axis=1),
)
"""For encoders: q(z) = prod_d N(z_d; location_d, exp(log_scale_d)^2)."""

FAMILY = Family(Coordinates, local_posterior=LOCAL_POSTERIOR, within=("full_rank", "low_rank", "flow"))
