"""The experiment with Gal's UCI sets: gradients, masks, scores, the mean field's ELBO, and that it resumes."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from models.bnn import network
from tests.experiments import uci_networks, uci_posteriors, uci_sets
from tests.experiments.dropout_uci import Store, dropout_on, ensemble_on, parse_options


def some_split(seed: int = 1, rows: int = 9) -> uci_sets.Split:
    rng = np.random.default_rng(seed)
    return uci_sets.Split(*(3 + 2 * rng.standard_normal(shape) for shape in ((rows, 2), (rows,), (5, 2), (5,))))


@pytest.fixture
def folder(tmp_path):
    """A set of 40 rows in the files of Gal's repository: two splits, two rates and two precisions."""
    rng, parts = np.random.default_rng(0), {"index_features": [0, 1], "index_target": [2], "n_splits": [2]}
    parts |= {"dropout_rates": [0.01, 0.1], "tau_values": [0.2, 2.0]}
    inputs = rng.standard_normal((40, 2))
    for number in range(2):
        parts[f"index_test_{number}"], parts[f"index_train_{number}"] = np.split(rng.permutation(40), [7])
    for name, values in parts.items():
        np.savetxt(tmp_path / f"{name}.txt", values)
    np.savetxt(tmp_path / "data.txt", np.column_stack([inputs, inputs @ [1, 2] + 0.1 * rng.standard_normal(40)]))
    for name in ("index_features", "index_target", "n_splits", *(n for n in parts if n.startswith("index_t"))):
        np.savetxt(tmp_path / f"{name}.txt", parts[name], fmt="%d")
    return tmp_path


@pytest.mark.parametrize("dropped", [True, False])
def test_the_gradient_under_masks(dropped):
    """Against differences of the squared error with weight decay, in double precision."""
    rng, rates, taus = np.random.default_rng(0), np.array([0.25, 0.5]) * dropped, np.array([1e-3, 1e-4])
    x, y = rng.standard_normal((2, 6, 4)), rng.standard_normal((2, 6, 1))
    x[..., -1] = 1
    given = uci_networks.settings(rates, taus, 60, 3)
    mask_pair = uci_networks.masks_of(rng, x, given.level) if dropped else None
    shapes = (4, uci_networks.HIDDEN), (uci_networks.HIDDEN, 1), (1, 1)
    weights = uci_networks.Weights(*(rng.standard_normal((2, *shape)) for shape in shapes))

    def loss(weights):
        total = 0.0
        for number, (hidden, output, bias) in enumerate(zip(*weights, strict=True)):
            keep = 1 - rates[number]
            inputs, units = (part[number] for part in mask_pair) if dropped else (1, 1)
            inside = (x[number] * inputs)[:, :-1] @ hidden[:-1] / keep + hidden[-1]
            f = np.maximum(inside, 0) * units @ output / keep + bias
            reg = keep * 1e-4 / (2 * 60 * taus[number])
            total += np.mean((f - y[number]) ** 2) + reg * (np.sum(hidden[:-1] ** 2) + np.sum(output**2))
        return total

    slopes = uci_networks.gradient(weights, x, y, given, mask_pair)
    for number, slope in enumerate(slopes):
        for index in itertools.islice(np.ndindex(slope.shape), 0, None, 23):
            ends = []
            for shift in (1e-6, -1e-6):
                moved = uci_networks.Weights(*(part.copy() for part in weights))
                moved[number][index] += shift
                ends.append(loss(moved))
            assert slope[index] == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5, abs=1e-5)


def test_masks_drop_at_their_rates():
    level = uci_networks.settings(np.array([0.005, 0.1]), np.ones(2), 10, 3).level
    mask_pair = uci_networks.masks(np.random.default_rng(0), (2, 1000, 501), level)
    for part, rate in zip(mask_pair, (0.005, 0.1), strict=True):
        assert abs(part.mean() - (1 - rate)) < 4 * (rate / part.size) ** 0.5 + 2**-17
    inputs, _ = uci_networks.masks_of(np.random.default_rng(0), np.zeros((2, 500, 4)), level + np.uint16(30_000))
    assert inputs[..., -1].all() and not inputs[..., :-1].all()


