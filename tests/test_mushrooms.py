"""The mushrooms' agents: the linear one against its closed form, the networks' parts, what regret counts."""

from __future__ import annotations

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.experiments import mushroom_agents as agents
from tests.experiments import mushrooms
from tests.experiments.mushroom_agents import EVERY, HIDDEN, NOISE, PRIOR, WEIGHT, Memory
from tests.experiments.mushrooms import Mushrooms

pytestmark = pytest.mark.usefixtures("quickly_compiled")

ERRORS = 4


@pytest.fixture(autouse=True)
def double(monkeypatch):
    """float64 where a test needs it, and as it was afterwards."""
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


def a_memory(rng: np.random.Generator, rows: int, count: int) -> Memory:
    rewards = rng.normal(size=count)
    parts = (rng.integers(0, rows, count), rng.random(count) < 0.5, rewards)
    return Memory(*map(jnp.asarray, parts), jnp.asarray(count))


def small(rng: np.random.Generator, rows: int = 40, columns: int = 6) -> Mushrooms:
    return Mushrooms((rng.random((rows, columns)) < 0.5).astype(np.float32), rng.random(rows) < 0.5)


def test_the_linear_agents_posterior_is_the_closed_form() -> None:
    rng = np.random.default_rng(0)
    data, agent = small(rng), agents.linear(6)
    memory, state = a_memory(rng, 40, 5 * EVERY), agent.start(None)
    for count in range(EVERY, 5 * EVERY + 1, EVERY):
        state = agent.learn(state, None, memory._replace(count=jnp.asarray(count)), jnp.asarray(data.inputs))
    for action in (0, 1):
        seen = np.asarray(memory.eaten) == action
        x, y = data.inputs[np.asarray(memory.rows)[seen]].astype(float), np.asarray(memory.rewards)[seen]
        precision = x.T @ x / NOISE**2 + np.eye(6) / PRIOR**2
        np.testing.assert_allclose(state[1][action], np.linalg.inv(precision), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(state[0][action], np.linalg.solve(precision, x.T @ y / NOISE**2), atol=1e-9)


@pytest.mark.parametrize("ratio", [1.0, 0.5])
def test_the_linear_agent_eats_as_often_as_its_draws_say(ratio) -> None:
    rng, count = np.random.default_rng(1), 20_000
    mean, root = rng.normal(size=(2, 3)), 0.5 * rng.normal(size=(2, 3, 3))
    covariance, x = root @ root.swapaxes(1, 2), np.array([1.0, 0.0, 1.0])
    agent = agents.linear(3, ratio)
    eaten = agent.choose((jnp.asarray(mean), jnp.asarray(covariance)), jax.random.key(2), jnp.tile(x, (count, 1)))
    draws = [m + ratio * rng.normal(size=(count, 3)) @ r.T for m, r in zip(mean, root, strict=True)]
    share = (draws[1] @ x > draws[0] @ x).mean()
    assert float(eaten.mean()) == pytest.approx(share, abs=ERRORS * (0.5 / count) ** 0.5)


def test_the_last_layers_precision_is_that_of_its_units() -> None:
    """Recomputed at the start of a chunk from the entries that are filled."""
    rng = np.random.default_rng(2)
    data, agent = small(rng), agents.last_layer(6)
    memory = a_memory(rng, 40, 12)._replace(count=jnp.asarray(8))
    parameters, _, precision = agent.refresh(agent.start(jax.random.key(0)), memory, jnp.asarray(data.inputs))
    action = np.eye(2)[np.asarray(memory.eaten[:8]).astype(int)]
    z = np.concatenate([data.inputs[np.asarray(memory.rows[:8])], action], axis=1)
    h = np.maximum(z @ np.asarray(parameters["w"]) + np.asarray(parameters["b"]), 0)
    h = np.concatenate([h, np.ones((8, 1))], axis=1)
    np.testing.assert_allclose(precision, h.T @ h + np.eye(HIDDEN + 1) / WEIGHT**2, rtol=1e-5, atol=1e-5)


def test_the_elbos_noise_on_units_is_that_of_weights() -> None:
    """The expected loss by draws of the units, as it is trained, and by draws of the weights, as decisions are made."""
    rng, count = np.random.default_rng(3), 1000
    mean = {name: np.asarray(part) for name, part in agents.weights(jax.random.key(0), 4).items()}
    log_sd = {name: np.full_like(part, -1.5) for name, part in mean.items()}
    z, y = (rng.random((3, 6)) < 0.5).astype(np.float32), rng.normal(size=3).astype(np.float32)
    parameters, keys = {"mean": mean, "log_sd": log_sd}, jax.random.split(jax.random.key(1), count)
    losses = jax.vmap(lambda key: agents.elbo_loss(parameters, key, z, y, jnp.inf))(keys)
    others = []
    for _ in range(count):
        p = {name: part + np.exp(-1.5) * rng.normal(size=part.shape) for name, part in mean.items()}
        fitted = np.maximum(z @ p["w"] + p["b"], 0) @ p["v"] + p["c"]
        others.append(((fitted - y) ** 2).mean() / 2)
    error = np.hypot(np.std(losses), np.std(others)) / count**0.5
    assert float(losses.mean()) == pytest.approx(np.mean(others), abs=ERRORS * error)


def test_the_elbos_complexity_is_the_kl() -> None:
    """But for a constant: by how much it changes with the sds, in closed form."""
    mean = {name: 0 * part for name, part in agents.weights(jax.random.key(0), 4).items()}
    z, y, values = jnp.zeros((2, 6)), jnp.zeros(2), []
    for log_sd in (-40.0, -20.0):  # so narrow that the fit is 0
        sds = {name: jnp.full_like(part, log_sd) for name, part in mean.items()}
        values.append(float(agents.elbo_loss({"mean": mean, "log_sd": sds}, jax.random.key(0), z, y, 1.0)))
    size = sum(part.size for part in mean.values())
    assert values[0] - values[1] == pytest.approx(20.0 * size, rel=1e-5)


def test_regret_is_what_the_oracle_pays_more() -> None:
    """The oracle has none; who never eats loses 5 an edible mushroom; where an attribute tells, it is soon learnt."""
    data = small(np.random.default_rng(4))
    share = data.edible.mean()
    known = Mushrooms(np.stack([data.edible, ~data.edible], axis=1).astype(np.float32), data.edible)
    oracle = agents.Agent(lambda key: (), lambda state, key, x: x[:, 0] > 0.5)
    assert mushrooms.play(oracle, known, 1000, 0).sum() == 0
    abstaining = agents.Agent(lambda key: (), lambda state, key, x: jnp.zeros(len(x), bool))
    error = 5 * (1000 * share * (1 - share)) ** 0.5
    assert mushrooms.play(abstaining, known, 1000, 0).sum() == pytest.approx(5000 * share, abs=ERRORS * error)
    regret = mushrooms.play(agents.linear(2), known, 1000, 0)
    assert regret[-50:].sum() < 0.05 * 200 * (2.5 * share + 7.5 * (1 - share))


def test_a_run_goes_on_from_what_stands_there(tmp_path, monkeypatch, capsys) -> None:
    path = tmp_path / "some.csv"
    path.write_text("class,a,b\n" + "e,x,y\np,z,y\n" * 10, encoding="utf-8")
    words = ["mushrooms", str(path), "--steps", "1000", "--seeds", "2", "--policies", "random"]
    monkeypatch.setattr(sys, "argv", [*words, "--out", str(tmp_path / "out")])
    mushrooms.main()
    first = capsys.readouterr().out
    monkeypatch.setattr(mushrooms, "play", None)
    mushrooms.main()
    assert capsys.readouterr().out == first
    assert first.count("\n") == 3 and "| random |" in first


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--steps", "1500"], "give --steps as a multiple of 1,000"),
        (["--policies", "linear,best"], "no policy is named best: choose from linear"),
        ([], "has no column class of e and p first"),
    ],
)
def test_bad_input_is_refused_in_a_line(words, message, tmp_path, monkeypatch, capsys) -> None:
    path = tmp_path / "some.csv"
    path.write_text("kind,a\nx,y\n", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["mushrooms", str(path), *words])
    with pytest.raises(SystemExit) as left:
        mushrooms.main()
    assert left.value.code == 2 and message in capsys.readouterr().err
