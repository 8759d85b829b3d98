"""The flow in NumPyro: the library's InverseAutoregressiveTransform, its networks' weights given, or params."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from numpyro.distributions import constraints
from numpyro.distributions.flows import InverseAutoregressiveTransform
from numpyro.distributions.transforms import LowerCholeskyAffine, PermuteTransform

from guides.autoguide_numpyro import AutoScaled
from guides.contract import Implementation, sites_named
from guides.flow import CLIP, masks, networks, steps


class AutoFlow(AutoScaled):
    """A Gaussian over the entire latent space that two autoregressive steps bend: z = loc + scale_tril f(eps).

    It starts as independent normals of sd ``init_scale``, which the steps leave as they are.
    """

    def _get_posterior(self) -> dist.Distribution:
        latent, transforms = self.latent_dim, []
        for number, part in enumerate(networks(latent)):
            params = {
                name: numpyro.param(f"{self.prefix}_{name}_{number}", jnp.asarray(value))
                for name, value in part.items()
            }
            transforms += step(params, latent, number, (-math.inf, math.inf))
        loc = numpyro.param(f"{self.prefix}_loc", self._init_latent)
        scale = self._init_scale * jnp.eye(latent)
        scale_tril = numpyro.param(f"{self.prefix}_scale_tril", scale, constraint=constraints.lower_cholesky)
        return dist.TransformedDistribution(self.get_base_dist(), [*transforms, LowerCholeskyAffine(loc, scale_tril)])

    def get_base_dist(self) -> dist.Distribution:
        return dist.Normal(jnp.zeros(self.latent_dim), 1).to_event(1)


def guide(twin: Any) -> AutoFlow:
    return AutoFlow(twin.model)


def network(part: dict[str, jax.Array], latent: int) -> Callable[..., Any]:
    """An autoregressive network: z of the step before, shape (latent,), to mean and log scale of the next."""
    own = masks(latent, part["biases"].shape[-1])
    slope_mask, inward_mask, outward_mask = (mask.astype(part["shift"].dtype) for mask in own)

    def mean_and_log_scale(z: jax.Array) -> tuple[jax.Array, jax.Array]:
        units = jnp.tanh(z @ (inward_mask * part["inward"]) + part["biases"])
        mean = z @ (slope_mask * part["slope"]) + units @ (outward_mask * part["mean"]) + part["shift"]
        log_scale = units @ (outward_mask * part["stretch"]) + part["level"]
        return mean, log_scale + z @ (slope_mask * part["growth"]) if "growth" in part else log_scale

    return mean_and_log_scale


def step(part: dict[str, jax.Array], latent: int, number: int, clip: tuple[float, float]) -> list[Any]:
    """The step's transforms: every second one takes the elements from the last to the first."""
    transform = InverseAutoregressiveTransform(network(part, latent), *clip)
    backwards = PermuteTransform(jnp.arange(latent)[::-1])
    return [backwards, transform, backwards] if number % 2 else [transform]


def local_posterior(row: jax.Array, latent: int) -> dist.Distribution:
    location, log_scale, parts = steps(row, latent)
    transforms = [transform for number, part in enumerate(parts) for transform in step(part, latent, number, CLIP)]
    return dist.TransformedDistribution(dist.Normal(location, jnp.exp(log_scale)).to_event(1), transforms)


IMPLEMENTATION = Implementation(guide, sites_named("auto_"), local_posterior, is_forward=True)
