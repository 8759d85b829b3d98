"""The Bayesian neural network: its two programs are one posterior, its references hold, and what its guides forget."""

from __future__ import annotations

import dataclasses
from importlib import import_module
from types import SimpleNamespace

import arviz_stats
import numpy as np
import pytest
import test_battery as battery
import xarray as xr
from conftest import layout, side
from scipy import stats

from compare import registry
from compare.comparison import Job, Request
from compare.fit import run
from compare.measure.measures import measure
from compare.measure.moments import distance, moments, summarise, true_moments
from compare.measure.truth import Sampled, find_truth
from compare.options import Options
from compare.pipeline import compare
from compare.summary import FitSummary, to_json
from compare.verdict.judge import judge
from models.bnn import MODEL, BnnData, network
from models.contract import Reference

OPTIONS = Options(**MODEL.defaults)
ERRORS = 4


def fit_network(data: BnnData, method: str, library: str = "numpyro", guide: str | None = None, **options: float):
    name = f"{library}-{guide or method}" if method != "reference" else method
    return run(Job(name, "bnn", data, method, library, guide, 0, Options(**{**MODEL.defaults, **options})))


@pytest.fixture(scope="module")
def reference():
    """On the defaults."""
    data = BnnData()
    fit = fit_network(data, "reference")
    assert fit.status == "done", fit.reason
    return SimpleNamespace(data=data, fit=fit, known=find_truth(MODEL, data, {"reference": fit}))


@pytest.mark.parametrize(
    "data", [BnnData(), BnnData(noise="unknown", hidden=3), BnnData("diabetes", activation="relu")]
)
def test_the_collapsed_program_is_the_model_with_its_output_layer_integrated_out(data, library):
    """log p(y, hidden) = log p(y, hidden, output) - log p(output | y, hidden), at output layers drawn by `complete`."""
    rng = np.random.default_rng(0)
    drawn = {site: rng.standard_normal((40, *shape)) for site, shape in layout(data).latents.items()}
    if "noise" in drawn:
        drawn["noise"] = np.abs(drawn["noise"]) + 0.1
    sampled = {site: value for site, value in drawn.items() if not site.startswith("output")}
    full = network.complete(data, sampled, rng)
    arguments, static = side(library).split_arguments(data.arguments())
    twin = import_module(f"models.bnn.in_{library}")
    densities = import_module(f"compare.user_model.density_{library}")
    collapsed = sum(densities.Density(SimpleNamespace(model=twin.collapsed), static)(sampled, arguments))
    joint = sum(side(library).density("bnn", static)(full, arguments))
    conditional = np.array([output_density(data, full, draw) for draw in range(40)])
    np.testing.assert_allclose(joint - conditional, collapsed, rtol=1e-9, atol=1e-7)


@pytest.mark.parametrize("name", ["moons", "diabetes", pytest.param("breast_cancer", marks=pytest.mark.slow)])
def test_the_twins_are_the_same_model_on_the_other_data_sets(name):
    """What the shared battery asks of the cases that need no scikit-learn."""
    battery.test_the_twins_are_the_same_model("bnn", BnnData(name))
    for library in ("numpyro", "pyro"):
        battery.test_pointwise_log_likelihoods_add_up("bnn", BnnData(name), library)


def output_density(data: BnnData, latents: dict[str, np.ndarray], draw: int) -> float:
    """log p(output layer | hidden layer, y) of one draw, from the joint Gaussian of the output layer and y."""
    draws = {site: value[draw : draw + 1] for site, value in latents.items()}
    hidden = data.hidden
    features = np.column_stack(
        [network.units(draws, data.dataset.inputs, data.activation)[0], np.ones(len(data.dataset.targets))]
    )
    noise = data.dataset.noise if data.dataset.noise is not None else draws["noise"][0]
    prior = np.diag([*np.full(hidden, 1 / hidden), 1.0])
    gain = prior @ features.T @ np.linalg.inv(features @ prior @ features.T + noise**2 * np.eye(len(features)))
    value = np.append(draws["output_weights"][0], draws["output_bias"][0])
    return float(
        stats.multivariate_normal(
            gain @ data.dataset.targets, prior - gain @ features @ prior, allow_singular=True
        ).logpdf(value)
    )