def test_the_scores_with_next_to_nothing_dropped():
    """They are those of one Gaussian, in the target's own units."""
    rng, split = np.random.default_rng(1), some_split()
    units = uci_sets.scaled(split)
    weights = uci_networks.Weights(*(rng.standard_normal((1, *shape)) for shape in ((3, 50), (50, 1), (1, 1))))
    (log_likelihood,), (rmse,) = uci_networks.scores(weights, [units], [1e-9], [0.3], 4)
    hidden, output, bias = (part[0] for part in weights)
    inputs = (split.test_inputs - split.inputs.mean(0)) / split.inputs.std(0)
    f = (np.maximum(inputs @ hidden[:-1] + hidden[-1], 0) @ output + bias)[:, 0]
    f = split.targets.mean() + split.targets.std() * f
    assert log_likelihood == pytest.approx(stats.norm.logpdf(split.test_targets, f, 0.3**-0.5).mean(), rel=1e-5)
    assert rmse == pytest.approx(np.sqrt(np.mean((f - split.test_targets) ** 2)), rel=1e-5)


def test_the_moments_of_the_draws_under_masks():
    """Mean and variance of f in closed form where one row of inputs is 0, so that only the units' masks matter."""
    rng, rate, count = np.random.default_rng(2), 0.25, 40_000
    weights = uci_networks.Weights(*(rng.standard_normal((1, *shape)) for shape in ((3, 50), (50, 1), (1, 1))))
    f = uci_networks.values(weights, 0, np.zeros((1, 2)), rate, count, np.random.default_rng(3))[:, 0]
    terms = np.maximum(weights.hidden[0, -1], 0) * weights.output[0, :, 0]
    variance = rate / (1 - rate) * np.sum(terms**2)
    assert abs(f.mean() - terms.sum() - weights.bias[0, 0, 0]) < 4 * (variance / count) ** 0.5
    assert f.var() == pytest.approx(variance, rel=4 * (3 / count) ** 0.5)


def test_a_mixture_takes_a_precision_for_each_draw():
    units = uci_sets.scaled(some_split())
    f, tau = np.random.default_rng(0).standard_normal((3, 5)), np.array([[0.5], [1.0], [4.0]])
    densities = stats.norm.logpdf(units.split.test_targets * units.sd, f * units.sd, tau**-0.5)
    assert uci_sets.mixture(f, units, tau)[0] == pytest.approx(
        np.mean(special.logsumexp(densities, axis=0) - np.log(3))
    )


def test_rows_are_held_back_as_in_gals_code():
    split = some_split(rows=8)  # 0.8 * 8 = 6.4; round(0.8 * 9) and int(0.8 * 9) differ, too
    assert [len(uci_sets.validation(some_split(rows=rows)).targets) for rows in (8, 9)] == [6, 7]
    assert np.array_equal(uci_sets.validation(split).test_inputs, split.inputs[6:])


def test_training_goes_on_where_it_stopped(folder, tmp_path, monkeypatch):
    """A stored pair is not trained again; the best pair by log likelihood trains the final network."""
    store = Store(tmp_path / "store.json")
    first = dropout_on(folder, 30, store)
    assert list(store.rows) == ["0.01 0.2", "0.01 2", "0.1 0.2", "0.1 2", "test"]
    judged = [store.rows[name]["result"][0] for name in list(store.rows)[:-1]]
    pairs = list(itertools.product((0.01, 0.1), (0.2, 2.0)))
    assert list(zip(first["rate"], first["tau"], strict=True)) == [pairs[i] for i in np.argmax(judged, axis=0)]
    again = Store(tmp_path / "store.json")
    del again.rows["test"]
    monkeypatch.setattr("tests.experiments.dropout_uci.MASKS_VALIDATED", 0)  # would fail if a pair were trained anew
    assert np.array_equal(dropout_on(folder, 30, again)["rmse"], first["rmse"])


