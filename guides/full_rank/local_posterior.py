"""The family's posterior of one z as a row of parameters: what an encoder returns for an observation.

q(z) = N(z; location, L L'), L lower triangular: exp(log_scale) on its diagonal, ``below`` under it, row by row.
"""

from __future__ import annotations

import numpy as np

from guides.contract import LocalPosterior
from guides.layout import split

__all__ = ["LOCAL_POSTERIOR", "shapes"]


def from_mean_field(row: np.ndarray, latent: int) -> np.ndarray:
    """The same Gaussian: nothing below the diagonal."""
    return np.concatenate([row, np.zeros((*row.shape[:-1], latent * (latent - 1) // 2))], axis=-1)


def shapes(latent: int) -> dict[str, tuple[int, ...]]:
    """The parameters in the order in which they stand in a row."""
    return {"location": (latent,), "log_scale": (latent,), "below": (latent * (latent - 1) // 2,)}


def start(latent: int) -> np.ndarray:
    """The row of N(0, I), shape (size,)."""
    return np.zeros(2 * latent + latent * (latent - 1) // 2)


def log_density(parameters: np.ndarray, z: np.ndarray) -> np.ndarray:
    """log q(z) in nats, shape (n, points), of z, shape (n, points, latent), under n rows, shape (n, size)."""
    latent = z.shape[-1]
    part = split(parameters, shapes(latent))
    factor = np.zeros((len(parameters), latent, latent))
    rows, columns = np.tril_indices(latent, -1)
    factor[:, rows, columns] = part["below"]
    factor[:, range(latent), range(latent)] = np.exp(part["log_scale"])
    shift = (z - part["location"][:, None, :]).swapaxes(1, 2)
    eps = np.linalg.solve(factor, shift)
    return -0.5 * (eps**2 + np.log(2 * np.pi)).sum(1) - part["log_scale"].sum(-1)[:, None]


LOCAL_POSTERIOR = LocalPosterior(shapes, start, log_density, contains={"mean_field": from_mean_field})
