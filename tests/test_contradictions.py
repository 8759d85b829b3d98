"""Fits that contradict each other are evidence against both sides, where no posterior is exact."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

from compare import user_model
from compare.comparison import Fit, Request
from compare.fit import run
from compare.fit.tree import build
from compare.measure.measures import measure
from compare.measure.truth import evidence, find_truth
from compare.options import Options
from compare.pipeline import judge_all
from compare.plan import plan
from compare.summary import (
    Diagnostics,
    Estimate,
    Evidence,
    FitSummary,
    Ledger,
    Optimisation,
    VariableSummary,
    WithoutTruth,
)
from compare.verdict.contradictions import find_contradictions, holds
from compare.verdict.judge import judge
from compare.verdict.thresholds import R_HAT_SHORT

SD = 0.04
UNKNOWN = Evidence(None, None, "not known")
HEALTHY = Diagnostics(1.002, 4000.0, 4000.0, 0, 0.9)


def an_element(mean: float, sd: float = SD, at: float = 1.4, spread: float = SD, error: float = 0.0006):
    """An element, its distance from a reference with this mean and sd, and its quantiles."""
    distances = (mean - at) / spread, sd / spread, math.hypot(error, 0.0006) / spread, 0.01
    return VariableSummary(mean, sd, mean - 1.96 * sd, mean, mean + 1.96 * sd, error, error, *distances)


def a_fit(method: str, diagnostics: Diagnostics = HEALTHY, **x: Any) -> FitSummary:
    variables = {"x": an_element(**x), "scale": an_element(1.0, at=1.0)}
    return FitSummary("numpyro", None, method, "done", None, 1.0, 10, variables, diagnostics=diagnostics)


def a_guide(mean: float, elbo: float, converged: bool = True, method: str = "svi", **x: Any) -> FitSummary:
    ended = Optimisation(Estimate(0.001, 0.0003), 0.01, converged, 40, None if converged else "its budget ended")
    fit = a_fit(method, Diagnostics(khat=0.2, relative_ess=0.9), mean=mean, **x)
    return replace(fit, optimisation=ended, ledger=Ledger(elbo=Estimate(elbo, 0.01)))


def find(evidence: Evidence = UNKNOWN, **fits: FitSummary) -> tuple[str, ...]:
    return find_contradictions(fits, evidence, Options())


REFERENCE = a_fit("reference", mean=1.4)
BOTH = replace(REFERENCE, variables={**REFERENCE.variables, "x": VariableSummary(0.28, 1.35, -1.45, 1.37, 1.45)})
"""A reference in one of the modes at -1.4 and 1.4, and one that has both."""


@pytest.mark.parametrize(
    ("elbo", "further", "contradict"),
    [
        (-15.2, {}, True),
        (-12.3 - 3.06, {}, False),  # four errors of both are 0.057 nats
        (-12.3 - 3.04, {}, True),
        (-12.3, {"converged": False}, False),
        (-12.3, {"method": "amortised"}, False),
    ],
)
def test_guides_in_two_modes_with_near_elbos_contradict_a_reference_in_one(elbo, further, contradict):
    contradictions = find(first=a_guide(1.4, -12.3), second=a_guide(-1.4, elbo, **further), reference=REFERENCE)
    assert bool(contradictions) == contradict
    if contradict:
        (sentence,) = contradictions
        assert "two modes" in sentence and "x is at 1.4 (sd 0.04) in first and at -1.4 (sd 0.04) in second" in sentence


@pytest.mark.parametrize(("apart", "contradict"), [(3.9, False), (4.1, True)])
def test_guides_are_in_two_modes_where_twice_the_sum_of_their_sds_parts_them(apart, contradict):
    second = a_guide(1.4 - apart * SD, -12.3)
    assert bool(find(first=a_guide(1.4, -12.3), second=second, reference=REFERENCE)) == contradict


def test_a_reference_that_has_both_modes_is_contradicted_by_neither_guide():
    """By its 95% interval, and where that is not known by its sd: 5% of the mass makes it larger."""
    fits = {"first": a_guide(1.4, -12.3), "second": a_guide(-1.4, -12.7)}
    assert not find(**fits, reference=BOTH)
    blind = replace(BOTH.variables["x"], lower=None, upper=None)
    assert not find(**fits, reference=replace(BOTH, variables={**BOTH.variables, "x": blind}))
    alone = replace(REFERENCE.variables["x"], lower=None, upper=None)
    assert find(**fits, reference=replace(REFERENCE, variables={**REFERENCE.variables, "x": alone}))


@pytest.mark.parametrize(("errors", "contradict"), [(4.05, False), (4.15, True)])
def test_of_thirty_means_one_may_be_a_little_further_off(errors, contradict):
    """With the sds they are 60 comparisons, of which the largest is 4.1 errors off as seldom as one of 40 is 4."""
    many = {f"y[{place}]": an_element(1.0, at=1.0) for place in range(29)}
    error = 0.03 * SD
    x = replace(an_element(1.4 + errors * error), mcse_mean_error=error / SD)
    nuts, reference = (
        replace(fit, variables={"x": fit.variables["x"]} | many) for fit in (a_fit("nuts", mean=1.4), REFERENCE)
    )
    assert bool(find(nuts=replace(nuts, variables={"x": x} | many), reference=reference)) == contradict


def test_a_reference_that_failed_or_is_no_good_itself_is_contradicted_by_nothing():
    fits = {"first": a_guide(1.4, -12.3), "second": a_guide(-1.4, -12.3)}
    assert find(**fits, reference=REFERENCE)
    assert not find(**fits, reference=replace(REFERENCE, status="failed"))
    assert not find(**fits, reference=replace(REFERENCE, diagnostics=replace(HEALTHY, divergences=3)))


@pytest.mark.parametrize(
    ("quantiles", "low", "high"),
    [((None, None), 0.4641, 1.5359), ((0.8, 1.25), 0.7, 1.35), ((0.0, 2.0), 0.4641, 1.5359)],
)
def test_a_reference_may_hold_a_mode_within_its_interval_or_cantellis(quantiles, low, high):
    """Of mean 1 and sd 0.1 as far as sqrt(19) sds, or the 95% interval if that is shorter; two of the guide's sds."""
    reference = VariableSummary(1.0, 0.1, quantiles[0], 1.0, quantiles[1])
    for mean, is_held in ((low - 1e-4, False), (low + 1e-4, True), (high - 1e-4, True), (high + 1e-4, False)):
        assert holds(reference, VariableSummary(mean, 0.05)) == is_held


