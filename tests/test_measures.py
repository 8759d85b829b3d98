"""The measures: the ledger term by term, moments and their errors, k-hat, each against something independent of it."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, NamedTuple

import arviz_stats
import numpy as np
import pytest
import scipy.stats
import xarray as xr
from scipy import integrate, optimize, signal, special
from xarray import DataTree

import models
from compare.comparison import MOST_JUDGED, Fit, Job, Layout
from compare.fit import run
from compare.fit.psis import log_ratios, smooth
from compare.fit.tree import build
from compare.measure.diagnostics import diagnostics, optimisation
from compare.measure.elements import MOST_SUSPECT, suspects
from compare.measure.many import moments, r_hats
from compare.measure.measures import measure
from compare.measure.truth import Sampled, evidence
from compare.summary import LEDGER_TERMS, Estimate, Evidence, Optimisation, to_json
from compare.user_model.posterior import Estimated, Tabulated
from models.coin import Coin

COIN = Coin()
PRIOR = scipy.stats.beta(2, 2)
POSTERIOR = scipy.stats.beta(8, 6)
LOG_EVIDENCE = float(scipy.stats.betabinom.logpmf(6, 10, 2, 2))

ERRORS = 4
REPORTED = 1e-11  # what comes from draws is reported to 12 digits, correlations to 10, errors to 6
"""Statistical tolerances are this many standard errors."""


def numbers(*arguments: Any) -> dict[str, Any]:
    """A fit's numbers, as in ``summary.json``."""
    return to_json(measure(*arguments))


class Measured(NamedTuple):
    fit: Fit
    summary: dict[str, Any]
    terms: dict[str, float]
    """The ledger's terms by quadrature, from nothing but the guide's density at the draws."""


@pytest.fixture(scope="module", params=["exact", "svi"])
def measured(request) -> Measured:
    library = ("numpyro", "mean_field") if request.param == "svi" else (None, None)
    job = Job("a fit", "coin", COIN, request.param, *library)
    fit = run(job)
    assert fit.status == "done", fit.reason
    model = models.load("coin")
    exact, best = model.exact(COIN), model.best_member(COIN, "mean_field")
    summary = numbers(fit, exact, best if library[1] else None)
    return Measured(fit, summary, by_quadrature(log_density_on_the_logit(fit)))


def stat(fit: Fit, name: str) -> np.ndarray:
    return fit.tree["sample_stats"][name].values.ravel()


def log_density_on_the_logit(fit: Fit) -> Any:
    """log q as a function of u = logit(theta): the posterior's own, or the Gaussian whose log density is at the draws.

    log q(u) is log q(theta) + log theta (1 - theta), and a parabola in u: three coefficients through 4,096 points.
    """
    if fit.job.method == "exact":
        return lambda u: POSTERIOR.logpdf(special.expit(u)) + special.log_expit(u) + special.log_expit(-u)
    theta = fit.tree["posterior"]["theta"].values.ravel()
    u = special.logit(theta)
    height = stat(fit, "log_guide") + np.log(theta) + np.log1p(-theta)
    coefficients = np.polyfit(u, height, 2)
    assert np.abs(np.polyval(coefficients, u) - height).max() < 1e-8
    scale = math.sqrt(-0.5 / coefficients[0])
    return scipy.stats.norm(coefficients[1] * scale**2, scale).logpdf


def by_quadrature(log_q: Any) -> dict[str, float]:
    """The ledger of a density on the logit, by adaptive quadrature; the best Gaussian by minimising over it."""

    def log_prior(u: float) -> float:
        return PRIOR.logpdf(special.expit(u)) + special.log_expit(u) + special.log_expit(-u)

    def log_likelihood(u: float) -> float:
        return scipy.stats.binom.logpmf(6, 10, special.expit(u))

    def expect(function: Any, log_density: Any = log_q) -> float:
        return integrate.quad(lambda u: math.exp(log_density(u)) * function(u), -12, 12, epsabs=1e-11, limit=200)[0]

    def shortfall(x: np.ndarray) -> float:
        location, scale = x[0], math.exp(x[1])
        return -float(weights @ (log_prior(location + scale * nodes) + log_likelihood(location + scale * nodes))) - x[1]

    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()
    assert expect(lambda u: 1.0) == pytest.approx(1, abs=1e-8)
    data_fit = expect(log_likelihood)
    complexity = expect(lambda u: log_q(u) - log_prior(u))
    entropy = 0.5 * math.log(2 * math.pi * math.e)
    best = entropy - optimize.minimize(shortfall, [0.3, -0.6], method="BFGS", options={"gtol": 1e-10}).fun
    elbo = data_fit - complexity
    return {
        "elbo": elbo,
        "data_fit": data_fit,
        "complexity": complexity,
        "evidence_gap": LOG_EVIDENCE - elbo,
        "family_gap": LOG_EVIDENCE - best,
        "optimisation_gap": best - elbo,
    }


