"""Priors of a user's NumPyro model that have no density everywhere, or cannot be drawn from."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import biject_to

from compare.user_model.sites import layers

START = 2.0
"""Half the width of the unconstrained interval that starts lie in, as both libraries have it."""


class Startable(dist.Distribution):
    """A prior that cannot be drawn from: its draws are uniform on an unconstrained interval, its density is its own."""

    arg_constraints: dict[str, Any] = {}
    pytree_data_fields = ("base_dist",)

    def __init__(self, base_dist: dist.Distribution) -> None:
        self.base_dist = base_dist
        super().__init__(base_dist.batch_shape, base_dist.event_shape, validate_args=False)

    @property
    def support(self) -> Any:
        return self.base_dist.support

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        transform = biject_to(self.support)
        shape = transform.inverse_shape(self.shape(sample_shape))
        return transform(jax.random.uniform(key, shape, minval=-START, maxval=START))

    def log_prob(self, value: Any, intermediates: Any = None) -> jax.Array:
        return self.base_dist.log_prob(value)


def startable(fn: Any) -> Any:
    """The prior, in a form that can be drawn from."""
    if any(isinstance(layer, dist.ImproperUniform) for layer in layers(fn)):
        return Startable(fn)
    try:
        jax.eval_shape(fn.sample, jax.random.key(0))
    except Exception:  # it is not implemented, or needs a package that is not installed
        return Startable(fn)
    return fn


def unmasked(fn: Any) -> tuple[Any, Any]:
    """The prior without its array of a mask, and that array; None where there is none.

    Nothing depends on an element that is masked out. Without the mask it has its prior, whose mass is one: the
    posterior of the others and the evidence are the same.
    """
    if isinstance(fn, dist.MaskedDistribution) and not isinstance(fn._mask, bool):
        return fn.base_dist, fn._mask
    if isinstance(fn, dist.ExpandedDistribution):
        inner, mask = unmasked(fn.base_dist)
        return (fn, None) if mask is None else (inner.expand(fn.batch_shape), mask)
    if isinstance(fn, dist.Independent):
        inner, mask = unmasked(fn.base_dist)
        return (fn, None) if mask is None else (inner.to_event(fn.reinterpreted_batch_ndims), mask)
    return fn, None


def place(fn: Any, shape: tuple[int, ...], rng: np.random.Generator, radius: float) -> Any:
    """A value by the site's shape and support alone: uniform within ``radius`` of the unconstrained origin."""
    transform = biject_to(fn.support)
    return transform(jnp.asarray(rng.uniform(-radius, radius, transform.inverse_shape(shape))))
