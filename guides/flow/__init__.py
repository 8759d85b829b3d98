"""Flow: an inverse autoregressive flow (Kingma et al. 2016, equation 10) that bends a Gaussian.

For a whole model with d unconstrained latents z = location + scale_tril f(eps), where f takes two steps

    u^0 = eps,      u^t = mean_t(u^(t-1)) + exp(log_scale_t(u^(t-1))) u^(t-1),  t = 1, 2,

and starts as the identity. In the first step element d depends on the elements before it, in the second on those after
it, through linear terms and a layer of tanh units (masked as in MADE: Germain et al. 2015), one for each latent and 8
at least. Every Gaussian is a member; so is every funnel, a latent whose log scale is linear in an earlier one. The fit
starts from the best Gaussian and keeps its location and scale_tril.

For encoders, of one latent each,

    z^0 = location + exp(log_scale) eps,      z^t = mean_t(z^(t-1)) + exp(log_scale_t(z^(t-1))) z^(t-1),  t = 1, 2

with 8 units, and log scales without a linear term. With the units' weights zero it is a Gaussian with any covariance.
Kingma et al. share the steps' networks among all images and let the encoder give them a context; here the encoder gives
the networks' weights themselves, so that each image has a member of the family of its own.

Step t has the parameters ``slope_t`` (latent, latent), ``inward_t`` (latent, units), ``biases_t`` (units,), ``mean_t``
and ``stretch_t`` (units, latent), ``shift_t`` and ``level_t`` (latent,), and for whole models the linear term
of the log scales, ``growth_t`` (latent, latent); masks make its network autoregressive.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from guides.contract import Family, LocalPosterior, Parameters
from guides.coordinates import FreeElements

STEPS = 2
UNITS = 8
"""Hidden units of each step's network; for a whole model of more latents as many as these."""

CLIP = (-5.0, 3.0)
"""Both libraries keep each step's log scales within these in encoders."""

SEED = 20160615
"""Seed of the networks' inner weights at the start."""


def step_shapes(latent: int, units: int = UNITS) -> dict[str, tuple[int, ...]]:
    return {
        "slope": (latent, latent),
        "inward": (latent, units),
        "biases": (units,),
        "mean": (units, latent),
        "stretch": (units, latent),
        "shift": (latent,),
        "level": (latent,),
    }


def step_names() -> list[str]:
    """The parameters of a whole model's steps, their numbers left off."""
    return list(whole_shapes(1))


def shapes(latent: int) -> dict[str, tuple[int, ...]]:
    parts: dict[str, tuple[int, ...]] = {"location": (latent,), "log_scale": (latent,)}
    for step in range(STEPS):
        parts |= {f"{name}_{step}": shape for name, shape in step_shapes(latent).items()}
    return parts


def masks(latent: int, units: int = UNITS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What may depend on what: slope (latent, latent), inward (latent, units) and outward (units, latent), 0 or 1.

    Unit k sees the elements up to its degree, an element the units of a lower degree than its own number.
    """
    number = np.arange(1, latent + 1)
    degree = 1 + np.arange(units) % max(latent - 1, 1)
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


def networks(latent: int) -> list[dict[str, np.ndarray]]:
    """The steps' networks where a whole model's guide starts: they give nothing."""
    rng, units = np.random.default_rng(SEED), max(UNITS, latent)
    sees = np.sqrt(masks(latent, units)[1].sum(axis=0))
    parts = []
    for _ in range(STEPS):
        part = {name: np.zeros(shape) for name, shape in whole_shapes(latent).items()}
        part["inward"] = rng.standard_normal((latent, units)) / sees
        part["biases"] = rng.standard_normal(units)
        parts.append(part)
    return parts


def places(latent: int) -> dict[str, np.ndarray]:
    """Where in each of the networks' arrays the weights are that the masks leave, in row-major order."""
    slope, inward, outward = masks(latent, max(UNITS, latent))
    left = {"slope": slope, "growth": slope, "inward": inward, "mean": outward, "stretch": outward}
    return {
        f"{name}_{number}": np.flatnonzero(left.get(name, np.ones(shape)))
        for number in range(STEPS)
        for name, shape in whole_shapes(latent).items()
    }


def whole_shapes(latent: int) -> dict[str, tuple[int, ...]]:
    return step_shapes(latent, max(UNITS, latent)) | {"growth": (latent, latent)}


class NetworkCoordinates(FreeElements):
    """The networks' weights as begin + x, those that the masks leave; location and scale_tril stay a Gaussian's.

    At a Gaussian that is white f sees standard normals, so weights of order 1 are the natural ones. It needs no other
    location and factor: the first step's slope, shift and level make any of them.
    """

    def __init__(self, start: Parameters) -> None:
        latent = start["location"].size
        parts = enumerate(networks(latent))
        weights = {f"{name}_{number}": value for number, part in parts for name, value in part.items()}
        super().__init__(weights | start, places(latent))


FAMILY = Family(
    preconditioner=NetworkCoordinates,
    local_posterior=LOCAL_POSTERIOR,
    largest_dimension=100,
    bends="full_rank",
    built_on=("full_rank",),
)
