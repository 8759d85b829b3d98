"""Thompson sampling on the mushrooms of Blundell et al. 2015: what posteriors of a reward's model cost to act on.

python -m tests.experiments.mushrooms FILE [--steps 50000] [--seeds 5] [--policies linear,...] [--out out/mushrooms]

FILE is the UCI data set as CSV with a header: ``class`` (``e`` or ``p``), then 22 attributes, each a letter. At every
step a mushroom is drawn at random and eaten or not. To eat an edible one pays 5; a poisonous one 5 or -35, each with
probability 1/2, so -15 in expectation; not to eat pays 0. Regret is what the oracle, who eats the edible ones, earns
in expectation less what is earned in expectation. Agents learn after every fourth step, from all that they have seen.

The agents are in `tests.experiments.mushroom_agents`. What a run has finished, a policy and a seed at a time, stands in
the output's folder, beside a picture, and the next one goes on from there.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from compare.atomic import atomic_file
from models.plotting import CLASS_COLORS, new_figure, save, style
from tests.experiments.mushroom_agents import EVERY, POLICIES, Agent, Memory

EDIBLE, POISONED = 5.0, -35.0
CHUNK = 1000


class Mushrooms(NamedTuple):
    """One-hot attributes, shape (rows, columns), and whether each is edible, shape (rows,)."""

    inputs: np.ndarray
    edible: np.ndarray


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


def draw(runs: dict[str, np.ndarray], path: Path) -> None:
    """Draw each policy's cumulative regret, shape (seeds, chunks), with bands of one standard error."""
    with style():
        figure = new_figure(8.6, 4.8)
        axes = figure.subplots()
        for (title, regret), color in zip(runs.items(), CLASS_COLORS, strict=False):
            mean, error = regret.mean(0), regret.std(0, ddof=1) / len(regret) ** 0.5
            steps = CHUNK * np.arange(1, len(mean) + 1)
            axes.plot(steps, mean, color=color, ls="-" if "linear" in title else "--", lw=1.5, label=title)
            axes.fill_between(steps, mean - error, mean + error, color=color, alpha=0.2, lw=0)
        axes.set(yscale="log", xlabel="steps", ylabel="cumulative regret", title="mushrooms")
        figure.legend(loc="outside right center", fontsize=8)
        save(figure, path)


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
    every = {}
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
        every[title] = np.array([run["regret"] for run in runs])
        at = [[run["regret"][steps // CHUNK - 1] for run in runs] for steps in (early, options.steps)]
        seconds = np.mean([run["seconds"] for run in runs])
        print(f"| {title} | {about(at[0])} | {about(at[1])} | {seconds:.0f} |", flush=True)
    draw(every, options.out / "mushrooms.png")


if __name__ == "__main__":
    main()
