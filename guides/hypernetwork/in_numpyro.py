"""The hypernetwork in NumPyro: a factorised normal with its means and scales from a network."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from numpyro import handlers
from numpyro.infer.autoguide import AutoContinuous
from numpyro.infer.initialization import init_to_uniform

from guides.contract import Implementation, sites_named
from guides.hypernetwork import EMBEDDING, HIDDEN, SPREAD


class AutoHypernetwork(AutoContinuous):
    """Independent normals over the entire latent space; one network makes their means and scales from embeddings.

    Embeddings and weights start random, of such a size that means start of order 1 and standard deviations of order
    ``init_scale``.
    """

    def __init__(
        self,
        model: Callable[..., Any],
        *,
        embedding: int = EMBEDDING,
        hidden: int = HIDDEN,
        prefix: str = "auto",
        init_loc_fn: Callable[..., Any] = init_to_uniform,
        init_scale: float = 0.1,
    ) -> None:
        if init_scale <= 0:
            raise ValueError(f"Expected init_scale > 0. but got {init_scale}")
        self._embedding, self._hidden, self._init_scale = embedding, hidden, init_scale
        super().__init__(model, prefix=prefix, init_loc_fn=init_loc_fn)

    def _normal(self, name: str, shape: tuple[int, ...], scale: Any) -> jax.Array:
        return numpyro.param(f"{self.prefix}_{name}", lambda key: scale * jax.random.normal(key, shape))

    def _get_posterior(self) -> dist.Distribution:
        embedding, hidden = self._embedding, self._hidden
        embeddings = self._normal("embeddings", (self.latent_dim, embedding), 1.0)
        hidden_weights = self._normal("hidden_weights", (embedding, hidden), embedding**-0.5)
        hidden_biases = numpyro.param(f"{self.prefix}_hidden_biases", jnp.zeros(hidden))
        output_weights = self._normal("output_weights", (hidden, 2), hidden**-0.5 * jnp.array(SPREAD))
        start = jnp.array([0.0, math.log(self._init_scale)])
        output_biases = numpyro.param(f"{self.prefix}_output_biases", start)
        units = jnp.tanh(embeddings @ hidden_weights + hidden_biases)
        mean, log_scale = (units @ output_weights + output_biases).T
        return dist.Normal(mean, jnp.exp(log_scale)).to_event(1)

    def get_posterior(self, params: dict[str, Any]) -> dist.Distribution:
        return handlers.substitute(self._get_posterior, params)()

    def median(self, params: dict[str, Any]) -> dict[str, Any]:
        return self._unpack_and_constrain(self.get_posterior(params).mean, params)

    def quantiles(self, params: dict[str, Any], quantiles: Any) -> dict[str, Any]:
        marginals = self.get_posterior(params).base_dist
        return self._unpack_and_constrain(marginals.icdf(jnp.array(quantiles)[..., None]), params)


def guide(twin: Any) -> AutoHypernetwork:
    return AutoHypernetwork(twin.model)


IMPLEMENTATION = Implementation(guide, sites_named("auto_"))
