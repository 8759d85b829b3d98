"""Verdicts that know no truth: their estimates against closed forms, and what they make of right and wrong."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from conftest import IN_NUMPYRO, layout
from scipy import stats
from xarray import DataTree

import models
from compare.comparison import Fit, Job, Request
from compare.fit import run
from compare.fit.tree import build, split
from compare.measure.measures import measure
from compare.options import Options
from compare.pipeline import compare
from compare.summary import Distance, Estimate, VariableSummary
from compare.verdict.thresholds import THRESHOLDS
from compare.verdict.without_truth import Weighed, assess, decide, own_distance, weigh
from models.chain import Chain

CHAIN = Chain(1)
"""z ~ N(0, 1), x ~ N(z, 1), x = 1: the posterior is N(1/2, 1/2)."""


def guide(mean: float, sd: float, count: int = 4096, seed: int = 3) -> Fit:
    """A made-up Gaussian guide of the chain of one node."""
    z = stats.norm.rvs(mean, sd, count, random_state=np.random.default_rng(seed))
    log_joint = stats.norm.logpdf(z) + stats.norm.logpdf(1.0, z)
    log_guide = stats.norm.logpdf(z, mean, sd)
    statistics = {"log_prior": stats.norm.logpdf(z), "log_joint": log_joint, "log_guide": log_guide}
    end = {
        "elbo": 0.0,
        "elbo_mcse": 1.0,
        "gap": 0.0,
        "gap_mcse": 0.0,
        "tolerance": 0.01,
        "converged": 1,
        "reason": "",
    }
    steps = {"elbo": np.zeros(2), "elbo_mcse": np.zeros(2), "gradients": np.arange(2)}
    tree = build(split({"z": z[:, None]}), split(statistics), layout(CHAIN).observed, None, steps, end)
    return Fit(Job("made-up", "chain", CHAIN, "svi", "numpyro", "mean_field"), "done", None, 0.0, 0, tree)


@pytest.mark.parametrize(("shift", "ratio"), [(0.0, 1.0), (0.5, 1.0), (0.0, 1.3), (-0.3, 0.9)])
def test_reweighted_draws_find_the_errors_of_a_guide(shift, ratio):
    """Mean error, sd ratio and evidence within 4 of their errors of the closed form."""
    sd = math.sqrt(0.5)
    weighed_fit = weigh(guide(0.5 + shift * sd, ratio * sd))
    mean, sd_ratio = weighed_fit.distances["z[0]"].mean_error, weighed_fit.distances["z[0]"].sd_ratio
    evidence = stats.norm.logpdf(1.0, 0.0, math.sqrt(2.0))
    assert abs(mean.value - shift) <= 4 * mean.mcse + 1e-9
    assert abs(sd_ratio.value - ratio) <= 4 * sd_ratio.mcse + 1e-9
    assert abs(weighed_fit.evidence.value - evidence) <= 4 * weighed_fit.evidence.mcse + 1e-9


def test_the_errors_of_the_estimates_are_what_they_vary_by():
    """Over 400 sets of draws the sd of an estimate is its mean error, within 4 standard errors of an sd."""
    rng, distances = np.random.default_rng(8), []
    for _ in range(400):
        z = rng.normal(0.2, 0.9, 1000)
        weights = np.exp(stats.norm.logpdf(z) - stats.norm.logpdf(z, 0.2, 0.9))
        distances.append(own_distance(3 * z + 5, weights / weights.sum()))  # of any unit
    for name in ("mean_error", "sd_ratio"):
        values = np.array([getattr(distance, name).value for distance in distances])
        errors = np.array([getattr(distance, name).mcse for distance in distances])
        kurtosis = stats.kurtosis(values, fisher=False)
        allowed = 4 * math.sqrt((kurtosis - 1) / (4 * len(values)))
        assert abs(values.std(ddof=1) / np.sqrt(np.mean(errors**2)) - 1) < allowed


def test_an_error_is_that_of_the_draws_influences():
    """The infinitesimal jackknife: each draw's part is what a little more of it changes; to a thousandth."""
    count, step = 120, 1e-7
    z = np.random.default_rng(4).normal(0.2, 0.9, count)
    ratio = stats.norm.logpdf(z) - stats.norm.logpdf(z, 0.2, 0.9)
    x = 2 * z + 5

    def estimates_of(share: np.ndarray) -> np.ndarray:
        weight = share * np.exp(ratio)
        own, mean = share @ x, weight @ x / weight.sum()
        spread = share @ (x - own) ** 2, weight @ (x - mean) ** 2 / weight.sum()
        evidence = math.log(weight.sum())
        return np.array(
            [(own - mean) / spread[1] ** 0.5, (spread[0] / spread[1]) ** 0.5, evidence, evidence - share @ ratio]
        )

    equal = np.full(count, 1 / count)
    more = [estimates_of((1 - step) * equal + step * draw) for draw in np.eye(count)]
    errors = (np.array(more) - estimates_of(equal)).std(axis=0) / step / math.sqrt(count)
    weights = np.exp(ratio) / np.exp(ratio).sum()
    apart = own_distance(x, weights)
    assert [apart.mean_error.mcse, apart.sd_ratio.mcse] == pytest.approx(errors[:2], rel=1e-3)
    fit = guide(0.2, 0.9, count, 4)
    prior = stats.norm.logpdf(z).reshape(fit.tree["sample_stats"]["log_joint"].shape)
    fit.tree["sample_stats"]["log_joint"].values[:] = prior
    known = weigh(fit)
    np.testing.assert_allclose(fit.tree["posterior"]["z"].values.ravel(), z)
    assert [known.evidence.value, known.gap.value] == pytest.approx(estimates_of(equal)[2:], rel=1e-9)
    assert [known.evidence.mcse, known.gap.mcse] == pytest.approx(errors[2:] * math.sqrt(count / (count - 1)), rel=1e-3)


