"""Guides with an encoder in NumPyro: training by minibatches, the best members image by image, weighed draws."""

from __future__ import annotations

from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import optax
from numpyro import handlers

import guides
from compare import registry
from compare.fit.amortized import amortised
from compare.fit.svi.base_numpyro import from_base
from compare.fit.svi.objective_numpyro import QUICK, unvalidated

__all__ = ["Library", "draw_many", "fit"]


def reparametrised(q, eps):
    """Draws from one member of a family, as smooth functions of its parameters: z, log q(z) and the draws' weights.

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
            z, kept = transform.call_with_intermediates(before)
            log_q = log_q - transform.log_abs_det_jacobian(before, z, kept)
        return z[None], log_q[None], jnp.ones(1)
    z = from_base(q, eps[0])
    return z[None], q.log_prob(z)[None], jnp.ones(1)


class Library:
    """What NumPyro computes for one family on one model; compiled once for the shapes it meets."""

    def __init__(self, model, family, latent):
        self.twin, self.latent = registry.twin(model, "numpyro"), latent
        self.member = partial(guides.load(family, "numpyro").member, latent=latent)
        # Without the options that compile quickly: this runs long, and a quarter faster.
        self.epochs = jax.jit(self._epochs, static_argnames=("strata", "batch", "epochs"))
        self.elbos = jax.jit(self._elbos, compiler_options=QUICK)
        self.climb = jax.jit(self._climb, static_argnames=("strata", "draws"), compiler_options=QUICK)
        self.terms = jax.jit(self._terms, compiler_options=QUICK)
        self.encode = jax.jit(self._encode, compiler_options=QUICK)

    @unvalidated
    def densities(self, images, z, decoder):
        """log p(z) and log p(image | z) of each image, shapes (images,), z of shape (images, latent)."""
        trace = handlers.trace(handlers.substitute(self.twin.vae, {"z": z})).get_trace(images, decoder)
        found = {name: one["fn"].log_prob(one["value"]) for name, one in trace.items() if one["type"] == "sample"}
        return found.pop("z"), sum(found.values())

    @unvalidated
    def draws(self, rows, images, decoder, eps):
        """Draws of every image's q: z, log p(z), log p(image | z), log q(z) and weights.

        ``eps`` has shape (draws, images, strata, latent); the results (draws, images, strata, ...).
        """
        each = jax.vmap(lambda row, one: reparametrised(self.member(row), one))
        z, log_q, weights = jax.vmap(each, in_axes=(None, 0))(rows, eps)
        flat = jnp.moveaxis(z, 2, 1)  # the model's plate is that of the images
        prior, likelihood = jax.vmap(jax.vmap(lambda one: self.densities(images, one, decoder)))(flat)
        return z, jnp.moveaxis(prior, 1, 2), jnp.moveaxis(likelihood, 1, 2), log_q, weights

    def _elbo(self, rows, images, decoder, eps):
        """Each draw's contribution to each image's ELBO, shape (draws, images)."""
        _, prior, likelihood, log_q, weights = self.draws(rows, images, decoder, eps)
        return (weights * (prior + likelihood - log_q)).sum(-1)

    def _encode(self, encoder, images):
        return jax.vmap(self.twin.Encoder(**encoder))(images)

    def _elbos(self, encoder, decoder, images, eps):
        return self._elbo(self._encode(encoder, images), images, self.twin.Decoder(**decoder), eps)

    def _epochs(self, weights, state, key, fixed, images, rate, strata, batch, epochs):
        """So many epochs of Adam, each over the images in a new order; the decoder too, where none is ``fixed``."""
        optimiser, steps = optax.scale_by_adam(), len(images) // batch

        def loss(weights, chosen, eps):
            decoder = self.twin.Decoder(**(weights["decoder"] if fixed is None else fixed))
            return -self._elbo(self._encode(weights["encoder"], chosen), chosen, decoder, eps).mean()

        def step(carry, one):
            weights, state = carry
            pick, key = one
            chosen = images[pick]
            eps = jax.random.normal(key, (1, batch, strata, self.latent), images.dtype)
            gradient = jax.grad(loss)(weights, chosen, eps)
            update, state = optimiser.update(gradient, state)
            return (jax.tree.map(lambda weight, change: weight - rate * change, weights, update), state), None

        def epoch(carry, key):
            order, noise = jax.random.split(key)
            picks = jax.random.permutation(order, len(images))[: steps * batch].reshape(steps, batch)
            return jax.lax.scan(step, carry, (picks, jax.random.split(noise, steps)))[0], None

        return jax.lax.scan(epoch, (weights, state), jax.random.split(key, epochs))[0]

    def _climb(self, rows, key, decoder, images, rates, strata, draws):
        """Steps of Adam on each image's own row, with the learning ``rates``, shape (steps,)."""
        decoder, optimiser = self.twin.Decoder(**decoder), optax.scale_by_adam()

        def loss(rows, eps):
            return -self._elbo(rows, images, decoder, eps).mean(0).sum()

        def step(carry, one):
            rows, state = carry
            rate, key = one
            half = jax.random.normal(key, (draws // 2, len(rows), strata, self.latent), rows.dtype)
            gradient = jax.grad(loss)(rows, jnp.concatenate([half, -half]))
            update, state = optimiser.update(gradient, state)
            return (rows - rate * update, state), None

        keys = jax.random.split(key, len(rates))
        return jax.lax.scan(step, (rows, optimiser.init(rows)), (rates, keys))[0][0]

    def _terms(self, rows, images, decoder, eps):
        return self.draws(rows, images, self.twin.Decoder(**decoder), eps)

    # What crosses the wall, see `compare.fit.amortized.encoder.Library`.

    def trainer(self, weights, fixed, images, strata, batch, seed):
        return Trainer(self, weights, fixed, images, strata, batch, seed)

    def rows(self, encoder, images):
        return np.asarray(self.encode(single(encoder), single(images)), dtype=float)

    def best(self, rows, decoder, images, rates, strata, draws, seed):
        found = self.climb(
            single(rows), jax.random.key(seed), single(decoder), single(images), single(rates), strata, draws
        )
        return np.asarray(found, dtype=float)

    def weigh(self, rows, images, decoder, eps):
        return tuple(np.asarray(part) for part in self.terms(rows, images, dict(decoder), eps))


class Trainer:
    """An encoder on the way, see `compare.fit.amortized.encoder.Trainer`."""

    def __init__(self, library, weights, fixed, images, strata, batch, seed):
        self.library, self.weights_now, self.strata, self.batch = library, single(weights), strata, batch
        self.fixed, self.images = single(fixed), single(images)
        self.state, self.key = optax.scale_by_adam().init(self.weights_now), jax.random.key(seed)

    def epochs(self, count, rate):
        self.key, key = jax.random.split(self.key)
        self.weights_now, self.state = self.library.epochs(
            self.weights_now, self.state, key, self.fixed, self.images, single(rate), self.strata, self.batch, count
        )
        jax.block_until_ready(self.weights_now)

    def elbo(self, images, eps):
        decoder = self.weights_now["decoder"] if self.fixed is None else self.fixed
        return np.asarray(
            self.library.elbos(self.weights_now["encoder"], decoder, single(images), single(eps)), dtype=float
        )

    def weights(self):
        return jax.tree.map(lambda part: np.asarray(part, dtype=float), self.weights_now)


def single(tree):
    """The same in float32, in which networks are trained."""
    return jax.tree.map(lambda part: jnp.asarray(part, jnp.float32), tree)


@lru_cache(maxsize=16)
def library(model, family, latent):
    return Library(model, family, latent)


fit = partial(amortised.fit, library)
draw_many = partial(amortised.draw_many, library)