def value(ledger: dict[str, Any], term: str) -> float:
    return ledger[term]["value"] if ledger[term] else 0.0


def check_ledger(ledger: dict[str, Any]) -> None:
    """Both equations, to rounding."""
    assert set(ledger) == set(LEDGER_TERMS)
    elbo, gap = value(ledger, "elbo"), value(ledger, "evidence_gap")
    assert abs(elbo - (value(ledger, "data_fit") - value(ledger, "complexity"))) < 1e-12
    assert abs(gap - (LOG_EVIDENCE - elbo)) < 1e-12
    parts = ("symmetry_gap", "family_gap", "amortisation_gap", "auxiliary_gap", "optimisation_gap")
    assert abs(gap - sum(value(ledger, part) for part in parts)) < 1e-12


def check_terms(ledger: dict[str, Any], truth: dict[str, float]) -> None:
    """Every term by itself, within its own standard errors."""
    for term, true in truth.items():
        assert abs(value(ledger, term) - true) < ERRORS * ledger[term]["mcse"] + 1e-8, term


def truth_of(measured: Measured) -> dict[str, float]:
    if measured.fit.job.method == "exact":
        return measured.terms | {"family_gap": 0.0, "optimisation_gap": 0.0}
    return measured.terms


def test_the_equations_hold(measured):
    check_ledger(measured.summary["ledger"])


@pytest.mark.parametrize("term", LEDGER_TERMS)
def test_a_term_that_is_wrong_breaks_an_equation(measured, term):
    broken = copy.deepcopy(measured.summary["ledger"])
    broken[term] = {"value": value(broken, term) + 0.01, "mcse": 0.0}
    with pytest.raises(AssertionError):
        check_ledger(broken)


def test_every_term_is_what_quadrature_gives(measured):
    check_terms(measured.summary["ledger"], truth_of(measured))


@pytest.mark.parametrize(
    "terms", [("data_fit", "complexity"), ("elbo", "data_fit", "-evidence_gap", "-optimisation_gap")]
)
def test_terms_that_are_wrong_together_are_found_by_quadrature(measured, terms):
    """The equations hold still, so only the terms themselves can tell."""
    broken = copy.deepcopy(measured.summary["ledger"])
    for term in terms:
        broken[term.strip("-")]["value"] += -0.1 if term.startswith("-") else 0.1
    check_ledger(broken)
    with pytest.raises(AssertionError):
        check_terms(broken, truth_of(measured))


def test_every_term_is_what_the_draws_give(measured):
    """Complexity and ELBO as the means of log ratios of the tree's own draws, each with its own standard error."""
    ledger = measured.summary["ledger"]
    joint, prior, guide = (stat(measured.fit, name) for name in ("log_joint", "log_prior", "log_guide"))
    for term, draws in (("elbo", joint - guide), ("complexity", guide - prior), ("data_fit", joint - prior)):
        error = draws.std(ddof=1) / math.sqrt(draws.size)
        assert abs(value(ledger, term) - draws.mean()) < ERRORS * math.hypot(error, ledger[term]["mcse"]) + 1e-12, term
    # Complexity is data fit - ELBO on the same draws, so it is known from them better than its own error says.
    ratio = joint - guide
    error = math.hypot(ratio.std(ddof=1) / math.sqrt(ratio.size), ledger["elbo"]["mcse"])
    assert abs(value(ledger, "complexity") - (guide - prior).mean()) < ERRORS * error + REPORTED


def test_gaps_have_the_signs_they_must(measured):
    ledger = measured.summary["ledger"]
    for term in ("evidence_gap", "family_gap", "optimisation_gap", "complexity"):
        assert value(ledger, term) > -ERRORS * ledger[term]["mcse"] - 1e-12
    assert ledger["amortisation_gap"] is None


