"""The mixture in NumPyro: the library's MixtureSameFamily of independent normals."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from guides.contract import Implementation
from guides.mixture import LOCAL_POSTERIOR


def local_posterior(row: jax.Array, latent: int) -> dist.Distribution:
    part = LOCAL_POSTERIOR.split(row, latent)
    components = dist.Normal(part["location"], jnp.exp(part["log_scale"])).to_event(1)
    return dist.MixtureSameFamily(dist.Categorical(logits=part["logits"]), components)


IMPLEMENTATION = Implementation(local_posterior=local_posterior)
