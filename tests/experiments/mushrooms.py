"""Thompson sampling on the mushrooms of Blundell et al. 2015: what posteriors of a reward's model cost to act on.

python -m tests.experiments.mushrooms FILE [--steps 50000] [--seeds 5] [--policies linear,...] [--out out/mushrooms]

FILE is the UCI data set as CSV with a header: ``class`` (``e`` or ``p``), then 22 attributes, each a letter. At every
step a mushroom is drawn at random and eaten or not. To eat an edible one pays 5; a poisonous one 5 or -35, each with
probability 1/2, so -15 in expectation; not to eat pays 0. Regret is what the oracle, who eats the edible ones, earns
in expectation less what is earned in expectation. Agents learn after every fourth step, from all that they have seen.

All model the reward given the one-hot attributes and the action, with Gaussian noise of sd 10. ``linear`` has an exact
posterior: weights for each action under independent Gaussian priors, updated in closed form. The networks have one
hidden layer of 100 rectified units. What a run has finished, a policy and a seed at a time, stands in the output's
folder, and the next one goes on from there.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from compare.atomic import atomic_file

EDIBLE, POISONED, EVERY = 5.0, -35.0, 4
NOISE, PRIOR = 10.0, 10.0
HIDDEN, WEIGHT, EPSILON, DROPOUT = 100, 0.3, 0.05, 0.1
BATCH, BATCHES, RATE = 64, 4, 1e-3
CHUNK = 1000


class Mushrooms(NamedTuple):
    """One-hot attributes, shape (rows, columns), and whether each is edible, shape (rows,)."""

    inputs: np.ndarray
    edible: np.ndarray


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


def read(path: Path) -> Mushrooms:
    """The mushrooms of a file, every attribute's letters as columns of 0 and 1.

    Raises:
        ValueError: it is another file.
    """
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    if header[:1] != ["class"] or {row[0] for row in rows} != {"e", "p"}:
        raise ValueError(f"{path} has no column class of e and p first: give the UCI mushrooms as CSV with a header")
    rows = np.array(rows)
    columns = [column[:, None] == np.unique(column) for column in rows[:, 1:].T]
    return Mushrooms(np.concatenate(columns, axis=1).astype(np.float32), rows[:, 0] == "e")


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


def play(agent: Agent, data: Mushrooms, steps: int, seed: int) -> np.ndarray:
    """The expected regret of every round of `EVERY` steps, shape (steps / EVERY,)."""
    inputs, edible = jnp.asarray(data.inputs), jnp.asarray(data.edible)

    def turn(carry, key):
        state, memory = carry
        drawn, acting, paying, learning = jax.random.split(key, 4)
        rows = jax.random.randint(drawn, (EVERY,), 0, len(edible))
        eaten = agent.choose(state, acting, inputs[rows].astype(float))
        lucky = edible[rows] | jax.random.bernoulli(paying, 0.5, (EVERY,))
        pays = jnp.where(eaten, jnp.where(lucky, EDIBLE, POISONED), 0.0)
        new = (rows, eaten, pays)
        places = memory.count + jnp.arange(EVERY)
        parts = [part.at[places].set(value) for part, value in zip(memory[:3], new, strict=True)]
        memory = Memory(*parts, memory.count + EVERY)
        mean = jnp.where(edible[rows], EDIBLE, (EDIBLE + POISONED) / 2)
        regret = jnp.sum(jnp.maximum(mean, 0.0) - jnp.where(eaten, mean, 0.0))
        return (agent.learn(state, learning, memory, inputs), memory), regret

    @jax.jit
    def chunk(state, memory, keys):
        return jax.lax.scan(turn, (agent.refresh(state, memory, inputs), memory), keys)

    first, *keys = jax.random.split(jax.random.key(seed), 1 + steps // CHUNK)
    state, regrets = agent.start(first), []
    empty = jnp.zeros(steps, int), jnp.zeros(steps, bool), jnp.zeros(steps)
    memory = Memory(*empty, jnp.zeros((), int))
    for key in keys:
        (state, memory), regret = chunk(state, memory, jax.random.split(key, CHUNK // EVERY))
        regrets.append(np.asarray(regret))
    return np.concatenate(regrets)


def about(values: list[float]) -> str:
    """Mean ± standard error over the seeds."""
    return f"{np.mean(values):,.0f} ± {np.std(values, ddof=1) / len(values) ** 0.5:,.0f}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--steps", type=int, default=50_000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--policies", default=",".join(POLICIES))
    parser.add_argument("--out", type=Path, default=Path("out/mushrooms"))
    options = parser.parse_args()
    if options.steps < CHUNK or options.steps % CHUNK or options.seeds < 2:
        parser.error(f"give --steps as a multiple of {CHUNK:,}, and 2 or more --seeds")
    if unknown := set(options.policies.split(",")) - set(POLICIES):
        parser.error(f"no policy is named {', '.join(sorted(unknown))}: choose from {', '.join(POLICIES)}")
    try:
        data = read(options.file)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    jax.config.update("jax_enable_x64", True)
    options.out.mkdir(parents=True, exist_ok=True)
    early = max(options.steps // 10 // CHUNK, 1) * CHUNK
    print(f"| policy | regret after {early:,} steps | after {options.steps:,} | seconds a seed |")
    print("| --- | ---: | ---: | ---: |")
    for name in options.policies.split(","):
        title, build = POLICIES[name]
        runs = []
        for seed in range(options.seeds):
            stored = options.out / f"{name}-{options.steps}-{seed}.json"
            if not stored.exists():
                start = time.process_time()
                regret = play(build(data.inputs.shape[1]), data, options.steps, seed)
                total = regret.reshape(-1, CHUNK // EVERY).sum(1).cumsum()
                values = {"regret": total.tolist(), "seconds": time.process_time() - start}
                with atomic_file(stored) as path:
                    path.write_text(json.dumps(values), encoding="utf-8")
            runs.append(json.loads(stored.read_text(encoding="utf-8")))
        at = [[run["regret"][steps // CHUNK - 1] for run in runs] for steps in (early, options.steps)]
        seconds = np.mean([run["seconds"] for run in runs])
        print(f"| {title} | {about(at[0])} | {about(at[1])} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
