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

from compare.fit.amortized import encoder
from compare.fit.amortized.encoder import Weights
from compare.fit.amortized.local_posteriors import known_decoder
from compare.fit.svi.base_numpyro import from_base
from compare.user_model.jit_numpyro import QUICK, unvalidated
from models.contract import Training

Arrays = dict[str, Any]


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


quick = partial(jax.jit, static_argnames="self", compiler_options=QUICK)


class Networks(encoder.Networks):
    """What NumPyro computes for one family on one model; compiled once for the shapes it meets."""

    library = "numpyro"

    @unvalidated
    def densities(self, images: jax.Array, z: jax.Array, decoder: Any) -> tuple[jax.Array, jax.Array]:
        """log p(z) and log p(image | z) of each image, shapes (images,), z of shape (images, latent)."""
        trace = handlers.trace(handlers.substitute(self.twin.vae, {"z": z})).get_trace(images, decoder)
        terms = {name: s["fn"].log_prob(s["value"]) for name, s in trace.items() if s["type"] == "sample"}
        return terms.pop("z"), sum(terms.values())

    def draws(self, rows: jax.Array, images: jax.Array, decoder: Arrays, eps: jax.Array) -> tuple[jax.Array, ...]:
        """Draws of every image's q: z, log p(z), log p(image | z), log q(z) and weights.

        ``eps`` has shape (draws, images, strata, latent); the results (draws, images, strata, ...).
        """
        network = self.twin.Decoder(**decoder)
        each = jax.vmap(lambda row, noise: reparametrised(self.posterior(row), noise))
        z, log_q, weights = jax.vmap(each, in_axes=(None, 0))(rows, eps)
        flat = jnp.moveaxis(z, 2, 1)  # the model's plate is that of the images
        prior, likelihood = jax.vmap(jax.vmap(lambda drawn: self.densities(images, drawn, network)))(flat)
        return z, jnp.moveaxis(prior, 1, 2), jnp.moveaxis(likelihood, 1, 2), log_q, weights

    weighed = quick(draws)

    def elbo(self, rows: jax.Array, images: jax.Array, decoder: Arrays, eps: jax.Array) -> jax.Array:
        _, prior, likelihood, log_q, weights = self.draws(rows, images, decoder, eps)
        return (weights * (prior + likelihood - log_q)).sum(-1)

    def encode(self, weights: Arrays, images: jax.Array) -> jax.Array:
        return jax.vmap(self.twin.Encoder(**weights))(images)

    encoded = quick(encode)

    @quick
    def elbos(self, weights: Any, decoder: Arrays, images: jax.Array, eps: jax.Array) -> jax.Array:
        return self.elbo(self.encode(weights, images), images, decoder, eps)

    # Without the options that compile quickly: this runs long, and a quarter faster.
    @partial(jax.jit, static_argnames=("self", "batch"))
    def epochs(
        self, weights: Any, state: Any, key: jax.Array, fixed: Any, images: jax.Array, rate: Any, batch: int, count: int
    ) -> tuple[Any, Any]:
        """Up to LOOK epochs of Adam, each in a new order of the images; of the decoder too, where none is ``fixed``."""
        optimiser, steps = optax.scale_by_adam(), len(images) // batch

        def loss(weights: Any, chosen: jax.Array, eps: jax.Array) -> jax.Array:
            decoder = weights["decoder"] if fixed is None else fixed
            return -self.elbo(self.encode(weights["encoder"], chosen), chosen, decoder, eps).mean()

        def step(carry: tuple[Any, Any], draw: tuple[jax.Array, jax.Array]) -> tuple[tuple[Any, Any], None]:
            (weights, state), (pick, key) = carry, draw
            eps = jax.random.normal(key, (1, batch, self.form.strata, self.latent), images.dtype)
            gradient = jax.grad(loss)(weights, images[pick], eps)
            update, state = optimiser.update(gradient, state)
            return (jax.tree.map(lambda weight, change: weight - rate * change, weights, update), state), None

        def epoch(number: int, carry: tuple[Any, Any]) -> tuple[Any, Any]:
            order, noise = jax.random.split(keys[number])
            picks = jax.random.permutation(order, len(images))[: steps * batch].reshape(steps, batch)
            return jax.lax.scan(step, carry, (picks, jax.random.split(noise, steps)))[0]

        keys = jax.random.split(key, encoder.LOOK)  # one program for any count
        return jax.lax.fori_loop(0, count, epoch, (weights, state))

    @partial(jax.jit, static_argnames=("self", "draws"), compiler_options=QUICK)
    def climb(
        self, rows: jax.Array, key: jax.Array, decoder: Arrays, images: jax.Array, rates: jax.Array, draws: int
    ) -> jax.Array:
        optimiser, shape = optax.scale_by_adam(), (draws // 2, len(rows), self.form.strata, self.latent)

        def loss(rows: jax.Array, eps: jax.Array) -> jax.Array:
            return -self.elbo(rows, images, decoder, eps).mean(0).sum()

        def step(carry: tuple[Any, Any], at: tuple[jax.Array, jax.Array]) -> tuple[tuple[Any, Any], None]:
            (rows, state), (rate, key) = carry, at
            half = jax.random.normal(key, shape, rows.dtype)
            gradient = jax.grad(loss)(rows, jnp.concatenate([half, -half]))
            update, state = optimiser.update(gradient, state)
            return (rows - rate * update, state), None

        keys = jax.random.split(key, len(rates))
        return jax.lax.scan(step, (rows, optimiser.init(rows)), (rates, keys))[0][0]

    # What crosses the wall

    def trainer(self, weights: Mapping[str, Weights], training: Training, seed: int) -> Trainer:
        return Trainer(self, weights, training, seed)

    def rows(self, encoder: Weights, images: np.ndarray) -> np.ndarray:
        return np.asarray(self.encoded(single(encoder), single(images)), dtype=float)

    def best(self, rows: np.ndarray, training: Training, rates: np.ndarray, draws: int, seed: int) -> np.ndarray:
        start, decoder, test = single(rows), single(known_decoder(training)), single(training.test)
        return np.asarray(self.climb(start, jax.random.key(seed), decoder, test, single(rates), draws), dtype=float)

    def weigh(self, rows: np.ndarray, images: np.ndarray, decoder: Weights, eps: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(np.asarray(part) for part in self.weighed(rows, images, dict(decoder), eps))


class Trainer(encoder.Trainer):
    def __init__(self, networks: Networks, weights: Mapping[str, Weights], training: Training, seed: int) -> None:
        self.networks, self.now, self.batch = networks, single(dict(weights)), training.batch
        self.fixed, self.images = single(training.decoder), single(training.train)
        self.state, self.key = optax.scale_by_adam().init(self.now), jax.random.key(seed)

    def epochs(self, count: int, rate: float) -> None:
        for begin in range(0, count, encoder.LOOK):
            self.key, key = jax.random.split(self.key)
            moments = self.state, key, self.fixed, self.images, single(rate)
            self.now, self.state = self.networks.epochs(
                self.now, *moments, self.batch, min(encoder.LOOK, count - begin)
            )
        jax.block_until_ready(self.now)

    def elbo(self, images: np.ndarray, eps: np.ndarray) -> np.ndarray:
        decoder = self.now["decoder"] if self.fixed is None else self.fixed
        return np.asarray(self.networks.elbos(self.now["encoder"], decoder, single(images), single(eps)), dtype=float)

    def weights(self) -> dict[str, Weights]:
        return jax.tree.map(lambda part: np.asarray(part, dtype=float), self.now)


def single(tree: Any) -> Any:
    """The same in float32, in which networks are trained."""
    return jax.tree.map(lambda part: jnp.asarray(part, jnp.float32), tree)


networks = lru_cache(maxsize=16)(Networks)
