"""Likelihoods of a user's NumPyro model whose support depends on latents."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from compare.user_model.likelihoods import with_bounds


class Bounded:
    """A distribution with the density 0 outside of its support; its other base class says which."""

    def log_prob(self, value: jax.Array) -> jax.Array:
        logs = super().log_prob(value)  # type: ignore[misc]
        return jnp.where(self.support(value), logs, -jnp.inf)  # type: ignore[attr-defined]


def bounded(fn: Any) -> Any:
    """The likelihood with the density 0 outside of its support, where that is not the same for all latents."""
    return with_bounds(fn, dist.Distribution, dist.TransformedDistribution, Bounded)
