"""Agents that eat mushrooms or leave them: a linear one whose posterior is exact, and networks.

All model the reward given the one-hot attributes and the action, with Gaussian noise of sd 10. ``linear`` has weights
for each action under independent Gaussian priors of sd 10. The networks have one hidden layer of 100 rectified units.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

EVERY = 4
NOISE, PRIOR = 10.0, 10.0
HIDDEN, WEIGHT, EPSILON, DROPOUT = 100, 0.3, 0.05, 0.1
BATCH, BATCHES, RATE = 64, 4, 1e-3


class Memory(NamedTuple):
    """What an agent has seen, of which ``count`` entries are filled: rows of the data, actions, and rewards."""

    rows: jax.Array
    eaten: jax.Array
    rewards: jax.Array
    count: jax.Array


class Agent(NamedTuple):
    """A policy.

    Attributes:
        start: ``start(key)``: the state without data.
        choose: ``choose(state, key, inputs)``: whether each mushroom is eaten, shape (n,).
        learn: ``learn(state, key, memory, inputs)``: the state after `EVERY` more entries.
        refresh: ``refresh(state, memory, inputs)``: the state at the start of every `CHUNK` of steps.
    """

    start: Callable[..., Any]
    choose: Callable[..., jax.Array]
    learn: Callable[..., Any] = lambda state, key, memory, inputs: state
    refresh: Callable[..., Any] = lambda state, memory, inputs: state


def linear(columns: int, ratio: float = 1.0) -> Agent:
    """Bayesian linear regression of each action's reward; draws have ``ratio`` times the posterior's sd."""

    def start(key):
        return jnp.zeros((2, columns)), jnp.tile(PRIOR**2 * jnp.eye(columns), (2, 1, 1))

    def choose(state, key, x):
        mean, covariance = state
        sd = jnp.sqrt(jnp.einsum("ni,aij,nj->na", x, covariance, x))
        value = x @ mean.T + ratio * sd * jax.random.normal(key, (len(x), 2))
        return value[:, 1] > value[:, 0]

    def learn(state, key, memory, inputs):
        def observe(number, state):
            mean, covariance = state
            entry = memory.count - EVERY + number
            action, x = memory.eaten[entry].astype(int), inputs[memory.rows[entry]].astype(float)
            reach = covariance[action] @ x
            gain = reach / (NOISE**2 + x @ reach)
            mean = mean.at[action].add(gain * (memory.rewards[entry] - x @ mean[action]))
            return mean, covariance.at[action].add(-jnp.outer(gain, reach))

        return jax.lax.fori_loop(0, EVERY, observe, state)

    return Agent(start, choose, learn)


def with_action(x: jax.Array, eaten: jax.Array) -> jax.Array:
    """The network's inputs: the attributes and the one-hot action."""
    action = jnp.stack([1.0 - eaten, 1.0 * eaten], axis=-1).astype(x.dtype)
    return jnp.concatenate([x, jnp.broadcast_to(action, (*x.shape[:-1], 2))], axis=-1)


def both(x: jax.Array) -> jax.Array:
    """The inputs of not eating and of eating, shape (2, n, columns + 2)."""
    return jnp.stack([with_action(x, jnp.full(len(x), flag)) for flag in (0.0, 1.0)])


def weights(key: jax.Array, columns: int) -> dict[str, jax.Array]:
    """Where networks start: weights with the sd that keeps the units' scale."""
    first, last = jax.random.split(key)
    normal = partial(jax.random.normal, dtype=jnp.float32)
    return {
        "w": normal(first, (columns + 2, HIDDEN)) * 0.2, "b": jnp.zeros(HIDDEN, jnp.float32),
        "v": normal(last, (HIDDEN,)) * 0.1, "c": jnp.zeros((), jnp.float32),
    }  # fmt: skip


def units(p: dict[str, jax.Array], z: jax.Array) -> jax.Array:
    return jax.nn.relu(z @ p["w"] + p["b"])


def reward(p: dict[str, jax.Array], z: jax.Array) -> jax.Array:
    """The expected reward in units of the noise's sd."""
    return units(p, z) @ p["v"] + p["c"]


def descend(loss: Callable[..., jax.Array]) -> Callable[..., Any]:
    """An agent's ``learn``: `BATCHES` steps of Adam on ``loss(parameters, key, z, y, count)``."""
    adam = optax.adam(RATE)

    def learn(state, key, memory, inputs):
        def step(state, key):
            parameters, moments, *others = state
            chosen, noise = jax.random.split(key)
            entries = jax.random.randint(chosen, (BATCH,), 0, memory.count)
            z = with_action(inputs[memory.rows[entries]], memory.eaten[entries])
            y = (memory.rewards[entries] / NOISE).astype(jnp.float32)
            slope = jax.grad(loss)(parameters, noise, z, y, memory.count.astype(jnp.float32))
            change, moments = adam.update(slope, moments)
            return (optax.apply_updates(parameters, change), moments, *others), None

        return jax.lax.scan(step, state, jax.random.split(key, BATCHES))[0]

    return learn


def penalised(p, key, z, y, count, rate: float = 0.0) -> jax.Array:
    """-log joint per observation of a network, whose units are dropped at this rate."""
    keep = jax.random.bernoulli(key, 1 - rate, (len(z), HIDDEN)) / (1 - rate) if rate else 1.0
    fitted = (units(p, z) * keep) @ p["v"] + p["c"]
    penalty = sum(jnp.sum(part**2) for part in p.values()) / (2 * WEIGHT**2)
    return jnp.mean((fitted - y) ** 2) / 2 + penalty / count


