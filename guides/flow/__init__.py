"""Flow: an inverse autoregressive flow (Kingma et al. 2016, equation 10) on independent Gaussians.

    z^0 = location + exp(log_scale) eps,      z^t = mean_t(z^(t-1)) + exp(log_scale_t(z^(t-1))) z^(t-1),  t = 1, 2

In the first step element d depends on the elements before it, in the second on those after it, through a layer of
tanh units (masked as in MADE: Germain et al. 2015) and a linear term. With the units' weights zero it is a Gaussian
with any covariance. Kingma et al. share the steps' networks among all images and let the encoder give them a context;
here the encoder gives the networks' weights themselves, so that each image has a member of the family of its own.

Step t has the parameters ``slope_t`` (latent, latent), ``inward_t`` (latent, units), ``biases_t`` (units,), ``mean_t``
and ``stretch_t`` (units, latent), ``shift_t`` and ``level_t`` (latent,); masks make its network autoregressive.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from guides.contract import Family, LocalPosterior

__all__ = ["FAMILY", "LOCAL_POSTERIOR", "masks", "steps"]

STEPS = 2
UNITS = 8
"""Hidden units of each step's network."""

CLIP = (-5.0, 3.0)
"""Both libraries keep each step's log scales within these."""

SEED = 20160615
"""Seed of the networks' inner weights at the start."""


def step_shapes(latent: int) -> dict[str, tuple[int, ...]]:
    return {
        "slope": (latent, latent),
        "inward": (latent, UNITS),
        "biases": (UNITS,),
        "mean": (UNITS, latent),
        "stretch": (UNITS, latent),
        "shift": (latent,),
        "level": (latent,),
    }


def shapes(latent: int) -> dict[str, tuple[int, ...]]:
    parts: dict[str, tuple[int, ...]] = {"location": (latent,), "log_scale": (latent,)}
    for step in range(STEPS):
        parts |= {f"{name}_{step}": shape for name, shape in step_shapes(latent).items()}
    return parts


def masks(latent: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What may depend on what: slope (latent, latent), inward (latent, units) and outward (units, latent), 0 or 1.

    Unit k sees the elements up to its degree, an element the units of a lower degree than its own number.
    """
    number = np.arange(1, latent + 1)
    degree = 1 + np.arange(UNITS) % max(latent - 1, 1)
    slope, inward, outward = number[:, None] < number, number[:, None] <= degree, degree[:, None] < number
    return slope.astype(float), inward.astype(float), outward.astype(float)


def steps(row: Any, latent: int) -> tuple[Any, Any, list[dict[str, Any]]]:
    """Location, log scale, and the parameters of each step with its number left off."""
    part = LOCAL_POSTERIOR.split(row, latent)
    parts = [{name: part[f"{name}_{step}"] for name in step_shapes(latent)} for step in range(STEPS)]
    return part["location"], part["log_scale"], parts


def start(latent: int) -> np.ndarray:
    """The row of N(0, I): the networks give nothing. Their inner weights are random, so that a gradient can tell the
    units apart."""
    rng = np.random.default_rng(SEED)
    parts = {name: np.zeros(shape) for name, shape in shapes(latent).items()}
    for step in range(STEPS):
        parts[f"inward_{step}"] = rng.normal(0, 1, (latent, UNITS))
        parts[f"biases_{step}"] = rng.normal(0, 1, UNITS)
    return np.concatenate([part.ravel() for part in parts.values()])


def from_mean_field(row: np.ndarray, latent: int) -> np.ndarray:
    """The same Gaussian: the networks give nothing."""
    networks = np.broadcast_to(
        start(latent)[2 * latent :], (*row.shape[:-1], LOCAL_POSTERIOR.size(latent) - 2 * latent)
    )
    return np.concatenate([row, networks], axis=-1)


def from_full_rank(row: np.ndarray, latent: int) -> np.ndarray:
    """The same Gaussian: the first step's linear term makes z = location + L eps of unit lower triangular L D^-1."""
    lower = np.zeros((*row.shape[:-1], latent, latent))
    lower[(..., *np.tril_indices(latent, -1))] = row[..., 2 * latent :]
    location, scale = row[..., :latent], np.exp(row[..., latent : 2 * latent])
    slope = (lower / scale[..., None, :]).swapaxes(-1, -2)  # element d gets sum_{c<d} slope[c, d] z0_c
    flat = from_mean_field(row[..., : 2 * latent], latent).copy()
    flat[..., 2 * latent : 2 * latent + latent**2] = slope.reshape(*row.shape[:-1], latent**2)
    begin = 2 * latent + latent**2 + latent * UNITS + UNITS + 2 * UNITS * latent
    flat[..., begin : begin + latent] = -np.einsum("...c,...cd->...d", location, slope)
    return flat


def log_density(rows: np.ndarray, z: np.ndarray) -> np.ndarray:
    """The steps are undone one element after the other."""
    latent = z.shape[-1]
    slope_mask, inward_mask, outward_mask = masks(latent)
    location, log_scale, parts = steps(rows[:, None, :], latent)
    stretched = np.zeros(z.shape[:-1])
    value = z
    for number, part in reversed(list(enumerate(parts))):
        order = slice(None, None, -1) if number % 2 else slice(None)
        target, value = value[..., order], np.zeros_like(z)
        for element in range(latent):
            units = np.tanh(np.einsum("npd,nxdk->npk", value, inward_mask * part["inward"]) + part["biases"])
            shift = (
                np.einsum("npc,nxc->np", value, (slope_mask * part["slope"])[..., element])
                + np.einsum("npk,nxk->np", units, (outward_mask * part["mean"])[..., element])
                + part["shift"][..., element]
            )
            stretch = np.einsum("npk,nxk->np", units, (outward_mask * part["stretch"])[..., element])
            stretch = np.clip(stretch + part["level"][..., element], *CLIP)
            value[..., element] = (target[..., element] - shift) * np.exp(-stretch)
            stretched = stretched + stretch
        value = value[..., order]
    eps = (value - location) * np.exp(-log_scale)
    return -0.5 * (eps**2 + np.log(2 * np.pi)).sum(-1) - log_scale.sum(-1) - stretched


LOCAL_POSTERIOR = LocalPosterior(
    shapes, start, log_density, {"mean_field": from_mean_field, "full_rank": from_full_rank}
)

FAMILY = Family(local_posterior=LOCAL_POSTERIOR, is_particular=True)
