"""Full rank in NumPyro: the library's own AutoMultivariateNormal."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.infer.autoguide import AutoMultivariateNormal

from guides.contract import Implementation, sites_named
from guides.full_rank import LOCAL_POSTERIOR


def guide(twin: Any) -> AutoMultivariateNormal:
    return AutoMultivariateNormal(twin.model)


def local_posterior(row: jax.Array, latent: int) -> dist.Distribution:
    part = LOCAL_POSTERIOR.split(row, latent)
    rows, columns = np.tril_indices(latent, -1)
    below = jnp.zeros((*row.shape[:-1], latent, latent), row.dtype).at[..., rows, columns].set(part["below"])
    scale = jnp.exp(part["log_scale"])[..., None] * jnp.eye(latent, dtype=row.dtype)
    return dist.MultivariateNormal(part["location"], scale_tril=below + scale)


IMPLEMENTATION = Implementation(guide, sites_named("auto_"), local_posterior)