TINY = [BnnData(hidden=1, noise=1.0), BnnData(hidden=2)]
"""One unit cannot bend twice: with less noise its posterior has isolated modes, which no chain of a few thousand draws
visits in proportion."""


@pytest.mark.parametrize(
    ("data", "library"),
    [
        pytest.param(TINY[0], "numpyro", id="hidden-1-numpyro"),
        pytest.param(TINY[0], "pyro", id="hidden-1-pyro", marks=pytest.mark.slow),
        pytest.param(TINY[1], "numpyro", id="hidden-2-numpyro", marks=pytest.mark.slow),
        pytest.param(TINY[1], "pyro", id="hidden-2-pyro", marks=pytest.mark.slow),
    ],
)
def test_nuts_agrees_with_quadrature_at_every_point(data, library):
    """On the plain model; every mean and sd of f within 4 standard errors."""
    fit = fit_network(data, "nuts", library, warmup=150)
    assert fit.status == "done", fit.reason
    within(measure(fit, MODEL.exact(data), None))


@pytest.mark.parametrize(
    "data",
    [pytest.param(TINY[0], id="hidden-1", marks=pytest.mark.slow), pytest.param(TINY[1], id="hidden-2")],
)
def test_the_reference_s_way_agrees_with_quadrature(data, monkeypatch):
    """NUTS on the hidden layer and a drawn output layer, where the exact posterior is known too."""
    way = Reference("NUTS with the output layer integrated out", "collapsed", network.complete)
    monkeypatch.setattr(registry, "load", lambda name: dataclasses.replace(MODEL, truth=lambda data: way))
    summary = to_json(measure(fit_network(data, "reference", reference_ess=1000), MODEL.exact(data), None))
    truths = {"mean": MODEL.exact(data).mean()["f"], "sd": MODEL.exact(data).sd()["f"]}
    for point in range(len(data.dataset.grid)):
        point_summary = summary["variables"][f"f[{point}]"]
        assert abs(point_summary["mean"] - truths["mean"][point]) < ERRORS * point_summary["mcse_mean"]
        assert abs(point_summary["sd"] - truths["sd"][point]) < ERRORS * point_summary["mcse_sd"]


def within(summary: FitSummary) -> None:
    for variable in summary.variables.values():
        assert abs(variable.mean_error) < ERRORS * variable.mcse_mean_error
        assert abs(variable.sd_ratio - 1) < ERRORS * variable.mcse_sd_ratio


def test_the_reference_meets_posteriordb_s_rules(reference):
    """R-hat, bulk and tail ESS of every function value, no divergences; and the verdict says so, without "exact"."""
    summary = measure(reference.fit, reference.known, None)
    for point in range(len(reference.data.dataset.grid)):
        f = reference.fit.tree["posterior"]["f"].values[..., point]
        axes = {"chain_axis": 0, "draw_axis": 1}
        assert arviz_stats.rhat(f, **axes) < 1.01
        assert arviz_stats.ess(f, method="bulk", **axes) > 1000
        assert arviz_stats.ess(f, method="tail", prob=(0.05, 0.95), **axes) > 1000
    assert summary.diagnostics.divergences == 0
    assert judge(summary, OPTIONS).word == "agrees"


@pytest.mark.slow
def test_the_plain_model_agrees_with_the_reference(reference):
    """Collapsed and plain are one posterior: within 4 of their joint standard errors at every point."""
    within(measure(fit_network(reference.data, "nuts"), reference.known, None))


def test_mean_field_forgets_the_gap(reference):
    """Its sd of f(0) is below the reference's by far more than both errors; its verdict says what was measured."""
    fit = fit_network(reference.data, "svi", guide="mean_field")
    summary = measure(fit, reference.known, None)
    middle = summary.variables["f[6]"]
    assert reference.data.dataset.grid[6, 0] == 0
    assert middle.sd_ratio < 1 - ERRORS * middle.mcse_sd_ratio
    verdict = judge(summary, OPTIONS, {}, measure(reference.fit, reference.known, None))
    assert verdict.word in ("off", "narrow") and any(character.isdigit() for character in verdict.sentence)