def test_the_exact_fit_has_no_gap_and_no_error():
    summary = numbers(run(Job("exact", "coin", COIN, "exact")), models.load("coin").exact(COIN), None)
    ledger, theta = summary["ledger"], summary["variables"]["theta"]
    assert ledger["elbo"] == {"value": pytest.approx(LOG_EVIDENCE, abs=1e-12), "mcse": 0.0}
    assert ledger["evidence_gap"] == ledger["family_gap"] == ledger["optimisation_gap"] == {"value": 0.0, "mcse": 0.0}
    quantiles = dict(zip(("q2.5", "median", "q97.5"), POSTERIOR.ppf([0.025, 0.5, 0.975]), strict=True))
    truth = {"mean": POSTERIOR.mean(), "sd": POSTERIOR.std(), **quantiles}
    assert {name: theta[name] for name in truth} == pytest.approx(truth, abs=1e-12)
    assert (theta["mean_error"], theta["sd_ratio"], theta["mcse_mean"], theta["mcse_sd"]) == (0.0, 1.0, 0.0, 0.0)


def a_job(count: int, method: str) -> Job:
    """A job with one site ``z`` of ``count`` elements, all of them shown."""
    shown = tuple(("z", (position,)) for position in range(count))
    return Job("a fit", "coin", None, method, layout=Layout({"z": (count,)}, {}, {}, shown))


def a_fit(draws: np.ndarray, method: str = "nuts", log_ratio: np.ndarray | None = None) -> Fit:
    """A fit from draws of shape (chain, draw, element)."""
    shape = draws.shape[:2]
    log_joint = np.zeros(shape) if log_ratio is None else log_ratio
    stats = {"log_joint": log_joint, "log_prior": np.zeros(shape), "log_guide": np.zeros(shape)}
    stats |= {"diverging": np.zeros(shape, bool), "energy": np.random.default_rng(0).normal(size=shape)}
    attributes = {
        "elbo": 0.0,
        "elbo_mcse": 0.0,
        "gap": 0.0,
        "gap_mcse": 0.0,
        "tolerance": 0.01,
        "converged": 1,
        "reason": "",
    }
    optimisation = {"elbo": np.zeros(2)} if method == "svi" else None
    tree = build({"z": draws}, stats, {"x": np.zeros(1)}, None, optimisation, attributes if optimisation else None)
    return Fit(a_job(draws.shape[2], method), "done", tree=tree)


def a_truth(count: int, correlations: dict[str, float] | None = None) -> Any:
    """Standard normals."""
    return SimpleNamespace(
        log_evidence=0.0,
        mean=lambda: {"z": np.zeros(count)},
        sd=lambda: {"z": np.ones(count)},
        correlations=lambda: correlations or {},
    )


def autoregression(rng: np.random.Generator, shape: tuple[int, int, int], memory: float) -> np.ndarray:
    """Stationary chains of standard normals, each draw correlated with the next by ``memory``."""
    noise = rng.normal(size=shape)
    draws = np.empty(shape)
    draws[:, 0] = noise[:, 0]
    for number in range(1, shape[1]):
        draws[:, number] = memory * draws[:, number - 1] + math.sqrt(1 - memory**2) * noise[:, number]
    return draws


def mean_square_is_one(scores: np.ndarray, allowance: float = 0.0) -> bool:
    """Whether scores are standard normal in size: the mean of count squares has standard error sqrt(2 / count)."""
    return abs(float(np.mean(np.square(scores))) - 1) < ERRORS * math.sqrt(2 / len(scores)) + allowance


def hide(fit: Fit, shown: int) -> Fit:
    """The fit with only its first ``shown`` elements reported."""
    layout = replace(fit.job.layout, reported_elements=fit.job.layout.reported_elements[:shown])
    return replace(fit, job=replace(fit.job, layout=layout))


@pytest.mark.parametrize("method", ["svi", "nuts"])
def test_elements_that_are_not_printed_are_measured(method):
    """The same numbers as if they were printed, errors of chains within 2%; the summary's JSON is without them."""
    draws = autoregression(np.random.default_rng(7), (4, 500, 300), 0.0 if method == "svi" else 0.7)
    fit, truth = a_fit(draws, method), a_truth(300)
    every, cut = measure(fit, truth, None), measure(hide(fit, 2), truth, None)
    assert list(cut.variables) == ["z[0]", "z[1]"] and len(cut.unreported) == 298
    assert list(to_json(cut)["variables"]) == ["z[0]", "z[1]"] and "unreported" not in to_json(cut)
    for name, cut_summary in cut.judged.items():
        printed = every.variables[name]
        for key in ("mean", "sd", "mean_error", "sd_ratio"):
            assert getattr(cut_summary, key) == pytest.approx(getattr(printed, key), rel=1e-9, abs=1e-12)
        for key in ("mcse_mean", "mcse_sd", "mcse_mean_error", "mcse_sd_ratio"):
            assert getattr(cut_summary, key) == pytest.approx(getattr(printed, key), rel=0.02)


