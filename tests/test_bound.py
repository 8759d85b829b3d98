"""An ELBO above the log evidence is no ELBO: guides whose objective passes for a bound."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import LIBRARIES
from test_verdict import ascent, guide
from xarray import Dataset, DataTree

from compare import check
from compare.measure.truth import Sampled, evidence
from compare.options import Options
from compare.summary import Estimate, Evidence, FitSummary, Ledger, to_json
from compare.verdict.bound import at_most, judge_bound
from compare.verdict.contradictions import find_contradictions
from compare.verdict.judge import judge
from compare.verdict.thresholds import rules

EXACT = Evidence(-2.0, 0.0, "quadrature", 1e-3, is_exact=True)
REFERENCE = Evidence(-2.0, 0.01, "bridge sampling")

SLOPE, SCALE = 0.6, np.sqrt(0.5 - 0.36)
PARAMS = {"loc": np.array(0.5)}
"""With these q(a), the auxiliary draw integrated out, is the posterior N(1/2, 1/2)."""


def of_ledger(fit: FitSummary, method: str = "guide", **terms: Estimate) -> FitSummary:
    return replace(fit, method=method, ledger=Ledger(elbo=Estimate(-1.0, 0.01), **terms))


@pytest.mark.parametrize("method", ["guide", "svi", "amortised", "coordinate_ascent"])
def test_an_elbo_above_an_exact_evidence_is_none_whatever_the_fit(method):
    """By more than four errors and the tolerance of the evidence: 0.041 nats here."""
    fit = ascent() if method == "coordinate_ascent" else guide()
    within, above = (of_ledger(fit, method, evidence_gap=Estimate(-gap, 0.01)) for gap in (0.0409, 0.0411))
    assert judge_bound(within, EXACT, Options()) is None
    verdict = judge_bound(above, EXACT, Options())
    assert verdict.word == "unreliable" and "Its ELBO is 0.041 ± 0.01 nats above the log evidence" in verdict.sentence
    assert "which no ELBO is" in verdict.sentence and "a wrong scale" in verdict.sentence
    assert ("auxiliary draws" in verdict.sentence) == (method == "guide")
    assert judge_bound(replace(above, status="failed"), EXACT, Options()) is None
    assert judge_bound(above, Evidence(None, None, "not known"), Options()) is None
    assert (judge_bound(above, REFERENCE, Options()) is not None) == (method == "guide")
    assert "its own ELBO is above the log evidence by more than 4 standard errors" in dict(rules())["unreliable"]


@pytest.mark.parametrize("method", ["exact", "reference", "importance"])
def test_what_stands_for_the_posterior_is_no_fit(method):
    assert judge_bound(of_ledger(guide(), method, evidence_gap=Estimate(-1.0, 0.01)), EXACT, Options()) is None


@pytest.mark.parametrize(("gap", "is_bound"), [(-0.0509, True), (-0.0511, False)])
def test_the_best_member_of_a_users_family_has_no_more_evidence_either(gap, is_bound):
    """By four errors and the 0.01 nats to which the optimiser aims, and the evidence's own 0.001."""
    fit = of_ledger(guide(), evidence_gap=Estimate(0.1, 0.01), family_gap=Estimate(gap, 0.01))
    verdict = judge_bound(fit, EXACT, Options())
    assert is_bound == (verdict is None)
    assert is_bound or "The ELBO of its family's best member is 0.051 ± 0.01 nats above" in verdict.sentence
    assert judge_bound(replace(fit, method="svi"), EXACT, Options()) is None