def test_a_relu_mean_field_cannot_do_otherwise():
    """Foong et al. 2020, Theorem 1: Var f(0) <= Var f(p) + Var f(q) for p < 0 < q, here at the clusters' inner ends."""
    data = BnnData(activation="relu")
    fit = fit_network(data, "svi", guide="mean_field")
    posterior = fit.tree["posterior"].dataset
    latents = {site: posterior[site].values.reshape(-1, *posterior[site].shape[2:]) for site in layout(data).latents}
    inputs = data.dataset.inputs[:, 0]
    points = np.array([[0.0], [inputs[inputs < 0].max()], [inputs[inputs > 0].min()]])
    squares = (values := network.values(latents, points, "relu")) - values.mean(axis=0)
    difference = squares[:, 0] ** 2 - squares[:, 1] ** 2 - squares[:, 2] ** 2
    assert difference.mean() < ERRORS * difference.std() / np.sqrt(len(difference))


def test_leave_one_out_works_on_the_tree(reference):
    """The log likelihoods are there, observation by observation, and arviz_stats.loo takes them."""
    loo = arviz_stats.loo(reference.fit.tree)
    predicted = reference.fit.tree["log_likelihood"]["targets"].values
    assert predicted.shape[2] == len(reference.data.dataset.targets)
    assert np.isfinite(loo.elpd) and loo.elpd < predicted.mean(axis=(0, 1)).sum()


def test_a_comparison_without_the_reference_says_so():
    """A reference that cannot be made costs the others their verdicts, not their numbers."""
    options = Options(**{**MODEL.defaults, "budget": 600.0, "reference_budget": 1e-6})
    summary = compare(Request(MODEL, BnnData(hidden=3), ("numpyro",), ("mean_field",), False, options)).summary
    assert summary["fits"]["reference"]["status"] == "skipped"
    guide = summary["fits"]["numpyro-mean_field"]
    assert guide["verdict"]["word"] == "undecided" and "nothing to compare it with" in guide["verdict"]["sentence"]
    assert guide["variables"]["f[0]"]["mean"] is not None and guide["variables"]["f[0]"]["sd_ratio"] is None
    assert summary["log_evidence"]["value"] is None


def test_a_reference_s_own_error_counts():
    """Draws of one distribution held against others of it: the errors of both are in the distance."""
    rng = np.random.default_rng(5)
    data = BnnData(hidden=1)
    trees = [xr.DataTree.from_dict({"posterior": posterior_of(rng)}) for _ in range(2)]
    fits = [SimpleNamespace(tree=tree, job=Job("x", "bnn", data, "nuts", "numpyro")) for tree in trees]
    known = Sampled(fits[0], "half")
    mean, sd = known.errors("f", (0,))
    assert mean == pytest.approx(1 / np.sqrt(4000), rel=0.2)
    assert sd == pytest.approx(1 / np.sqrt(8000), rel=0.3)
    measured = variable(trees[1]["posterior"]["f"].values[..., 0], known, "f", (0,))
    own = measured["mcse_mean"], measured["mcse_sd"]
    true_sd = float(known.sd()["f"][0])
    assert measured["mcse_mean_error"] == pytest.approx(np.hypot(own[0], mean) / true_sd, rel=1e-4)
    assert measured["mcse_sd_ratio"] == pytest.approx(np.hypot(own[1], measured["sd_ratio"] * sd) / true_sd, rel=1e-4)
    assert measured["mcse_mean_error"] > 1.2 * own[0] / true_sd


def variable(draws: np.ndarray, known: Sampled, site: str, index: tuple[int, ...]) -> dict[str, float]:
    """An element of independent draws, measured against a reference."""
    own = moments(draws, independent=True)
    true = true_moments(known, {"f": (site, index)})["f"]
    return to_json(summarise(own, [0.0, 0.0, 0.0], distance(own, true)))


def posterior_of(rng: np.random.Generator) -> xr.Dataset:
    return xr.Dataset({"f": (("chain", "draw", "f_dim_0"), rng.standard_normal((4, 1000, 13)))})
