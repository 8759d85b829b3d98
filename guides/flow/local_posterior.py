"""The family's posterior of one z as a row of parameters: what an encoder returns for an observation.

Step t has the parameters ``slope_t`` (latent, latent), ``inward_t`` (latent, units), ``biases_t`` (units,), ``mean_t``
and ``stretch_t`` (units, latent), ``shift_t`` and ``level_t`` (latent,); masks make its network autoregressive.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from guides.contract import LocalPosterior
from guides.layout import size, split

__all__ = ["LOCAL_POSTERIOR", "masks", "shapes", "steps"]

STEPS = 2
UNITS = 8
"""Hidden units of each step's network."""

CLIP = (-5.0, 3.0)
"""Both libraries keep each step's log scales within these."""

SEED = 20160615
"""Seed of the networks' inner weights at the start."""


def shapes(latent: int) -> dict[str, tuple[int, ...]]:
    """The parameters in the order in which they stand in a row."""
    parts: dict[str, tuple[int, ...]] = {"location": (latent,), "log_scale": (latent,)}
    for step in range(STEPS):
        parts |= {
            f"slope_{step}": (latent, latent),
            f"inward_{step}": (latent, UNITS),
            f"biases_{step}": (UNITS,),
            f"mean_{step}": (UNITS, latent),
            f"stretch_{step}": (UNITS, latent),
            f"shift_{step}": (latent,),
            f"level_{step}": (latent,),
        }
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
    part = split(row, shapes(latent))
    names = ("slope", "inward", "biases", "mean", "stretch", "shift", "level")
    return (
        part["location"],
        part["log_scale"],
        [{name: part[f"{name}_{step}"] for name in names} for step in range(STEPS)],
    )


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
    networks = np.broadcast_to(start(latent)[2 * latent :], (*row.shape[:-1], size(shapes(latent)) - 2 * latent))
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


def log_density(parameters: np.ndarray, z: np.ndarray) -> np.ndarray:
    """log q(z) in nats, shape (n, points), of z, shape (n, points, latent), under n rows, shape (n, size).

    The steps are undone one element after the other.
    """
    latent = z.shape[-1]
    slope_mask, inward_mask, outward_mask = masks(latent)
    location, log_scale, parts = steps(parameters[:, None, :], latent)
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
    shapes, start, log_density, contains={"mean_field": from_mean_field, "full_rank": from_full_rank}
)
