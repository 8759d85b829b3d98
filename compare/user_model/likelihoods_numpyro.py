"""Likelihoods of a user's NumPyro model whose support depends on latents."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from compare.user_model.likelihoods import with_bounds

LAYERS = {
    dist.Independent: "base_dist",
    dist.ExpandedDistribution: "base_dist",
    dist.MaskedDistribution: "base_dist",
    dist.TransformedDistribution: "base_dist",
    dist.MixtureSameFamily: "_component_distribution",
}
"""Distributions that consist of another one, and the name under which they hold it."""


class Bounded:
    """A distribution with the density 0 outside of its support; its other base class says which."""

    def log_prob(self, value: jax.Array) -> jax.Array:
        logs = super().log_prob(value)  # type: ignore[misc]
        return jnp.where(self.support(value), logs, -jnp.inf)  # type: ignore[attr-defined]


class BoundedTransformed:
    """A transformed distribution with the density 0 at values that its base cannot produce."""

    def log_prob(self, value: jax.Array, intermediates: Any = None) -> jax.Array:
        logs = super().log_prob(value, intermediates)  # type: ignore[misc]
        return jnp.where(jnp.isnan(logs), -jnp.inf, logs)


def bounded(fn: Any) -> Any:
    """The likelihood with the density 0 outside of its support, where that is not the same for all latents."""
    return with_bounds(fn, LAYERS, {False: Bounded, True: BoundedTransformed})
