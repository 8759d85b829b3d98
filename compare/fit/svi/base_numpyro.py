"""NumPyro guides as smooth functions of standard normal draws.

`BaseDraws` gives a guide's sample sites their values from a row of draws instead of from a random key. Fixed draws
turn the ELBO into an ordinary smooth function of the guide's parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.special import ndtr
from numpyro.primitives import Messenger

from compare.fit.svi.draws import beta_quantile
from compare.user_model.sites import is_delta


class BaseDraws(Messenger):
    """Feed one row of draws, shape (columns,), to the latent sites of a guide, in the order they come.

    ``values`` holds what the fed sites became, ``latents`` what the model's sites became.
    """

    def __init__(self, fn: Callable[..., Any], draws: jax.Array) -> None:
        self.draws, self.used = draws, 0
        self.values: dict[str, jax.Array] = {}
        self.latents: dict[str, jax.Array] = {}
        super().__init__(fn)

    def process_message(self, message: dict[str, Any]) -> None:
        if message["type"] != "sample" or message["is_observed"] or is_delta(message["fn"]):
            return
        size = columns(message["fn"])
        base = self.draws[self.used : self.used + size]
        message["value"], message["intermediates"] = with_intermediates(message["fn"], base)
        self.values[message["name"]] = message["value"]
        self.used += size

    def postprocess_message(self, message: dict[str, Any]) -> None:
        if message["type"] == "sample" and not message["infer"].get("is_auxiliary"):
            self.latents[message["name"]] = message["value"]


def columns(fn: dist.Distribution) -> int:
    """How many standard normals one value of the distribution is made of."""
    return math.prod(base_shape(fn))


def base_shape(fn: Any) -> tuple[int, ...]:
    """The shape of the standard normals that one value is made of.

    A simplex or a Cholesky factor is made of fewer than it has elements. Where a plate expands a distribution the batch
    is the plate's.
    """
    if isinstance(fn, dist.LowRankMultivariateNormal):
        return (*fn.batch_shape, sum(fn.cov_factor.shape[-2:]))
    if isinstance(fn, dist.ExpandedDistribution):
        return (*fn.batch_shape, *base_shape(fn.base_dist)[len(fn.base_dist.batch_shape) :])
    if isinstance(fn, dist.Independent | dist.TransformedDistribution) and not hasattr(fn, "from_base"):
        return base_shape(fn.base_dist)
    return fn.shape()


def mask_probability(fn: Any) -> jax.Array | None:
    """P(1) of each element of a dropout mask: Bernoulli variables whose probabilities do not count in the objective.

    None for any other distribution.
    """
    if not isinstance(fn, dist.MaskedDistribution) or fn._mask is not False:
        return None
    base = fn.base_dist
    while isinstance(base, dist.Independent | dist.ExpandedDistribution):
        base = base.base_dist
    return jnp.broadcast_to(base.probs, fn.shape()) if isinstance(base, dist.BernoulliProbs) else None


def with_intermediates(fn: Any, eps: jax.Array) -> tuple[jax.Array, list[Any]]:
    """The value, and each transform's input and intermediates: with them log q inverts no transform."""
    if not isinstance(fn, dist.TransformedDistribution) or hasattr(fn, "from_base"):
        return from_base(fn, eps), []
    value, passed = from_base(fn.base_dist, eps), []
    for transform in fn.transforms:
        before = value
        value, own = transform.call_with_intermediates(before)
        passed.append([before, own])
    return value, passed


def from_base(fn: Any, eps: jax.Array) -> jax.Array:
    """The value of the distribution that standard normals eps, shape (columns(fn),), stand for."""
    return value_of(fn, eps.reshape(base_shape(fn)))


def value_of(fn: Any, eps: jax.Array) -> jax.Array:
    """The value that standard normals of shape `base_shape` stand for."""
    probability = mask_probability(fn)
    if probability is not None:
        return (ndtr(eps) < probability).astype(eps.dtype)
    if hasattr(fn, "from_base"):
        return fn.from_base(eps)
    if isinstance(fn, dist.Independent | dist.ExpandedDistribution):
        return value_of(fn.base_dist, eps)
    if isinstance(fn, dist.TransformedDistribution):
        value = value_of(fn.base_dist, eps)
        for transform in fn.transforms:
            value = transform(value)
        return value
    if isinstance(fn, dist.Normal):
        return fn.loc + fn.scale * eps
    if isinstance(fn, dist.MultivariateNormal):
        return fn.loc + (fn.scale_tril @ eps[..., None])[..., 0]
    if isinstance(fn, dist.LowRankMultivariateNormal):
        common, own = jnp.split(eps, fn.cov_factor.shape[-1:], axis=-1)
        return fn.loc + (fn.cov_factor @ common[..., None])[..., 0] + jnp.sqrt(fn.cov_diag) * own
    if isinstance(fn, dist.Beta):
        return beta_from_base(fn.concentration1, fn.concentration0, eps)
    raise NotImplementedError(
        f"a guide with a {type(fn).__name__} site cannot be fed fixed draws; give its distribution a method "
        "from_base(eps), or fit it with --optimiser adam"
    )


@jax.custom_jvp
def beta_from_base(a: jax.Array, b: jax.Array, eps: jax.Array) -> jax.Array:
    return host_quantile(a, b, eps)[0]


@beta_from_base.defjvp
def beta_from_base_jvp(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    a, b, eps = primals  # the draws are constants: no slope in eps
    value, slope_a, slope_b = host_quantile(a, b, eps)
    return value, slope_a * tangents[0] / a + slope_b * tangents[1] / b


def host_quantile(a: jax.Array, b: jax.Array, eps: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    shape = jax.ShapeDtypeStruct(jnp.broadcast_shapes(jnp.shape(a), jnp.shape(b), jnp.shape(eps)), eps.dtype)
    return jax.pure_callback(beta_quantile, (shape, shape, shape), a, b, eps, vmap_method="broadcast_all")
