"""Mixture: q(z) = sum_k weight_k N(z; location_k, diag(scale_k^2)), a few independent Gaussians with weights.

It holds several modes and, by laying components side by side, bent or slanted posteriors. As a guide of an encoder:
the encoder gives weights, locations and scales of all components for an image.
"""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax, logsumexp

from guides.contract import Family, LocalPosterior

COMPONENTS = 3
"""Draws are made component by component, each with its weight, which has a gradient."""

APART = 0.05
"""Distance between components, in sds, where they stand for one Gaussian."""


def shapes(latent: int) -> dict[str, tuple[int, ...]]:
    return {"logits": (COMPONENTS,), "location": (COMPONENTS, latent), "log_scale": (COMPONENTS, latent)}


def start(latent: int) -> np.ndarray:
    """Equal weights and unit scales, the locations half an sd apart: components that start alike stay alike."""
    locations = np.repeat(np.linspace(-0.5, 0.5, COMPONENTS), latent)
    return np.concatenate([np.zeros(COMPONENTS), locations, np.zeros(COMPONENTS * latent)])


def from_mean_field(row: np.ndarray, latent: int) -> np.ndarray:
    """Very nearly the same Gaussian (KL below 1e-5 nats): equal components, just apart enough for a gradient."""
    location, log_scale = row[..., :latent], row[..., latent:]
    shifts = APART * (np.arange(COMPONENTS) - (COMPONENTS - 1) / 2)
    locations = [location + shift * np.exp(log_scale) for shift in shifts]
    return np.concatenate([np.zeros((*row.shape[:-1], COMPONENTS)), *locations, *[log_scale] * COMPONENTS], axis=-1)


def log_density(rows: np.ndarray, z: np.ndarray) -> np.ndarray:
    part = LOCAL_POSTERIOR.split(rows[:, None, :], z.shape[-1])
    eps = (z[:, :, None, :] - part["location"]) * np.exp(-part["log_scale"])
    each = -0.5 * (eps**2 + np.log(2 * np.pi)).sum(-1) - part["log_scale"].sum(-1)
    return logsumexp(log_softmax(part["logits"], axis=-1) + each, axis=-1)


LOCAL_POSTERIOR = LocalPosterior(shapes, start, log_density, {"mean_field": from_mean_field}, strata=COMPONENTS)
"""For encoders: q(z) = sum_k softmax(logits)_k prod_d N(z_d; location_kd, exp(log_scale_kd)^2)."""

FAMILY = Family(local_posterior=LOCAL_POSTERIOR, is_particular=True)