def test_r_hat_of_many_elements_is_arvizs_of_each():
    """Split, of draws and of their distances from the median; of an odd number the middle draw belongs to no half."""
    draws = autoregression(np.random.default_rng(7), (4, 101, 6), 0.8)
    draws[0, :, 1], draws[1, :, 2] = draws[0, :, 1] + 2, 3 * draws[1, :, 2]
    draws[..., 3] = np.linspace(-1, 1, 101)
    values = r_hats(draws)
    for place in range(6):
        both = draws[..., place], np.abs(draws[..., place] - np.median(np.delete(draws[..., place], 50, axis=1)))
        assert values[place] == pytest.approx(max(arviz_stats.rhat(each, method="split") for each in both), rel=1e-9)
    draws[..., 4], draws[0, 0, 5] = 1.0, np.nan
    assert np.isinf(r_hats(draws)[4:]).all()


def test_many_elements_that_are_still_have_neither_sd_nor_errors():
    """Not even the rounding of a mean of tenths; the mean is the draws' number."""
    still = moments(np.full((4, 37, 1), 0.7), False)
    assert [float(part[0]) for part in still] == [0.7, 0.0, 0.0, 0.0]


def test_chains_that_are_not_printed_are_looked_at():
    """One of 300 unprinted elements sits elsewhere in one chain: R-hat and ESS are as if it were printed."""
    draws = np.random.default_rng(8).normal(size=(4, 500, 300))
    draws[0, :, 217] += 3.0
    every, cut = (measure(fit, a_truth(300), None).diagnostics for fit in (a_fit(draws), hide(a_fit(draws), 2)))
    assert every.r_hat > 1.4
    assert (cut.r_hat, cut.ess_bulk) == (every.r_hat, every.ess_bulk)


def test_the_elements_whose_chains_are_looked_at_are_the_same_in_all_units():
    """Elements by their own index, past those that do not vary; the scale of an element says nothing."""
    rng = np.random.default_rng(18)
    draws = autoregression(rng, (4, 500, 60), 0.3)
    draws[..., 11:31] = autoregression(rng, (4, 500, 20), 0.8)
    draws[0, :, 41] += 3.0
    draws[..., [4, 9]] = 0.7
    chosen = suspects(hide(a_fit(draws), 2))
    assert ("z", (41,)) in chosen and not {("z", (4,)), ("z", (9,))} & set(chosen)
    assert sum(11 <= place < 31 for _, (place,) in chosen) >= MOST_SUSPECT - 1
    assert suspects(hide(a_fit(draws * 10.0 ** rng.integers(-3, 4, 60)), 2)) == chosen


def test_elements_that_do_not_vary_are_not_judged():
    """Such as the diagonal of a correlation matrix, which is 1 but for rounding."""
    draws = np.random.default_rng(9).normal(size=(4, 500, 4))
    draws[:, :, 2], draws[:, :, 3] = 0.0, 1.0 + 2e-16 * (draws[:, :, 3] > 0)
    for method in ("svi", "nuts"):
        cut = measure(hide(a_fit(draws, method), 1), None, None)
        assert list(cut.unreported) == ["z[1]"]


def test_of_very_many_elements_some_are_judged():
    sizes = {"short": (MOST_JUDGED + 10,), "long": (10 * MOST_JUDGED,), "wide": (40, 50)}
    for latents in ({"a": (30, 30)}, sizes, {"b": (3000,), "c": (3000,)}):
        shown = tuple((site, (0,) * len(shape)) for site, shape in latents.items())
        judged = Layout(latents, {}, {}, shown).judged
        assert judged[: len(shown)] == shown and len(set(judged)) == len(judged) <= MOST_JUDGED + len(shown)
        small = [site for site, shape in latents.items() if math.prod(shape) <= MOST_JUDGED]
        total = sum(math.prod(latents[site]) for site in small)
        assert sum(site in small for site, _ in judged) >= min(total, MOST_JUDGED)
    out = {"a": np.arange(4) < 2}
    assert Layout({"a": (4,)}, {}, {}, (("a", (0,)),), unjudged=out).judged == (("a", (0,)), ("a", (2,)), ("a", (3,)))


