"""A fit that ended below a member of its own family: its family gap is not what it missed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compare.options import Options
from compare.summary import Estimate, FitSummary, Ledger, Optimisation, VariableSummary
from compare.verdict.judge import judge
from compare.verdict.members import beside_members

OPTIONS = Options()


def a_fit(guide: str, elbo: float, method: str = "svi", library: str = "numpyro", converged: bool = True) -> FitSummary:
    """A fit of a posterior whose log evidence is -7; its own estimate is that it has arrived."""
    gap, left = Estimate(-7.0 - elbo, 0.01), Estimate(0.001, 0.0003)
    ledger = Ledger(Estimate(elbo, 0.01), evidence_gap=gap, family_gap=Estimate(gap.value - left.value, 0.01))
    element = VariableSummary(0.0, 1.0, -2.0, 0.0, 2.0, 0.01, 0.01, -3.0, 1.0, 0.02, 0.02)
    ended = Optimisation(left, 0.01, converged, 10, None if converged else "its budget ended")
    fit = FitSummary(library, guide, method, "done", None, 1.0, 10, {"x": element}, optimisation=ended)
    return replace(fit, ledger=replace(ledger, optimisation_gap=left))


def test_a_member_of_its_family_shows_that_a_fit_ended_at_another_optimum():
    fits = {"mean": a_fit("mean_field", -8.0), "full": a_fit("full_rank", -14.0), "low": a_fit("low_rank", -8.0)}
    judged = beside_members(fits, OPTIONS)
    assert judged["mean"] == fits["mean"] and judged["low"] == fits["low"]
    ledger = judged["full"].ledger
    assert ledger.optimisation_gap.value == pytest.approx(6) and ledger.family_gap.value == pytest.approx(1)
    verdict = judge(judged["full"], OPTIONS)
    assert verdict.word == "off" and "at an optimum 6 ± 0.01 nats below the best" in verdict.sentence
    assert "the family holds better members" in verdict.sentence
    assert "the family cannot hold this posterior" in judge(fits["full"], OPTIONS).sentence


@pytest.mark.parametrize(
    "other",
    [
        a_fit("full_rank", -8.0),
        a_fit("mean_field", -8.0, library="pyro"),
        a_fit("mean_field", -8.0, method="amortised"),
        a_fit("flow", -8.0),
        a_fit("mean_field", -13.96),
    ],
)
def test_fits_of_other_families_and_what_errors_explain_change_nothing(other):
    full = a_fit("full_rank", -14.0)
    assert beside_members({"full": full, "other": other}, OPTIONS)["full"] == full


@pytest.mark.parametrize(("inner", "outer"), [("low_rank", "full_rank"), ("full_rank", "flow"), ("mean_field", "flow")])
def test_every_gaussian_is_a_member_of_the_richer_families(inner, outer):
    """And what the family costs is then known to be at most what the better member's costs."""
    fits = {"inner": a_fit(inner, -8.0), "outer": a_fit(outer, -14.0)}
    judged = beside_members(fits, OPTIONS)
    assert judged["outer"].ledger.optimisation_gap.value == pytest.approx(6) and judged["inner"] == fits["inner"]
    assert "family gap at most 1 " in judge(judged["outer"], OPTIONS).sentence
    assert "at most" not in judge(judged["outer"], OPTIONS, {outer: 1.0}).sentence


def test_the_highest_member_counts_and_one_at_the_mode_is_a_member():
    fits = {"full": a_fit("full_rank", -14.0), "mode": a_fit("laplace", -9.0), "mean": a_fit("mean_field", -8.0)}
    assert beside_members(fits, OPTIONS)["full"].ledger.optimisation_gap.value == pytest.approx(6)
    del fits["mean"]
    assert beside_members(fits, OPTIONS)["full"].ledger.optimisation_gap.value == pytest.approx(5)


def test_without_the_evidence_the_distance_to_the_member_is_known_all_the_same():
    full = a_fit("full_rank", -14.0)
    full = replace(full, ledger=Ledger(full.ledger.elbo))
    ledger = beside_members({"full": full, "mean": a_fit("mean_field", -8.0)}, OPTIONS)["full"].ledger
    assert ledger.optimisation_gap.value == pytest.approx(6) and ledger.family_gap is None
    unfinished = a_fit("full_rank", -14.0, converged=False)
    assert beside_members({"full": unfinished, "mean": a_fit("mean_field", -8.0)}, OPTIONS)["full"] == unfinished
