"""Dropout: its objective and moments over all masks against sampling, closed forms and both libraries; its verdict."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import numpy as np
import pytest
from conftest import LIBRARIES, side
from scipy import integrate, optimize

import guides
import models
from compare import fit_guide
from compare.cli.main import main
from compare.comparison import Job, Request
from compare.fit import run
from compare.fit.svi import masks
from compare.fit.svi.ensemble import UNKNOWN
from compare.fit.svi.svi import optimise
from compare.options import Options
from compare.pipeline import compare
from compare.report.tables.ledger import ledgers
from models.bnn import BnnData, network
from tests import dropout_masks
from tests.one_weight import one_weight

PATIENT = Options(budget=600.0)
SCHEMA = json.loads((Path(__file__).parents[1] / "compare/report/summary.schema.json").read_text(encoding="utf-8"))


def prepared(library: str, data: BnnData):
    """The guide's objective in a library, and the data in its form."""
    arguments, static = side(library).split_arguments(data.arguments())
    return side(library).prepare("bnn", "dropout", static, arguments), arguments


def points_of(objective, parameters) -> dict[str, np.ndarray]:
    """The guide's points by site."""
    return {name.removesuffix("_point"): value for name, value in objective.param_sites(parameters).items()}


def average_of(objective, arguments) -> masks.Average:
    chosen, weights = masks.enumerate_masks(objective.mask_probabilities)
    return masks.Average(objective, arguments, np.where(chosen == 1, -masks.SURE, masks.SURE), weights)


def some_points(data: BnnData, seed: int = 1) -> dict[str, np.ndarray]:
    return {site: value[0] for site, value in network.prior(data, np.random.default_rng(seed), 1).items()}


# One weight


@pytest.mark.parametrize(("rows", "ratio"), [(10, 0.90), (100, 2.99), (1000, 9.48)])
def test_one_weight_in_closed_form(rows, ratio):
    """By hand: the objective over its two masks maximised numerically, and the posterior by quadrature."""
    rate = 0.1
    lesson = one_weight(rows, rate)
    assert lesson.sd_ratio == pytest.approx(ratio, abs=0.005)

    def log_joint(w):  # sum of x^2, x y and y^2 all equal rows
        return -0.5 * (rows * (1 - w) ** 2 + w**2)

    best = optimize.minimize_scalar(lambda m: -((1 - rate) * log_joint(m) + rate * log_joint(0.0)), tol=1e-12).x
    around = rows / (rows + 1) + np.array([-12, 12]) / np.sqrt(rows)
    mass, first, second = (
        integrate.quad(lambda w, k=k: w**k * np.exp(log_joint(w) - log_joint(best)), *around, epsabs=0)[0]
        for k in range(3)
    )
    mean = first / mass
    sd = np.sqrt(second / mass - mean**2)
    assert lesson.sd_ratio == pytest.approx(best * np.sqrt(rate * (1 - rate)) / sd, rel=1e-6)
    assert lesson.mean_error == pytest.approx(((1 - rate) * best - mean) / sd, rel=1e-5)


def test_its_uncertainty_does_not_shrink():
    """The sd ratio grows like sqrt(rate (1 - rate) rows)."""
    rows = np.array([1e4, 1e6])
    assert one_weight(rows, 0.2).sd_ratio == pytest.approx(0.4 * np.sqrt(rows), rel=1e-4)


# All masks


CASES = [BnnData(), BnnData(rate=0.3, activation="relu"), BnnData("moons", hidden=3, rate=0.25), BnnData(hidden=16)]


@pytest.mark.parametrize("data", CASES[:3], ids=["tanh", "relu", "classes"])
def test_the_objective_and_the_moments_against_a_million_masks(data):
    points, rng = some_points(data), np.random.default_rng(5)
    columns = data.dataset.inputs.shape[1]
    size = columns + data.hidden
    drawn = rng.random((1_000_000, size)) > data.rate
    numbers, counts = np.unique(drawn @ 2 ** np.arange(size), return_counts=True)
    distinct = (numbers[:, None] >> np.arange(size) & 1).astype(float)
    latents, shares = dropout_masks.dropped(points, distinct), counts / counts.sum()
    log_joint = network.log_prior(data, latents) + network.pointwise(data, latents)["targets"].sum(axis=1)
    mean = shares @ log_joint
    error = np.sqrt(shares @ (log_joint - mean) ** 2 / counts.sum())
    assert dropout_masks.objective(data, points) == pytest.approx(mean, abs=4 * error)
    exact_mean, exact_sd = dropout_masks.moments(data, points, data.dataset.grid)
    f = network.values(latents, data.dataset.grid, data.activation)
    mean = shares @ f
    sd = np.sqrt(shares @ (f - mean) ** 2)
    kurtosis = shares @ (f - mean) ** 4 / sd**4
    assert np.all(np.abs(exact_mean - mean) < 4 * sd / 1000)
    assert np.all(np.abs(exact_sd - sd) < 4 * sd * np.sqrt((kurtosis - 1) / 4) / 1000)