def test_the_networks_learn(folder, tmp_path):
    """On a linear function with noise of sd 0.1, 1,000 epochs leave a small part of the target's sd, 2.2."""
    for fit in (dropout_on, ensemble_on):
        scored = fit(folder, 1000, Store(tmp_path / f"{fit.__name__}.json"))
        assert scored["rmse"].max() < 0.7
        assert set(scored["tau"]) == {2.0}


def test_an_ensemble_is_a_mixture_of_its_members(folder, tmp_path, monkeypatch):
    """Of members that are all the same it has the scores of the only member."""

    def alike(data, rates, taus, epochs, seed):
        shapes = (3, uci_networks.HIDDEN), (uci_networks.HIDDEN, 1), (1, 1)
        rng = np.random.default_rng(0)
        return uci_networks.Weights(
            *(np.broadcast_to(rng.standard_normal(shape), (len(data), *shape)) for shape in shapes)
        )

    monkeypatch.setattr("tests.experiments.dropout_uci.train", alike)
    scored = ensemble_on(folder, 1, Store(tmp_path / "ensemble.json"))
    data = [uci_sets.scaled(split) for split in uci_sets.splits_of(folder)]
    alone = uci_networks.scores(alike(data, 0, 0, 1, 0), data, [0.0, 0.0], scored["tau"], 1)
    assert np.allclose([scored["log likelihood"], scored["rmse"]], alone)


def test_the_mean_fields_elbo_against_draws():
    """The closed form against the twin's log joint and the Gaussians' entropy, averaged over 20,000 draws."""
    split = uci_sets.scaled(some_split(rows=12)).split
    x, y = jnp.asarray(split.inputs, jnp.float32), jnp.asarray(split.targets, jnp.float32)
    means = uci_posteriors.start(jax.random.PRNGKey(0), 2)[0] | {"noise": jnp.float32(0.0)}
    log_sds = {site: jnp.log(0.27 * sd) for site, sd in (uci_posteriors.prior_sds(2) | {"noise": 1.0}).items()}
    draws = uci_posteriors.gaussian_draws(means, log_sds, 20_000)
    logs = jax.jit(jax.vmap(lambda latents: uci_posteriors.log_joint(latents, x, y)))(draws)
    entropy = sum(float(jnp.sum(part + 0.5 * np.log(2 * np.pi * np.e))) for part in log_sds.values())
    values = np.asarray(logs, np.float64) + entropy
    closed = float(jax.jit(uci_posteriors.elbo)(means, log_sds, x, y))
    assert abs(closed - values.mean()) < 4 * values.std() / len(values) ** 0.5 < 2


@pytest.mark.slow
def test_full_rank_starts_as_the_mean_field_and_climbs(monkeypatch):
    monkeypatch.setattr(uci_posteriors, "START", 0.1)  # after 500 steps near its optimum, and not there
    split = uci_sets.scaled(some_split(rows=12)).split
    x, y = jnp.asarray(split.inputs, jnp.float32), jnp.asarray(split.targets, jnp.float32)
    fit = uci_posteriors.mean_field(x, y, jax.random.PRNGKey(0), 500)
    before = float(jax.jit(uci_posteriors.elbo)(*fit, x, y))
    results = [uci_posteriors.full_rank(*fit, x, y, jax.random.PRNGKey(1), steps) for steps in (1, 800)]
    (_, value, error), (latents, best, best_error) = results
    assert abs(value - before) < 4 * error
    assert best - before > 4 * best_error
    assert latents["hidden_weights"].shape == (uci_posteriors.DRAWS, 2, uci_networks.HIDDEN)


def test_predictions_take_each_draws_own_noise():
    units = uci_sets.scaled(some_split())
    means, log_sds = uci_posteriors.start(jax.random.PRNGKey(0), 2)
    latents = uci_posteriors.gaussian_draws(means, log_sds, 6)
    f, tau = uci_posteriors.predict(latents, units)
    weights = {site: np.asarray(value, np.float64) for site, value in latents.items() if site != "noise"}
    assert np.allclose(f, network.values(weights, units.split.test_inputs, "relu"))
    assert np.allclose(tau[:, 0], (np.exp(latents["noise"]) * units.sd) ** -2)


