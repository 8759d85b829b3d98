"""The family's posterior of one z as a row of parameters: what an encoder returns for an observation.

q(z) = prod_d N(z_d; location_d, exp(log_scale_d)^2).
"""

from __future__ import annotations

import numpy as np

from guides.contract import LocalPosterior
from guides.layout import split

__all__ = ["LOCAL_POSTERIOR", "shapes"]


def shapes(latent: int) -> dict[str, tuple[int, ...]]:
    """The parameters in the order in which they stand in a row."""
    return {"location": (latent,), "log_scale": (latent,)}


def start(latent: int) -> np.ndarray:
    """The row of N(0, I), shape (size,)."""
    return np.zeros(2 * latent)


def gaussian(mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Rows, shape (n, size), of Gaussians with these means and sds, shape (n, latent)."""
    return np.concatenate([mean, np.log(sd)], axis=1)


def log_density(parameters: np.ndarray, z: np.ndarray) -> np.ndarray:
    """log q(z) in nats, shape (n, points), of z, shape (n, points, latent), under n rows, shape (n, size)."""
    part = split(parameters[:, None, :], shapes(z.shape[-1]))
    eps = (z - part["location"]) * np.exp(-part["log_scale"])
    return -0.5 * (eps**2 + np.log(2 * np.pi)).sum(-1) - part["log_scale"].sum(-1)


LOCAL_POSTERIOR = LocalPosterior(shapes, start, log_density, gaussian=gaussian)