def test_a_reference_that_has_kept_some_elements_knows_which():
    """A site with very many elements is cut to the reported ones: they keep their numbers."""
    draws = np.random.default_rng(12).normal(size=(4, 50, 3))
    stats = {"diverging": np.zeros((4, 50), bool), "energy": np.zeros((4, 50))}
    tree = build({"z": draws}, stats, {}, {"z_dim_0": np.array([0, 4000, 9000])})
    truth = Sampled(Fit(a_job(3, "reference"), "done", tree=tree), "NUTS")
    assert truth.mean()["z"][9000] == pytest.approx(draws[:, :, 2].mean()) and np.isnan(truth.mean()["z"][1])
    assert truth.sd()["z"][4000] == pytest.approx(draws[:, :, 1].std(ddof=1))
    for probability in (0.1, 0.5, 0.975):
        assert truth.quantile(probability)["z"][0] == pytest.approx(np.quantile(draws[:, :, 0], probability))
    assert (truth.draws("z", (4000,)) == draws[:, :, 1]).all()


def test_a_references_density_is_that_of_all_chains_and_ends_with_the_draws():
    """Of chains in four places; beyond the draws on either side it is 0."""
    draws = np.random.default_rng(12).normal(size=(4, 500, 2)) + np.array([[[-9.0]], [[0.0]], [[9.0]], [[20.0]]])
    tree = build({"z": draws}, {"diverging": np.zeros((4, 500), bool), "energy": np.zeros((4, 500))}, {})
    grid = np.linspace(-60, 90, 3001)
    density = Sampled(Fit(a_job(2, "reference"), "done", tree=tree), "NUTS").density("z", (1,), grid)
    assert density.sum() * 0.05 == pytest.approx(1, abs=0.01)
    assert (grid * density).sum() * 0.05 == pytest.approx(draws[..., 1].mean(), abs=0.2)
    assert (density[[0, -1]] == 0).all()


@pytest.mark.parametrize("shown", [1, 3])
def test_a_reference_has_no_distance_from_itself(shown):
    """Nor an error of one, of elements that are printed and of those that are not."""
    draws = np.random.default_rng(19).normal([1.0, 20.0, 3.0], [1.0, 5.0, 0.2], (4, 100, 3))
    fit = a_fit(draws)
    fit = hide(replace(fit, job=replace(fit.job, method="reference")), shown)
    judged = measure(fit, Sampled(fit, "a long run"), None).judged
    assert list(judged) == ["z[0]", "z[1]", "z[2]"]
    for place, known in enumerate(judged.values()):
        assert (known.mean_error, known.mcse_mean_error, known.sd_ratio, known.mcse_sd_ratio) == (0, 0, 1, 0)
        assert known.mean == pytest.approx(draws[..., place].mean())


def test_smoothed_weights_are_shares():
    """They sum to 1 and are log p(x, z) - log q(z) up to a constant, but for the tail that is smoothed."""
    axes, (log_joint, log_guide) = ("chain", "draw"), np.random.default_rng(20).normal(size=(2, 4, 250))
    stats = xr.Dataset({"log_joint": (axes, log_joint), "log_guide": (axes, log_guide)})
    ratio = log_ratios(DataTree.from_dict({"sample_stats": stats}))
    assert ratio == pytest.approx((log_joint - log_guide).ravel())
    weights, khat = smooth(ratio)
    assert weights.sum() == pytest.approx(1) and 0 < khat < 0.7
    body = np.argsort(ratio)[:500]
    assert np.ptp(np.log(weights[body]) - ratio[body]) < 1e-9


def a_reference(**attributes: Any) -> Sampled:
    draws = np.random.default_rng(12).normal(size=(4, 50, 1))
    tree = build({"z": draws}, {"diverging": np.zeros((4, 50), bool), "energy": np.zeros((4, 50))}, {})
    tree.attrs.update(attributes)
    return Sampled(Fit(a_job(1, "reference"), "done", tree=tree), "a long run")


def test_what_is_said_of_the_evidence_is_how_it_is_known():
    """With its own error and tolerance, or why there is none, word for word."""
    bridge = {"log_evidence": -3.5, "log_evidence_mcse": 0.25, "log_evidence_method": "a bridge"}
    lost = "not known{}; the posterior is, by a reference: a long run"
    exact = SimpleNamespace(log_evidence=-2.25, method="closed form", tolerance=0.125)
    for truth, expected in (
        (None, (None, None, "not known, and the reference was not made")),
        (a_reference(), (None, None, lost.format(""))),
        (a_reference(no_log_evidence="too far"), (None, None, lost.format(" (bridge sampling: too far)"))),
        (a_reference(**bridge), (-3.5, 0.25, "a bridge", 0.0, False)),
        (exact, (-2.25, 0.0, "closed form", 0.125, True)),
        (an_estimate(), (-2.0, 0.1, an_estimate().method, an_estimate().tolerance, False)),
    ):
        assert evidence(truth) == Evidence(*expected)
        assert evidence(truth, ["b", "a"]) == Evidence(None, None, "not defined: improper prior on b, a")


