"""The family's posterior of one z as a row of parameters: what an encoder returns for an observation.

q(z) = sum_k softmax(logits)_k prod_d N(z_d; location_kd, exp(log_scale_kd)^2).
"""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax, logsumexp

from guides.contract import LocalPosterior
from guides.layout import split

__all__ = ["COMPONENTS", "LOCAL_POSTERIOR", "shapes"]

COMPONENTS = 3
"""Draws are made component by component, each with its weight, which has a gradient."""

APART = 0.05
"""Distance between components, in sds, where they stand for one Gaussian."""


def from_mean_field(row: np.ndarray, latent: int) -> np.ndarray:
    """Very nearly the same Gaussian (KL below 1e-5 nats): equal components, just apart enough for a gradient."""
    location, log_scale = row[..., :latent], row[..., latent:]
    locations = [
        location + shift * np.exp(log_scale) for shift in APART * (np.arange(COMPONENTS) - (COMPONENTS - 1) / 2)
    ]
    return np.concatenate([np.zeros((*row.shape[:-1], COMPONENTS)), *locations, *[log_scale] * COMPONENTS], axis=-1)


def shapes(latent: int) -> dict[str, tuple[int, ...]]:
    """The parameters in the order in which they stand in a row."""
    each = (COMPONENTS, latent)
    return {"logits": (COMPONENTS,), "location": each, "log_scale": each}


def start(latent: int) -> np.ndarray:
    """Equal weights and unit scales, the locations half an sd apart: components that start alike stay alike."""
    locations = np.repeat(np.linspace(-0.5, 0.5, COMPONENTS)[:, None], latent, axis=1)
    return np.concatenate([np.zeros(COMPONENTS), locations.ravel(), np.zeros(COMPONENTS * latent)])


def log_density(parameters: np.ndarray, z: np.ndarray) -> np.ndarray:
    """log q(z) in nats, shape (n, points), of z, shape (n, points, latent), under n rows, shape (n, size)."""
    part = split(parameters[:, None, :], shapes(z.shape[-1]))
    eps = (z[:, :, None, :] - part["location"]) * np.exp(-part["log_scale"])
    each = -0.5 * (eps**2 + np.log(2 * np.pi)).sum(-1) - part["log_scale"].sum(-1)
    return logsumexp(log_softmax(part["logits"], axis=-1) + each, axis=-1)


LOCAL_POSTERIOR = LocalPosterior(
    shapes, start, log_density, contains={"mean_field": from_mean_field}, strata=COMPONENTS
)