def test_equal_weights_find_no_error_and_have_none():
    z = np.random.default_rng(0).normal(size=100)
    for draws in (z, np.full(100, 0.3)):
        assert own_distance(draws, np.full(100, 0.01)) == Distance(Estimate(0.0), Estimate(1.0))
    still = own_distance(np.full(100, 0.3), np.arange(100) / 4950)
    assert still == Distance(Estimate(0.0), Estimate(1.0))


def test_the_errors_of_evidence_and_gap_are_what_they_vary_by():
    """Over 80 sets of 256 draws, and both are right: their noise is partly the same, and the gap's is the smaller."""
    mean, sd, known, fits = 0.7, 0.6, layout(CHAIN), []
    for seed in range(80):
        fit = guide(mean, sd, 256, seed)
        fits.append(weigh(replace(fit, job=replace(fit.job, layout=known))))
    evidence = stats.norm.logpdf(1.0, 0.0, math.sqrt(2.0))
    gap = 0.5 * (sd**2 / 0.5 + (mean - 0.5) ** 2 / 0.5 - 1 - math.log(sd**2 / 0.5))  # KL(q, posterior)
    for name, right in (("evidence", evidence), ("gap", gap)):
        values, errors = np.array([(each.value, each.mcse) for each in (getattr(fit, name) for fit in fits)]).T
        allowed = 4 * math.sqrt((stats.kurtosis(values, fisher=False) - 1) / (4 * len(values)))
        assert abs(values.std(ddof=1) / np.sqrt(np.mean(errors**2)) - 1) < allowed
        assert abs(values.mean() - right) < 4 * values.std() / math.sqrt(len(values)) + 1e-3  # a logarithm's bias


@pytest.mark.parametrize(
    ("shift", "ratio", "word"), [(0, 1, "agrees"), (0.6, 1, "off"), (0, 1.4, "wide"), (0, 0.8, "narrow")]
)
def test_words_for_made_up_guides(shift, ratio, word):
    fit = guide(0.5 + shift * math.sqrt(0.5), ratio * math.sqrt(0.5))
    assert assess(fit, measure(fit, None, None), None).word == word


def test_what_cannot_be_weighed_says_why():
    """Nothing of what is no guide; of others the reason, whether or not the optimiser arrived."""
    fit = guide(0.5, 0.7, 64)
    summary = measure(fit, None, None)
    assert assess(replace(fit, tree=None), summary, None) is None
    assert assess(fit, replace(summary, optimisation=None), None) is None
    for name, values, reason in (
        ("log_guide", None, "The guide has no density, and draws without one cannot be weighed."),
        ("log_joint", np.nan, "The log densities of some draws are not finite."),
    ):
        tree = fit.tree.copy(deep=True)
        statistics = tree["sample_stats"].dataset.drop_vars(name)
        if values is not None:
            statistics[name] = fit.tree["sample_stats"][name] * np.where(np.arange(16) == 3, values, 1.0)
        tree["sample_stats"] = DataTree(statistics)
        alone = assess(replace(fit, tree=tree), summary, None)
        assert (alone.word, alone.sentence, alone.by, alone.evidence) == ("undecided", reason, None, None)


def test_a_guide_that_has_not_arrived_is_weighed_all_the_same():
    fit = guide(0.5, 0.7)
    summary = measure(fit, None, None)
    for reason, says in ((None, "The optimiser has not arrived."), ("its budget ended", "Its budget ended.")):
        ended = replace(summary.optimisation, converged=False, reason=reason)
        alone, weights = assess(fit, replace(summary, optimisation=ended), None), weigh(fit)
        assert (alone.word, alone.sentence, alone.by) == ("not converged", says, None)
        assert (alone.evidence, alone.khat) == (weights.evidence, weights.khat)