@pytest.mark.parametrize(("correlation", "larger"), [(0.0, "mean"), (-0.4, "sd")])
def test_a_references_errors_are_what_its_moments_vary_by(correlation, larger):
    """Of mean and sd of 150 references of 400 draws; of antithetic ones, as NUTS makes them of a Gaussian, the sd's
    error is the larger."""
    steps = math.sqrt(1 - correlation**2) * np.random.default_rng(13).normal(size=(150, 4, 200, 1))
    walks, scores, errors = signal.lfilter([1.0], [1.0, -correlation], steps, axis=2)[:, :, 100:], [], []
    for draws in walks:
        tree = build({"z": draws}, {"energy": np.zeros((4, 100))}, {})
        truth = Sampled(Fit(a_job(1, "reference"), "done", tree=tree), "NUTS")
        errors.append(truth.errors("z", (0,)))
        scores.append(np.array([truth.mean()["z"][0], truth.sd()["z"][0] - 1]) / errors[-1])
    assert (np.diff(np.mean(errors, axis=0)) > 0) == (larger == "sd")
    for known in np.transpose(scores):
        sd = np.std(known**2, ddof=1) / math.sqrt(len(known))
        assert abs(np.mean(known**2) - 1) < ERRORS * sd
        assert sd < 0.18


def an_estimate() -> Estimated:
    """A posterior of three elements that is known within standard errors, no two of which are equal."""
    elements = tuple(("z", (place,)) for place in range(3))
    moments = np.array([[1.0, 2.0, 3.0], [0.5, 2.0, 0.7], [0.011, 0.13, 0.017], [0.019, 0.023, 0.29]])
    points = np.zeros((5, 3))
    table = Tabulated("a way", False, -2.0, 0.1, elements, *moments, points, {"z": points}, np.full(5, 0.2))
    return Estimated(table, {"z": (3,)}, "coin", "numpyro", {})


@pytest.mark.parametrize("shown", [3, 1])
def test_the_truths_own_errors_are_part_of_a_distances(shown):
    """Of each moment its own, of elements that are printed and of those that are not."""
    truth, draws = an_estimate(), np.random.default_rng(14).normal(size=(4, 500, 3))
    fit = a_fit(draws, "svi")
    for place, (name, judged) in enumerate(measure(hide(fit, shown), truth, None).judged.items()):
        values, table = draws[..., place], truth.table
        own = values.std(ddof=1) / math.sqrt(values.size)
        of_sd = ((values - values.mean()) ** 2).std(ddof=1) / math.sqrt(values.size) / (2 * values.std(ddof=1))
        mean, ratio = table.mean_error[place], values.std(ddof=1) / table.sd[place] * table.sd_error[place]
        assert name == f"z[{place}]"
        assert judged.mean_error == pytest.approx((values.mean() - table.mean[place]) / table.sd[place], rel=1e-6)
        assert judged.mcse_mean_error == pytest.approx(math.hypot(own, mean) / table.sd[place], rel=1e-5)
        assert judged.mcse_sd_ratio == pytest.approx(math.hypot(of_sd, ratio) / table.sd[place], rel=1e-5)


def test_relative_ess_is_that_of_the_weights():
    log_ratio = np.random.default_rng(10).normal(size=(4, 500))
    weights = np.exp(log_ratio)
    diagnostics = measure(
        a_fit(np.zeros((4, 500, 1)) + log_ratio[:, :, None], "svi", log_ratio), None, None
    ).diagnostics
    assert diagnostics.relative_ess == pytest.approx(1 / (1 + weights.var() / weights.mean() ** 2), rel=1e-5)
    equal = measure(a_fit(np.random.default_rng(1).normal(size=(4, 500, 1)), "svi"), None, None).diagnostics
    assert (equal.khat, equal.relative_ess) == (None, 1.0)