@pytest.mark.parametrize(("mean", "contradict"), [(1.4 + 0.0039, False), (1.4 + 0.0041, True), (-1.4, True)])
def test_nuts_with_another_mean_contradicts_the_reference(mean, contradict):
    """Beyond the tenth of an sd that is tolerated, and four joint errors, here 0.0034."""
    contradictions = find(nuts=a_fit("nuts", mean=mean), reference=REFERENCE)
    assert bool(contradictions) == contradict
    unclean = a_fit("nuts", replace(HEALTHY, divergences=3), mean=mean)
    assert not find(nuts=unclean, reference=REFERENCE)
    for r_hat in (1.049, 1.05):  # of so short chains 1.1 is chance, yet they have not mixed either
        short = a_fit("nuts", replace(HEALTHY, r_hat=r_hat, ess_bulk=70.0, r_hat_by_chance=1.1), mean=mean)
        assert bool(find(nuts=short, reference=REFERENCE)) == (contradict and r_hat < R_HAT_SHORT)
    vague = a_fit("nuts", mean=1.4 + 0.0041, error=0.002)
    assert not find(nuts=vague, reference=REFERENCE)


@pytest.mark.parametrize(("above", "contradict"), [(0.049, False), (0.051, True)])
def test_evidence_that_the_reference_does_not_support_contradicts_it(above, contradict):
    """By more than 0.05 nats, and four errors."""
    known = Evidence(-12.5, 0.001, "bridge sampling")
    assert bool(find(known, first=a_guide(1.4, -12.5 + above), reference=REFERENCE)) == contradict
    assert not find(replace(known, mcse=0.02), first=a_guide(1.4, -12.5 + above), reference=REFERENCE)
    by_draws = WithoutTruth("agrees", "It is.", evidence=Estimate(-12.5 + above, 0.001), khat=0.3)
    weighed = replace(a_guide(1.4, -13.0), without_truth=by_draws)
    assert bool(find(known, first=weighed, reference=REFERENCE)) == contradict
    unfit = replace(weighed, without_truth=replace(by_draws, khat=0.8))
    assert not find(known, first=unfit, reference=REFERENCE)


def test_an_exact_posterior_is_contradicted_by_nothing():
    fits = {"first": a_guide(1.4, -12.3), "second": a_guide(-1.4, -12.3), "nuts": a_fit("nuts", mean=-1.4)}
    assert not find(**fits, exact=a_fit("exact", mean=1.4))


def test_whatever_rests_on_a_contradicted_reference_is_unreliable():
    fits = {"reference": REFERENCE, "first": a_guide(1.4, -12.3), "second": a_guide(-1.4, -12.4)}
    contradictions = find(**fits)
    for fit in fits.values():
        assert judge(fit, Options(), {}, REFERENCE).word in ("agrees", "off")
        verdict = judge(fit, Options(), {}, REFERENCE, contradictions)
        assert verdict.word == "unreliable" and "two modes" in verdict.sentence
    skipped = replace(fits["second"], status="skipped", reason="it takes too long")
    assert judge(skipped, Options(), {}, REFERENCE, contradictions).word == "skipped"


def squares(y):
    """Two modes, at about -1.37 and 1.37: the data know x^2 alone."""
    x = numpyro.sample("x", dist.Normal(0.15, 1))
    numpyro.sample("y", dist.Normal(x**2, 0.5), obs=y)


def test_guides_that_ended_in_two_modes_expose_a_reference_in_one():
    """The fits are real, the reference is what chains that began in one mode give."""
    rng = np.random.default_rng(3)
    own = user_model.register(squares, None, None)
    data = user_model.data_of(own, {"y": 1.4**2 + 0.5 * rng.normal(size=20)})
    jobs = plan(Request(own.model, data, ("numpyro",), ("mean_field", "full_rank"), nuts=False, seed=0))
    shape = 4, 1000
    stats = {"diverging": np.zeros(shape, bool), "energy": rng.normal(size=shape)}
    tree = build({"x": rng.normal(1.372, 0.041, shape)}, stats, {})
    fits = {job.name: Fit(job, "done", None, 1.0, 1, tree) if job.method == "reference" else run(job) for job in jobs}
    truth = find_truth(own.model, data, fits)
    summaries = {name: measure(fit, truth, None) for name, fit in fits.items()}
    means = [summaries[f"numpyro-{family}"].variables["x"].mean for family in ("mean_field", "full_rank")]
    assert means[0] * means[1] < 0, "another seed would put the guides into two modes"
    judged = judge_all(fits, summaries, {}, evidence(truth), Options())
    assert [summary.verdict.word for summary in judged.values()] == ["unreliable"] * 3
    assert all("There are two modes" in summary.verdict.sentence for summary in judged.values())
    alone = {name: summaries[name] for name in ("reference", "numpyro-full_rank")}
    assert judge_all(fits, alone, {}, evidence(truth), Options())["reference"].verdict.word == "agrees"
