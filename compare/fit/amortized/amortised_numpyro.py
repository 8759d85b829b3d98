"""Guides with an encoder in NumPyro: training by minibatches, the best posteriors image by image, weighed draws."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import optax
from numpyro import handlers

import guides
from compare import registry
from compare.fit.amortized.encoder import Twin, Weights, local_posterior
from compare.fit.amortized.local_posteriors import known_decoder
from compare.fit.svi.base_numpyro import from_base
from compare.user_model.jit_numpyro import QUICK, unvalidated
from models.contract import Training

__all__ = ["Networks", "networks"]


def reparametrised(q: dist.Distribution, eps: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Draws from one posterior of a family, as smooth functions of its parameters: z, log q(z) and the draws' weights.

    ``eps`` are standard normals, shape (strata, latent). A mixture's strata are its components, weighted as they are;
    any other family has one.
    """
    if isinstance(q, dist.MixtureSameFamily):
        z = from_base(q.component_distribution, eps)
        return z, q.log_prob(z), q.mixing_distribution.probs
    if isinstance(q, dist.TransformedDistribution):
        z = from_base(q.base_dist, eps[0])
        log_q = q.base_dist.log_prob(z)
        for transform in q.transforms:  # the density of a flow's own draws needs no inverse
            before = z
            z, intermediates = transform.call_with_intermediates(before)
            log_q = log_q - transform.log_abs_det_jacobian(before, z, intermediates)
        return z[None], log_q[None], jnp.ones(1)
    z = from_base(q, eps[0])
    return z[None], q.log_prob(z)[None], jnp.ones(1)