def test_moments_and_quantiles_are_those_of_the_draws():
    draws = np.random.default_rng(1).gamma(3.0, size=(4, 500, 2))
    truth = a_truth(2)
    truth.mean, truth.sd = lambda: {"z": np.array([3.0, 2.0])}, lambda: {"z": np.array([2.0, 4.0])}
    variables = numbers(a_fit(draws, "svi"), truth, None)["variables"]
    assert list(variables) == ["z[0]", "z[1]"]
    for position, (true_mean, true_sd) in enumerate([(3.0, 2.0), (2.0, 4.0)]):
        flat, row = draws[:, :, position].ravel(), variables[f"z[{position}]"]
        assert row["mean"] == pytest.approx(np.mean(flat), rel=REPORTED)
        assert row["sd"] == pytest.approx(np.std(flat, ddof=1), rel=REPORTED)
        for name, probability in (("q2.5", 0.025), ("median", 0.5), ("q97.5", 0.975)):
            assert row[name] == pytest.approx(np.quantile(flat, probability), rel=REPORTED)
        assert row["mean_error"] == pytest.approx((np.mean(flat) - true_mean) / true_sd, rel=1e-8)
        assert row["sd_ratio"] == pytest.approx(np.std(flat, ddof=1) / true_sd, rel=REPORTED)
        assert row["mcse_mean"] == pytest.approx(np.std(flat, ddof=1) / math.sqrt(flat.size), rel=1e-5)


@pytest.mark.parametrize("method", ["svi", "nuts"])
def test_errors_of_independent_draws_are_calibrated(method):
    """Over 200 elements, mean and sd miss the truth by as much as their standard errors say."""
    draws = np.random.default_rng(2).normal(size=(4, 500, 200))
    variables = numbers(a_fit(draws, method), a_truth(200), None)["variables"].values()
    assert mean_square_is_one(np.array([row["mean"] / row["mcse_mean"] for row in variables]))
    assert mean_square_is_one(np.array([(row["sd"] - 1) / row["mcse_sd"] for row in variables]))


def test_errors_of_correlated_chains_are_larger_and_calibrated():
    """With memory 0.9 the variance of a mean is 19 times that of independent draws."""
    memory, count = 0.9, 100
    draws = autoregression(np.random.default_rng(3), (4, 2000, count), memory)
    chains = numbers(a_fit(draws), a_truth(count), None)["variables"].values()
    naive = numbers(a_fit(draws, "svi"), a_truth(count), None)["variables"].values()
    inflation = np.array([(a["mcse_mean"] / b["mcse_mean"]) ** 2 for a, b in zip(chains, naive, strict=True)])
    assert inflation.min() > 1
    assert mean_square_is_one(np.array([row["mean"] / row["mcse_mean"] for row in chains]), allowance=0.1)
    assert mean_square_is_one(np.array([(row["sd"] - 1) / row["mcse_sd"] for row in chains]), allowance=0.1)
    assert not mean_square_is_one(np.array([row["mean"] / row["mcse_mean"] for row in naive]), allowance=0.1)


@pytest.mark.parametrize("method", ["svi", "nuts"])
@pytest.mark.parametrize("rho", [0.0, 0.5, -0.95])
def test_errors_of_correlations_are_calibrated(method, rho):
    pairs, memory = 150, 0.0 if method == "svi" else 0.7
    rng = np.random.default_rng(4)
    first, other = (autoregression(rng, (4, 1000, pairs), memory) for _ in range(2))
    draws = np.empty((4, 1000, 2 * pairs))
    draws[:, :, ::2], draws[:, :, 1::2] = first, rho * first + math.sqrt(1 - rho**2) * other
    truth = {f"z[{2 * pair}],z[{2 * pair + 1}]": rho for pair in range(pairs)}
    correlations = numbers(a_fit(draws, method), a_truth(2 * pairs, truth), None)["correlations"]
    assert set(correlations) == set(truth) and all(row["truth"] == rho for row in correlations.values())
    scores = np.array([(row["value"] - rho) / row["mcse"] for row in correlations.values()])
    assert mean_square_is_one(scores, allowance=0.0 if method == "svi" else 0.1)
    row = correlations["z[0],z[1]"]
    assert row["value"] == pytest.approx(
        np.corrcoef(draws[:, :, 0].ravel(), draws[:, :, 1].ravel())[0, 1], abs=10 * REPORTED
    )


