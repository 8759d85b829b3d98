"""The hypernetwork in NumPyro: a factorised normal with its means and scales from a network."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist

from guides.autoguide_numpyro import AutoGaussian
from guides.contract import Implementation, sites_named
from guides.hypernetwork import EMBEDDING, HIDDEN, SPREAD


class AutoHypernetwork(AutoGaussian):
    """Independent normals over the entire latent space; one network makes their means and scales from embeddings.

    Embeddings and weights start random, of such a size that means start of order 1 and standard deviations of order
    ``init_scale``.
    """

    def _normal(self, name: str, shape: tuple[int, ...], scale: Any) -> jax.Array:
        return numpyro.param(f"{self.prefix}_{name}", lambda key: scale * jax.random.normal(key, shape))

    def _get_posterior(self) -> dist.Distribution:
        embeddings = self._normal("embeddings", (self.latent_dim, EMBEDDING), 1.0)
        hidden_weights = self._normal("hidden_weights", (EMBEDDING, HIDDEN), EMBEDDING**-0.5)
        hidden_biases = numpyro.param(f"{self.prefix}_hidden_biases", jnp.zeros(HIDDEN))
        output_weights = self._normal("output_weights", (HIDDEN, 2), HIDDEN**-0.5 * jnp.array(SPREAD))
        start = jnp.array([0.0, math.log(self._init_scale)])
        output_biases = numpyro.param(f"{self.prefix}_output_biases", start)
        units = jnp.tanh(embeddings @ hidden_weights + hidden_biases)
        mean, log_scale = (units @ output_weights + output_biases).T
        return dist.Normal(mean, jnp.exp(log_scale)).to_event(1)


def guide(twin: Any) -> AutoHypernetwork:
    return AutoHypernetwork(twin.model)


IMPLEMENTATION = Implementation(guide, sites_named("auto_"))