def greedy(columns: int, epsilon: float = 0.0, rate: float = 0.0) -> Agent:
    """A network at the mode: the larger reward; at random with probability ``epsilon``, units dropped at ``rate``."""

    def start(key):
        parameters = weights(key, columns)
        return parameters, optax.adam(RATE).init(parameters)

    def choose(state, key, x):
        p, keys = state[0], jax.random.split(key, 3)
        keep = jax.random.bernoulli(keys[2], 1 - rate, (len(x), HIDDEN)) / (1 - rate) if rate else 1.0
        value = (units(p, both(x.astype(jnp.float32))) * keep) @ p["v"]
        explore = jax.random.bernoulli(keys[0], epsilon, (len(x),))
        return jnp.where(explore, jax.random.bernoulli(keys[1], 0.5, (len(x),)), value[1] > value[0])

    return Agent(start, choose, descend(partial(penalised, rate=rate)))


def elbo_loss(parameters, key, z, y, count) -> jax.Array:
    """-ELBO per observation, but for a constant; the noise is on the units (Kingma, Salimans & Welling 2015)."""
    mean, log_sd = parameters["mean"], parameters["log_sd"]
    variance = jax.tree.map(lambda part: jnp.exp(2 * part), log_sd)
    first, last = jax.random.split(key)
    inside = z @ mean["w"] + mean["b"]
    inside += jnp.sqrt(z**2 @ variance["w"] + variance["b"]) * jax.random.normal(first, inside.shape, jnp.float32)
    h = jax.nn.relu(inside)
    fitted = h @ mean["v"] + mean["c"]
    fitted += jnp.sqrt(h**2 @ variance["v"] + variance["c"]) * jax.random.normal(last, fitted.shape, jnp.float32)
    complexity = sum(
        jnp.sum((variance[name] + mean[name] ** 2) / (2 * WEIGHT**2) - log_sd[name]) for name in mean
    )  # KL to the prior, but for a constant
    return jnp.mean((fitted - y) ** 2) / 2 + complexity / count


def mean_field(columns: int) -> Agent:
    """Bayes by backprop: a Gaussian on every weight; a draw decides."""

    def start(key):
        mean = weights(key, columns)
        parameters = {"mean": mean, "log_sd": jax.tree.map(lambda part: jnp.full_like(part, -3.0), mean)}
        return parameters, optax.adam(RATE).init(parameters)

    def choose(state, key, x):
        mean, log_sd = state[0]["mean"], state[0]["log_sd"]

        def values(key, z):
            keys = dict(zip(mean, jax.random.split(key, len(mean)), strict=True))
            draw = {
                name: mean[name] + jnp.exp(log_sd[name]) * jax.random.normal(keys[name], part.shape, jnp.float32)
                for name, part in mean.items()
            }
            return reward(draw, z)

        value = jax.vmap(values)(jax.random.split(key, len(x)), both(x.astype(jnp.float32)).swapaxes(0, 1))
        return value[:, 1] > value[:, 0]

    return Agent(start, choose, descend(elbo_loss))


def last_layer(columns: int) -> Agent:
    """A network at the mode, and Laplace's Gaussian on its last layer: Bayesian linear regression on its units.

    The precision is that of all data under the units of the start of the chunk; later entries add to it as they come.
    """
    network, prior = greedy(columns), jnp.eye(HIDDEN + 1) / WEIGHT**2

    def features(p, z):
        h = units(p, z).astype(float)
        return jnp.concatenate([h, jnp.ones((*h.shape[:-1], 1))], axis=-1)

    def start(key):
        return *network.start(key), prior

    def choose(state, key, x):
        p, _, precision = state
        h, values = features(p, both(x.astype(jnp.float32))), jnp.append(state[0]["v"], state[0]["c"])
        factor = jnp.linalg.cholesky(precision)
        noise = jax.scipy.linalg.solve_triangular(factor.T, jax.random.normal(key, (HIDDEN + 1, len(x))), lower=False)
        value = jnp.einsum("ank,kn->an", h, values[:, None] + noise)
        return value[1] > value[0]

    def learn(state, key, memory, inputs):
        parameters, moments, precision = network.learn(state, key, memory, inputs)
        entries = memory.count - EVERY + jnp.arange(EVERY)
        h = features(parameters, with_action(inputs[memory.rows[entries]], memory.eaten[entries]))
        return parameters, moments, precision + h.T @ h

    def refresh(state, memory, inputs):
        h = features(state[0], with_action(inputs[memory.rows], memory.eaten))
        h = h * (jnp.arange(len(h)) < memory.count)[:, None]
        return *state[:2], prior + h.T @ h

    return Agent(start, choose, learn, refresh)


def uniform(columns: int) -> Agent:
    """Eats every second mushroom, whatever was seen."""
    return Agent(lambda key: (), lambda state, key, x: jax.random.bernoulli(key, 0.5, (len(x),)))


POLICIES: dict[str, tuple[str, Callable[[int], Agent]]] = {
    "linear": ("linear, exact posterior", linear),
    "linear_half": ("linear, sd ratio 0.5", partial(linear, ratio=0.5)),
    "linear_greedy": ("linear, greedy", partial(linear, ratio=0.0)),
    "mean_field": ("network, mean field", mean_field),
    "last_layer": ("network, Laplace on the last layer", last_layer),
    "dropout": (f"network, dropout of {DROPOUT:.0%}", partial(greedy, rate=DROPOUT)),
    "epsilon_greedy": (f"network, epsilon-greedy, {EPSILON:g}", partial(greedy, epsilon=EPSILON)),
    "greedy": ("network, greedy", greedy),
    "random": ("random", uniform),
}