@pytest.mark.parametrize("shape", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("sign", [1, -1])
def test_khat_is_the_shape_of_the_weights_tail(shape, sign):
    """Weights exp(k E), E exponential, have a Pareto tail of shape k; their inverses have no tail at all.

    The estimate from the largest 3 sqrt(count) weights has standard error (1 + k) / sqrt(3 sqrt(count)).
    """
    count = 1_000_000
    log_ratio = sign * shape * np.random.default_rng(5).exponential(size=(4, count // 4))
    draws = np.random.default_rng(6).normal(size=(4, count // 4, 1))
    khat = numbers(a_fit(draws, "svi", log_ratio), a_truth(1), None)["diagnostics"]["khat"]
    error = (1 + shape) / math.sqrt(3 * math.sqrt(count))
    assert ERRORS * error < 0.15
    if sign == 1:
        assert abs(khat - shape) < ERRORS * error
    else:
        assert khat < 0


def test_equal_weights_have_no_khat_and_chains_have_no_ledger():
    draws = np.random.default_rng(7).normal(size=(4, 250, 1))
    assert numbers(a_fit(draws, "svi"), a_truth(1), None)["diagnostics"]["khat"] is None
    chains = numbers(a_fit(draws), a_truth(1), None)
    assert set(chains["ledger"].values()) == {None}
    diagnostics = chains["diagnostics"]
    assert diagnostics["khat"] is None and diagnostics["divergences"] == 0
    assert 0.99 < diagnostics["r_hat"] < 1.02 and diagnostics["ess_bulk"] > 500


def test_diagnostics_are_the_worst_of_all_elements_and_chains():
    """The smallest ESS of either kind, the largest R-hat and the smallest E-BFMI; none where nothing was recorded."""
    draws = autoregression(np.random.default_rng(8), (4, 300, 2), 0.6)
    draws[0, :, 1] += 0.5
    fit = a_fit(draws)
    energy = fit.tree["sample_stats"]["energy"].values
    energy[2] = np.cumsum(energy[2])
    fit.tree["sample_stats"]["diverging"].values[1, 5:8] = True
    known = diagnostics(fit)
    each = [draws[..., place] for place in range(2)]
    worst = max(float(arviz_stats.rhat(z)) for z in each), min(float(arviz_stats.ess(z, method="bulk")) for z in each)
    assert (known.r_hat, known.ess_bulk) == pytest.approx(worst, rel=1e-7)
    tails = [float(arviz_stats.ess(z, method="tail", prob=(0.05, 0.95))) for z in each]
    assert known.ess_tail == pytest.approx(min(tails), rel=1e-7) and known.ess_tail != known.ess_bulk
    assert known.e_bfmi == pytest.approx(min(arviz_stats.bfmi(energy)), rel=1e-7) and known.e_bfmi < 0.1
    assert (known.divergences, known.transitions, known.khat) == (3, 1200, None)
    bare = fit.tree.copy()
    bare["sample_stats"] = DataTree(bare["sample_stats"].dataset.drop_vars(["diverging", "energy"]))
    silent = diagnostics(replace(fit, tree=bare))
    assert (silent.divergences, silent.e_bfmi, silent.ess_tail) == (None, None, known.ess_tail)
    assert silent.transitions is None


def test_where_an_optimiser_ended_is_by_its_own_account():
    fit = a_fit(np.zeros((2, 4, 1)), "svi")
    end = fit.tree["optimisation"].attrs
    end.update(gap=0.123456789, gap_mcse=0.00123456789, tolerance=0.02, converged=0, reason="its budget ended")
    known = optimisation(fit)
    assert known == Optimisation(Estimate(0.123457, 0.00123457), 0.02, False, 1, "its budget ended")
    end.update(
        log_evidence_at_mode=-3.25, objective=-1.5, objective_mcse=0.0123456789, converged=1, reason="", sweeps=17
    )
    known, mode = optimisation(fit), Estimate(-1.5, 0.0123457)
    assert known == Optimisation(Estimate(0.123457, 0.00123457), 0.02, True, 17, None, -3.25, mode)
    del end["sweeps"]
    end.update(epochs=40, gap=math.nan)
    assert (optimisation(fit).steps, optimisation(fit).gap) == (40, None)
    assert optimisation(a_fit(np.zeros((2, 4, 1)))) is None


def test_chains_that_disagree_show_in_r_hat_and_ess():
    draws = np.random.default_rng(8).normal(size=(4, 250, 3))
    draws[0, :, 1] += 3
    diagnostics = numbers(a_fit(draws), a_truth(3), None)["diagnostics"]
    assert diagnostics["r_hat"] > 1.2 and diagnostics["ess_bulk"] < 50


@pytest.mark.parametrize(("status", "reason"), [("failed", "NaN"), ("skipped", "too large")])
def test_what_was_not_made_has_every_key_and_no_number(status, reason):
    summary = numbers(Fit(a_job(2, "svi"), status, reason), a_truth(2), None)
    assert (summary["status"], summary["reason"]) == (status, reason)
    assert all(set(row.values()) == {None} for row in summary["variables"].values())
    assert set(summary["ledger"].values()) == set(summary["diagnostics"].values()) == {None}
