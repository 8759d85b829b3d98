"""The flow in NumPyro: the library's InverseAutoregressiveTransform, with networks whose weights are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro.distributions.flows import InverseAutoregressiveTransform
from numpyro.distributions.transforms import PermuteTransform

from guides.contract import Implementation
from guides.flow import masks, steps


def network(part: dict[str, jax.Array], latent: int) -> Callable[..., Any]:
    """An autoregressive network: z of the step before, shape (latent,), to mean and log scale of the next."""
    slope_mask, inward_mask, outward_mask = (mask.astype(part["shift"].dtype) for mask in masks(latent))

    def mean_and_log_scale(z: jax.Array) -> tuple[jax.Array, jax.Array]:
        units = jnp.tanh(z @ (inward_mask * part["inward"]) + part["biases"])
        mean = z @ (slope_mask * part["slope"]) + units @ (outward_mask * part["mean"]) + part["shift"]
        return mean, units @ (outward_mask * part["stretch"]) + part["level"]

    return mean_and_log_scale


def local_posterior(row: jax.Array, latent: int) -> dist.Distribution:
    location, log_scale, parts = steps(row, latent)
    backwards, transforms = PermuteTransform(jnp.arange(latent)[::-1]), []
    for number, part in enumerate(parts):
        step = InverseAutoregressiveTransform(network(part, latent))
        transforms += [backwards, step, backwards] if number % 2 else [step]
    return dist.TransformedDistribution(dist.Normal(location, jnp.exp(log_scale)).to_event(1), transforms)


IMPLEMENTATION = Implementation(local_posterior=local_posterior)