@pytest.mark.parametrize("data", CASES, ids=["tanh", "relu", "classes", "sixteen"])
def test_the_moments_in_closed_form_given_the_inputs_mask(data):
    """Given the inputs' mask units are independent: f has mean b + keep sum v u, variance keep rate sum (v u)^2."""
    points, keep = some_points(data), 1 - data.rate
    columns, x = data.dataset.inputs.shape[1], data.dataset.grid
    means, squares = 0.0, 0.0
    for mask in itertools.product((1, 0), repeat=columns):
        chance = np.prod([keep if bit else data.rate for bit in mask])
        inside = (x * mask) @ points["hidden_weights"] + points["hidden_biases"]
        parts = network.ACTIVATIONS[data.activation](inside) * points["output_weights"]
        mean = points["output_bias"] + keep * parts.sum(axis=1)
        means = means + chance * mean
        squares = squares + chance * (mean**2 + keep * data.rate * (parts**2).sum(axis=1))
    mean, sd = dropout_masks.moments(data, points, x)
    np.testing.assert_allclose(mean, means, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(sd, np.sqrt(squares - means**2), rtol=1e-8)


def test_too_many_masks_are_refused():
    data = BnnData(hidden=17)
    with pytest.raises(ValueError, match=r"2\^18 masks: give at most 17"):
        dropout_masks.objective(data, some_points(data))


@pytest.mark.parametrize(
    "data", [CASES[0], pytest.param(CASES[1], marks=pytest.mark.slow), CASES[2]], ids=["tanh", "relu", "classes"]
)
def test_both_libraries_maximise_this_objective(data):
    """At arbitrary points: the value to 1e-9, and the slope by differences."""
    values = {}
    for library in LIBRARIES:
        objective, arguments = prepared(library, data)
        average = average_of(objective, arguments)
        x = 0.7 * np.random.default_rng(3).standard_normal(objective.start(0, arguments)["flat"].shape)
        value, slope = average(x)
        points = points_of(objective, {"flat": x})
        assert -value == pytest.approx(dropout_masks.objective(data, points), rel=1e-10)
        steps = 1e-6 * np.eye(len(x))
        differences = [(average(x + step)[0] - average(x - step)[0]) / 2e-6 for step in steps[:5]]
        np.testing.assert_allclose(slope[:5], differences, rtol=1e-5, atol=1e-5)
        values[library] = points
        np.testing.assert_allclose(objective.mask_probabilities, 1 - data.rate)
    assert values["numpyro"].keys() == values["pyro"].keys()


def test_the_objective_is_weight_decay():
    """Gal & Ghahramani's: the expected log likelihood less P(kept) times the squares of the points, and a constant."""
    data = BnnData(rate=0.3)
    first, second = some_points(data, 1), some_points(data, 2)

    def penalised(points):
        latents, probabilities = dropout_masks.enumerated(data, points)
        fit = probabilities @ network.pointwise(data, latents)["targets"].sum(axis=1)
        decay = 0.7 * np.sum(points["hidden_weights"] ** 2) + 0.7 * data.hidden * np.sum(points["output_weights"] ** 2)
        return fit - 0.5 * (decay + np.sum(points["hidden_biases"] ** 2) + points["output_bias"] ** 2)

    apart = dropout_masks.objective(data, first) - dropout_masks.objective(data, second)
    assert apart == pytest.approx(penalised(first) - penalised(second), rel=1e-10)


# Fits


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_fit_is_an_optimum_of_the_enumerated_objective(library):
    data = BnnData(hidden=3)
    objective, arguments = prepared(library, data)
    outcome = optimise(objective, arguments, guides.load("dropout"), PATIENT, 2)
    points = points_of(objective, outcome.parameters)
    best = dropout_masks.objective(data, points)
    assert outcome.converged
    hessian = 2 * len(outcome.parameters["flat"]) * 2 ** (1 + data.hidden)
    assert outcome.gradients >= outcome.history[-1][0] + hessian  # its gradients are counted too
    assert outcome.objective.value == pytest.approx(best, abs=1e-9)
    for seed in range(20):  # no step uphill
        beside = {site: value + 1e-3 * some_points(data, seed)[site] for site, value in points.items()}
        assert dropout_masks.objective(data, beside) < best + 1e-9


@pytest.mark.slow
def test_sampled_masks_and_the_gap_that_they_leave():
    """Nine elements are too many to enumerate in a fit: its gap against the exact one, within 4 errors."""
    data = BnnData(hidden=8)
    objective, arguments = prepared("numpyro", data)
    outcome = optimise(objective, arguments, guides.load("dropout"), replace(PATIENT, tolerance=1.0), 0)
    assert outcome.converged
    assert outcome.objective is None
    exact = average_of(objective, arguments)
    there = exact(outcome.parameters["flat"])[0]
    on = optimize.minimize(exact, outcome.parameters["flat"], jac=True, method="L-BFGS-B", options={"maxiter": 500})
    assert there - on.fun > 0
    assert outcome.gap.value == pytest.approx(there - on.fun, abs=4 * outcome.gap.mcse + 0.05)
    assert -there == pytest.approx(dropout_masks.objective(data, points_of(objective, outcome.parameters)), abs=1e-8)


@pytest.fixture(scope="module")
def comparison():
    data = BnnData(hidden=1, noise=0.5)
    return compare(Request(models.load("bnn"), data, ("numpyro",), ("dropout",), nuts=False, options=PATIENT))


def test_the_ledger_has_words_instead_of_a_number(comparison):
    summary = comparison.summaries["numpyro-dropout"]
    assert all(term is None for term in vars(summary.ledger).values())
    assert summary.diagnostics.khat is None
    remark = next(text for text in ledgers(comparison).remarks if "numpyro-dropout" in text)
    assert "is no bound" in remark and "KL(q, prior) is infinite" in remark
    assert f"{summary.optimisation.objective.value:.4f}" in remark
    assert "log_guide" not in comparison.fits["numpyro-dropout"].tree["sample_stats"]
    jsonschema.validate(comparison.summary, SCHEMA)


def test_it_is_judged_by_its_moments(comparison):
    """The draws' moments are those of the masks, and the verdict is about them."""
    fit, data = comparison.fits["numpyro-dropout"], comparison.data
    arrays = fit.tree["params"].dataset.data_vars.values()
    points = {json.loads(a.attrs["path"])[0].removesuffix("_point"): a.values for a in arrays}
    mean, sd = dropout_masks.moments(data, points, data.dataset.grid)
    summary = comparison.summaries["numpyro-dropout"]
    for point in range(len(mean)):
        own = summary.variables[f"f[{point}]"]
        assert own.mean == pytest.approx(mean[point], abs=4 * own.mcse_mean + 1e-9)
        assert own.sd == pytest.approx(sd[point], abs=4 * own.mcse_sd + 1e-9)
    assert summary.verdict.word in ("off", "narrow", "wide")
    assert "no density" in summary.verdict.sentence
    assert "no density" in summary.without_truth.sentence


def test_unknown_noise_and_the_rate_reach_the_guide():
    data = BnnData(hidden=2, noise="unknown", rate=0.4)
    fit = run(Job("pyro-dropout", "bnn", data, "svi", "pyro", "dropout", options=PATIENT))
    assert fit.status == "done", fit.reason
    posterior = fit.tree["posterior"].dataset
    weights = posterior["output_weights"].values.reshape(-1, 2)
    share, count = np.mean(weights == 0), weights.size
    assert share == pytest.approx(0.4, abs=4 * np.sqrt(0.24 / count))
    assert np.ptp(posterior["noise"].values) == 0 and posterior["noise"].values.min() > 0


# What is refused


@pytest.mark.parametrize("rate", ["0", "1", "-0.1", "nan"])
def test_a_rate_that_drops_nothing_or_everything_is_refused(rate, capsys):
    assert main(["bnn", "--guides", "dropout", f"--rate={rate}"]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "give a number from 0.001 to 0.999; 0 drops nothing, and 1 leaves nothing" in line


def test_only_models_that_have_it_offer_it(capsys):
    assert main(["coin", "--guides", "dropout"]) == 2
    assert "coin has no dropout guide" in capsys.readouterr().err
    assert "dropout" not in Request(models.load("bnn"), BnnData()).guides
    assert main(["bnn", "--guides", "dropout", "--show", "--libraries", "numpyro"]) == 2
    assert "no density, and so no ELBO" in capsys.readouterr().err


@pytest.mark.parametrize("library", LIBRARIES)
def test_only_masks_whose_probabilities_do_not_count_are_fed(library):
    """A Bernoulli whose probability is learnt would be given slopes that are wrong."""
    if library == "numpyro":
        import numpyro.distributions as dist

        from compare.fit.svi.base_numpyro import from_base, mask_probability

        plain, eps = dist.Bernoulli(0.3), np.zeros(1)
    else:
        import pyro.distributions as dist
        import torch

        from compare.fit.svi.base_pyro import from_base, mask_probability

        plain, eps = dist.Bernoulli(torch.tensor(0.3)), torch.zeros(1)
    assert mask_probability(plain) is None
    assert mask_probability(plain.mask(True)) is None
    np.testing.assert_allclose(mask_probability(plain.mask(False)), 0.3, rtol=1e-6)
    with pytest.raises(NotImplementedError):
        from_base(plain, eps)


def test_a_users_own_dropout_has_no_density_either():
    import numpyro
    import numpyro.distributions as dist

    from compare import check

    def model(y):
        w = numpyro.sample("w", dist.Normal(0, 1))
        numpyro.sample("y", dist.Normal(w, 1), obs=y)

    def guide(y):
        mask = numpyro.sample("mask", dist.Bernoulli(0.9).mask(False), infer={"is_auxiliary": True})
        numpyro.sample("w", dist.Delta(mask * numpyro.param("point", 1.0)))

    result = check(model, {"y": 1.0}, guide=guide, params={"point": 0.5}, budget=600.0)
    (fit,) = (summary for name, summary in result.comparison.summaries.items() if name.startswith("numpyro-guide"))
    assert fit.status == "failed"
    assert "without a density" in fit.reason


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_users_dropout_of_a_continuous_guide_is_refused_in_one_line(library):
    """Its mask's probabilities do not count, so that E_q[log p - log q] is no ELBO, though q has no single point."""
    module, dist = import_module(library), import_module(f"{library}.distributions")
    number = float if library == "numpyro" else import_module("torch").tensor

    def model(y):
        w = module.sample("w", dist.Normal(0.0, 1.0))
        module.sample("y", dist.Normal(w, 1.0), obs=y)

    def guide(y):
        keep = module.sample("keep", dist.Bernoulli(number(0.9)).mask(False), infer={"is_auxiliary": True})
        normal = dist.Normal(module.param("loc", number(0.5)), 0.7)
        module.sample("w", dist.Delta(keep * module.sample("raw", normal, infer={"is_auxiliary": True})))

    with pytest.raises(ValueError, match="without a density") as refusal:
        fit_guide(model, {"y": 1.0}, guide, budget=600.0)
    assert "\n" not in str(refusal.value)


def test_a_hessian_that_is_not_finite_gives_no_gap():
    beyond = SimpleNamespace(hessian=lambda x: np.array([[1.0, np.nan], [np.nan, 1.0]]))
    assert masks.inverse_root(beyond, np.zeros(2)) is None


def test_a_gap_that_later_masks_do_not_confirm_is_forgotten(monkeypatch):
    """The first masks have a curvature and a gap, four times as many none: the fit's gap is not known."""
    roots = iter([np.eye(1), None])

    def evaluate(parameters, draws, data):
        return SimpleNamespace(log_ratio=np.zeros(len(draws)), total={"flat": draws.sum(keepdims=True)[0]})

    objective = SimpleNamespace(
        evaluate=evaluate, mask_probabilities=np.full(9, 0.5), start=lambda *_: {"flat": np.zeros(1)}
    )
    monkeypatch.setattr(masks, "inverse_root", lambda *_: next(roots))
    outcome = masks.fit_by_draws(objective, {}, Options(tolerance=1e-9), 0, np.inf)
    assert not outcome.converged and outcome.gap == UNKNOWN
    assert outcome.gradients >= (1 + masks.FRESH + 4) * masks.FIRST