def written(library: str, how: str) -> tuple[Any, Any]:
    """A model with one Gaussian latent; a guide with an auxiliary draw and a factor, which is no density, or is one."""
    module, dist = import_module(library), import_module(f"{library}.distributions")

    def model(y):
        a = module.sample("a", dist.Normal(0.0, 1.0))
        module.sample("y", dist.Normal(a, 1.0), obs=y)

    def hierarchical(y):
        loc = module.param("loc", PARAMS["loc"] if library == "numpyro" else import_module("torch").tensor(0.5))
        xi = module.sample("xi", dist.Normal(0.0, 1.0), infer={"is_auxiliary": True})
        a = module.sample("a", dist.Normal(loc + SLOPE * xi, SCALE))
        reverse = dist.Normal((a - loc) * SLOPE / 0.5, SCALE / np.sqrt(0.5))
        factors = {"nothing": 0.0 * xi, "a little": -1e-6 * xi, "reverse": -reverse.log_prob(xi)}
        more = {} if library == "numpyro" else {"has_rsample": True}
        module.factor("f", factors[how], **more)

    return model, hierarchical


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_factor_that_no_draw_changes_is_no_reverse_density(library):
    model, hierarchical = written(library, "nothing")
    with pytest.raises(ValueError, match=r"draws 1 auxiliary numbers \(xi\) .* its ELBO no bound"):
        check(model, {"y": 1.0}, guide=hierarchical, params=PARAMS)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_guide_with_a_factor_is_judged_by_the_evidence(library):
    """Without r(xi | a) the ELBO lacks E[log r], the entropy of N(., SCALE^2 / 0.5): 1.419 - 0.636 nats above."""
    model, hierarchical = written(library, "a little")
    result = check(model, {"y": 1.0}, guide=hierarchical, params=PARAMS, budget=5)
    verdict, gap = result.verdict[f"{library}-hierarchical"], result.summary["fits"][f"{library}-hierarchical"]
    above = 0.5 * np.log(2 * np.pi * np.e) + np.log(SCALE / np.sqrt(0.5))
    gap = gap["ledger"]["evidence_gap"]
    assert abs(gap["value"] + above) < 4 * gap["mcse"] + 1e-4
    assert verdict.word == "unreliable" and f"Its ELBO is {-gap['value']:.2g}" in verdict.sentence
    model, hierarchical = written(library, "reverse")
    assert (
        check(model, {"y": 1.0}, guide=hierarchical, params=PARAMS).verdict[f"{library}-hierarchical"].word == "agrees"
    )


def test_the_evidence_is_exact_unless_a_reference_gives_it():
    """A quadrature is, to what it states; draws that stand in for the posterior are not, whatever error they claim."""
    model, hierarchical = written("numpyro", "reverse")
    known = check(model, {"y": 1.0}, guide=hierarchical, params=PARAMS).comparison.log_evidence
    assert known.is_exact and known.mcse == 0 and 0 < known.tolerance <= 1e-6
    assert known.value == pytest.approx(-0.25 - 0.5 * np.log(4 * np.pi), abs=known.tolerance)
    assert set(to_json(known)) == {"value", "mcse", "method"}
    attrs = {"log_evidence": -1.0, "log_evidence_mcse": 0.0, "log_evidence_method": "bridge sampling"}
    drawn = SimpleNamespace(tree=DataTree.from_dict({"posterior": Dataset()}))
    drawn.tree.attrs = attrs
    assert not evidence(Sampled(drawn, "NUTS")).is_exact


def test_a_reference_below_a_users_guide_is_not_alone_to_blame():
    reference = replace(guide(), method="reference", diagnostics=replace(guide().diagnostics, r_hat=1.0))
    fits = {
        "reference": replace(reference, diagnostics=replace(reference.diagnostics, ess_bulk=None)),
        "mine": replace(of_ledger(guide(), evidence_gap=Estimate(-1.0, 0.01))),
    }
    (text,) = find_contradictions(fits, REFERENCE, Options())
    assert "it misses mass, or the guide's ELBO is no bound" in text
    fits["mine"] = replace(fits["mine"], method="svi")
    (text,) = find_contradictions(fits, REFERENCE, Options())
    assert text.endswith("log evidence of the reference, which misses mass.")


def test_no_guide_is_further_from_its_optimum_than_from_the_evidence():
    stopped = guide(converged=False)  # 0.12 ± 0.0003 nats by a copy
    for most, is_beyond in ((0.11, True), (0.1147, True), (0.1149, False), (0.5, False)):  # four errors of both
        fit = of_ledger(stopped, evidence_gap=Estimate(most, 0.001))
        verdict = judge(fit, Options())
        assert verdict.word == "not converged"
        assert (f"at most {most:.2g} ± 0.001 nats from the optimum" in verdict.sentence) == is_beyond
        assert ("a copy that went on claims 0.12 ± 0.0003, which cannot be" in verdict.sentence) == is_beyond
    known = of_ledger(stopped, evidence_gap=Estimate(0.01))
    assert at_most(known)
    same = replace(known, optimisation=replace(known.optimisation, gap=Estimate(0.01)))
    assert at_most(same) == ""  # the same number, but for rounding, is no contradiction
    unknown = replace(known, optimisation=replace(known.optimisation, gap=None))
    assert [at_most(fit) for fit in (unknown, of_ledger(stopped), replace(known, method="svi"))] == ["", "", ""]