class Networks:
    """What NumPyro computes for one family on one model; compiled once for the shapes it meets."""

    def __init__(self, model: str, family: str, latent: int) -> None:
        self.twin: Twin
        self.twin, self.latent = registry.twin(model, "numpyro"), latent
        self.form = local_posterior(family)
        self.posterior = partial(guides.implementation(family, "numpyro").local_posterior, latent=latent)
        # Without the options that compile quickly: this runs long, and a quarter faster.
        self.epochs = jax.jit(self._epochs, static_argnames=("strata", "batch", "epochs"))
        self.elbos = jax.jit(self._elbos, compiler_options=QUICK)
        self.climb = jax.jit(self._climb, static_argnames=("strata", "draws"), compiler_options=QUICK)
        self.terms = jax.jit(self._terms, compiler_options=QUICK)
        self.encode = jax.jit(self._encode, compiler_options=QUICK)

    @unvalidated
    def densities(self, images: jax.Array, z: jax.Array, decoder: Any) -> tuple[jax.Array, jax.Array]:
        """log p(z) and log p(image | z) of each image, shapes (images,), z of shape (images, latent)."""
        trace = handlers.trace(handlers.substitute(self.twin.vae, {"z": z})).get_trace(images, decoder)
        terms = {name: s["fn"].log_prob(s["value"]) for name, s in trace.items() if s["type"] == "sample"}
        return terms.pop("z"), sum(terms.values())

    @unvalidated
    def draws(self, rows: jax.Array, images: jax.Array, decoder: Any, eps: jax.Array) -> tuple[jax.Array, ...]:
        """Draws of every image's q: z, log p(z), log p(image | z), log q(z) and weights.

        ``eps`` has shape (draws, images, strata, latent); the results (draws, images, strata, ...).
        """
        each = jax.vmap(lambda row, noise: reparametrised(self.posterior(row), noise))
        z, log_q, weights = jax.vmap(each, in_axes=(None, 0))(rows, eps)
        flat = jnp.moveaxis(z, 2, 1)  # the model's plate is that of the images
        prior, likelihood = jax.vmap(jax.vmap(lambda drawn: self.densities(images, drawn, decoder)))(flat)
        return z, jnp.moveaxis(prior, 1, 2), jnp.moveaxis(likelihood, 1, 2), log_q, weights

    def _elbo(self, rows: jax.Array, images: jax.Array, decoder: Any, eps: jax.Array) -> jax.Array:
        """Each draw's contribution to each image's ELBO, shape (draws, images)."""
        _, prior, likelihood, log_q, weights = self.draws(rows, images, decoder, eps)
        return (weights * (prior + likelihood - log_q)).sum(-1)

    def _encode(self, encoder: Any, images: jax.Array) -> jax.Array:
        return jax.vmap(self.twin.Encoder(**encoder))(images)

    def _elbos(self, encoder: Any, decoder: Any, images: jax.Array, eps: jax.Array) -> jax.Array:
        return self._elbo(self._encode(encoder, images), images, self.twin.Decoder(**decoder), eps)

    def _epochs(
        self,
        weights: Any,
        state: Any,
        key: jax.Array,
        fixed: Any,
        images: jax.Array,
        rate: jax.Array,
        strata: int,
        batch: int,
        epochs: int,
    ) -> tuple[Any, Any]:
        """Epochs of Adam, each over the images in a new order; of the decoder too, where none is ``fixed``."""
        optimiser, steps = optax.scale_by_adam(), len(images) // batch

        def loss(weights: Any, chosen: jax.Array, eps: jax.Array) -> jax.Array:
            decoder = self.twin.Decoder(**(weights["decoder"] if fixed is None else fixed))
            return -self._elbo(self._encode(weights["encoder"], chosen), chosen, decoder, eps).mean()

        def step(carry: tuple[Any, Any], draw: tuple[jax.Array, jax.Array]) -> tuple[tuple[Any, Any], None]:
            (weights, state), (pick, key) = carry, draw
            chosen = images[pick]
            eps = jax.random.normal(key, (1, batch, strata, self.latent), images.dtype)
            gradient = jax.grad(loss)(weights, chosen, eps)
            update, state = optimiser.update(gradient, state)
            return (jax.tree.map(lambda weight, change: weight - rate * change, weights, update), state), None

        def epoch(carry: tuple[Any, Any], key: jax.Array) -> tuple[tuple[Any, Any], None]:
            order, noise = jax.random.split(key)
            picks = jax.random.permutation(order, len(images))[: steps * batch].reshape(steps, batch)
            return jax.lax.scan(step, carry, (picks, jax.random.split(noise, steps)))[0], None

        return jax.lax.scan(epoch, (weights, state), jax.random.split(key, epochs))[0]

    def _climb(
        self,
        rows: jax.Array,
        key: jax.Array,
        decoder: Any,
        images: jax.Array,
        rates: jax.Array,
        strata: int,
        draws: int,
    ) -> jax.Array:
        """Steps of Adam on each image's own row, with the learning ``rates``, shape (steps,)."""
        decoder, optimiser = self.twin.Decoder(**decoder), optax.scale_by_adam()

        def loss(rows: jax.Array, eps: jax.Array) -> jax.Array:
            return -self._elbo(rows, images, decoder, eps).mean(0).sum()

        def step(carry: tuple[Any, Any], at: tuple[jax.Array, jax.Array]) -> tuple[tuple[Any, Any], None]:
            (rows, state), (rate, key) = carry, at
            half = jax.random.normal(key, (draws // 2, len(rows), strata, self.latent), rows.dtype)
            gradient = jax.grad(loss)(rows, jnp.concatenate([half, -half]))
            update, state = optimiser.update(gradient, state)
            return (rows - rate * update, state), None

        keys = jax.random.split(key, len(rates))
        return jax.lax.scan(step, (rows, optimiser.init(rows)), (rates, keys))[0][0]

    def _terms(self, rows: jax.Array, images: jax.Array, decoder: Any, eps: jax.Array) -> tuple[jax.Array, ...]:
        return self.draws(rows, images, self.twin.Decoder(**decoder), eps)

    # What crosses the wall, see `compare.fit.amortized.encoder.Networks`.

    def trainer(self, weights: Mapping[str, Weights], training: Training, seed: int) -> Trainer:
        return Trainer(self, weights, training, seed)

    def rows(self, encoder: Weights, images: np.ndarray) -> np.ndarray:
        return np.asarray(self.encode(single(encoder), single(images)), dtype=float)

    def best(self, rows: np.ndarray, training: Training, rates: np.ndarray, draws: int, seed: int) -> np.ndarray:
        start, decoder, test = single(rows), single(known_decoder(training)), single(training.test)
        climbed = self.climb(start, jax.random.key(seed), decoder, test, single(rates), self.form.strata, draws)
        return np.asarray(climbed, dtype=float)

    def weigh(self, rows: np.ndarray, images: np.ndarray, decoder: Weights, eps: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(np.asarray(part) for part in self.terms(rows, images, dict(decoder), eps))


class Trainer:
    """An encoder in training, see `compare.fit.amortized.encoder.Trainer`."""

    def __init__(self, networks: Networks, weights: Mapping[str, Weights], training: Training, seed: int) -> None:
        self.networks, self.weights_now, self.batch = networks, single(dict(weights)), training.batch
        self.fixed, self.images = single(training.decoder), single(training.train)
        self.state, self.key = optax.scale_by_adam().init(self.weights_now), jax.random.key(seed)

    def epochs(self, count: int, rate: float) -> None:
        self.key, key = jax.random.split(self.key)
        now, strata, networks = (self.weights_now, self.state), self.networks.form.strata, self.networks
        self.weights_now, self.state = networks.epochs(
            *now, key, self.fixed, self.images, single(rate), strata, self.batch, count
        )
        jax.block_until_ready(self.weights_now)

    def elbo(self, images: np.ndarray, eps: np.ndarray) -> np.ndarray:
        decoder = self.weights_now["decoder"] if self.fixed is None else self.fixed
        return np.asarray(
            self.networks.elbos(self.weights_now["encoder"], decoder, single(images), single(eps)), dtype=float
        )

    def weights(self) -> dict[str, Weights]:
        return jax.tree.map(lambda part: np.asarray(part, dtype=float), self.weights_now)


def single(tree: Any) -> Any:
    """The same in float32, in which networks are trained."""
    return jax.tree.map(lambda part: jnp.asarray(part, jnp.float32), tree)


@lru_cache(maxsize=16)
def networks(model: str, family: str, latent: int) -> Networks:
    return Networks(model, family, latent)