@pytest.mark.slow
def test_nuts_goes_on_from_its_start():
    """In double precision; after 30 draws of warm-up it moves, and another seed makes other draws."""
    split = uci_sets.scaled(some_split(rows=12)).split
    latents = uci_posteriors.gaussian_draws(*uci_posteriors.start(jax.random.PRNGKey(0), 2), 1)
    first = {site: value[0] for site, value in latents.items()}
    drawn = uci_posteriors.nuts(split.inputs, split.targets, first, 30, 2, 0)
    assert drawn["hidden_weights"].shape == (2, 2, uci_networks.HIDDEN) and drawn["noise"].dtype == np.float64
    again = uci_posteriors.nuts(split.inputs, split.targets, first, 30, 2, 1)
    noises = [first["noise"], *drawn["noise"], *again["noise"]]
    assert len(np.unique(noises)) == 5


def test_chains_are_pooled_and_compared():
    """Chains at two places have a large R-hat; their pooled draws predict with their own precisions."""
    units = uci_sets.scaled(some_split())
    rng = np.random.default_rng(0)
    f, tau = rng.standard_normal((2, 50, 5)), np.full((2, 50, 1), 4.0)
    alike = uci_posteriors.of_chains(np.concatenate([f, tau], axis=-1), units)
    apart = uci_posteriors.of_chains(np.concatenate([f + np.array([[[0]], [[9]]]), tau], axis=-1), units)
    assert alike[:2] == pytest.approx(uci_sets.mixture(np.concatenate(f), units, 4.0))
    assert alike[2] < 1.3 and apart[2] > 3 and alike[4] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--methods", "dropout,vi"],
            "no method is named 'vi': choose from dropout,ensemble,mean_field",
        ),
        (["--sets", "boston"], "no set is named 'boston': choose from yacht,bostonHousing,energy,concrete"),
        (["--epochs", "0"], "--epochs is 0: give a whole number, 1 or more"),
        (["--draws", "3"], "--draws is 3: give a whole number, 4 or more"),
        ([], "data.txt: give the FOLDER of Gal's sets"),
    ],
)
def test_bad_input_is_refused_in_a_line(words, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as left:
        parse_options([str(tmp_path), *words])
    assert left.value.code == 2 and message in capsys.readouterr().err.splitlines()[-1]


PUBLISHED = {
    "yacht": (-1.250, 0.666),
    "bostonHousing": (-2.402, 2.904),
    "energy": (-1.212, 0.539),
    "concrete": (-2.937, 4.826),
}
"""Gal's means over his splits: log likelihood and RMSE."""


def readme_rows() -> dict[tuple[str, str], list[str]]:
    """The cells of the README's table by set and method."""
    text = Path("guides/dropout/README.md").read_text(encoding="utf-8")
    table = text.partition("| set | method |")[2].partition("\n\n")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    return {(name, method.partition(",")[0]): [method, *values] for name, method, *values in cells}


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+\.\d+", text)]


def test_the_readmes_table_against_the_published_means():
    """Differences are those of the means; dropout's are within two standard errors of 0. No set lacks a row."""
    rows = readme_rows()
    for name, published in PUBLISHED.items():
        assert tuple(numbers(cell)[0] for cell in rows[name, "published (Gal)"][1:3]) == published
        for method in ("dropout", "ensemble", "mean_field", "linear"):
            label, *means, apart, _ = rows[name, method]
            assert label == f"{method}, 20 splits"
            differences, errors = np.reshape(numbers(apart), (2, 2)).T
            expected = [numbers(cell)[0] - value for cell, value in zip(means, published, strict=True)]
            assert differences == pytest.approx(expected, abs=0.0016)  # of numbers rounded to 0.001
            assert method != "dropout" or np.all(np.abs(differences) < 2 * errors)
        assert rows[name, "full_rank"][0] == "full_rank, split 0"