def test_a_point_has_no_spread_whatever_the_truth():
    fit = guide(0.5, 0.7, 64)
    summary = measure(fit, None, None)
    still = {"z[0]": replace(summary.variables["z[0]"], sd=0.0)}
    point = replace(summary.optimisation, objective=Estimate(-1.0))
    for converged, word in ((True, "narrow"), (False, "not converged")):
        ended = replace(summary, variables=still, optimisation=replace(point, converged=converged))
        assert assess(fit, ended, None).word == word
    assert assess(fit, replace(summary, variables=still), None).word != "narrow"  # it has a bound


def test_evidence_and_khat_are_left_out_where_they_are_none():
    right, wrong = guide(0.5, math.sqrt(0.5)), guide(0.5, 0.7)
    assert assess(right, measure(right, None, None), None).khat is None  # all weights are equal
    improper = replace(wrong, job=replace(wrong.job, layout=replace(layout(CHAIN), improper=("z",))))
    assert assess(improper, measure(improper, None, None), None).evidence is None
    assert assess(wrong, measure(wrong, None, None), None).evidence is not None


def test_nuts_is_asked_by_its_moments():
    """Its mean is 4 joint errors and more away, in its own sds."""
    fit = guide(0.5, math.sqrt(0.5))
    summary = measure(fit, None, None)
    chains = VariableSummary(0.9, 0.5, mcse_mean=0.02, mcse_sd=0.03)
    others = {"z[0]": chains, "z[1]": chains}
    alone = assess(fit, summary, replace(summary, variables=others))
    own = summary.variables["z[0]"]
    assert (alone.word, alone.by) == ("off", "beside NUTS")
    assert alone.mean_error.value == pytest.approx((own.mean - 0.9) / 0.5, rel=1e-5)
    assert alone.mean_error.mcse == pytest.approx(math.hypot(own.mcse_mean, 0.02) / 0.5, rel=1e-5)
    assert alone.sd_ratio.value == pytest.approx(own.sd / 0.5, rel=1e-5)


def estimates(mean: float, ratio: float, error: float) -> dict[str, Distance]:
    return {"z": Distance(Estimate(mean, error), Estimate(ratio, error))}


def weighed(khat: float, relative_ess: float, gap: float = 0.0, ratio: float = 1.0) -> Weighed:
    """A guide that its weights find without fault, but for what is given."""
    return Weighed(estimates(0.0, ratio, 0.01), Estimate(-1.0, 0.01), Estimate(gap, 0.01), khat, relative_ess, 1)


def test_weights_that_cannot_be_trusted_leave_it_to_nuts():
    lost = weighed(1.2, 0.17)
    assert decide(lost, None, THRESHOLDS).word == "undecided"
    assert decide(lost, estimates(0.0, 0.5, 0.05), THRESHOLDS).word == "narrow"
    assert decide(lost, estimates(0.0, 1.0, 0.05), THRESHOLDS).word == "agrees"


def test_nuts_overrules_weights_that_have_not_seen_a_mode():
    blind = weighed(0.1, 0.99)
    assert decide(blind, None, THRESHOLDS).word == "agrees"
    overruled = decide(blind, estimates(2.0, 1.0, 0.05), THRESHOLDS)
    assert (overruled.word, overruled.by) == ("off", "beside NUTS")
    assert (overruled.mean_error, overruled.sd_ratio) == (Estimate(2.0, 0.05), Estimate(1.0, 0.05))


def test_an_elbo_far_below_the_evidence_is_a_fault_though_each_moment_passes():
    assert decide(weighed(0.5, 0.77, gap=0.01, ratio=0.93), None, THRESHOLDS).word == "agrees"
    verdict = decide(weighed(0.5, 0.77, gap=0.3, ratio=0.93), None, THRESHOLDS)
    assert verdict.word == "narrow" and "nats below" in verdict.sentence


@pytest.mark.parametrize("library", IN_NUMPYRO)
def test_every_guide_of_a_comparison_has_both_verdicts(library):
    """On a chain of ten: mean field is wrong and flagged, full rank is right and not."""
    request = Request(models.load("chain"), Chain(10), (library,), ("mean_field", "full_rank"), nuts=False)
    fits = compare(request).summaries
    assert fits["exact"].without_truth is None
    assert fits[f"{library}-mean_field"].without_truth.word not in ("agrees", "not converged")
    right = fits[f"{library}-full_rank"].without_truth
    assert right.word == "agrees"
    assert right.evidence.value == pytest.approx(models.load("chain").exact(Chain(10)).log_evidence, abs=1e-9)


def test_a_fit_that_has_not_converged_says_so():
    options = Options(optimiser="adam", steps=20)
    fit = run(Job("numpyro-mean_field", "chain", Chain(3), "svi", "numpyro", "mean_field", 0, options))
    assert assess(fit, measure(fit, None, None), None).word == "not converged"
