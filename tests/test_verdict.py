"""Every verdict's word, on both sides of every threshold, from summaries written by hand."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import arviz_stats
import numpy as np
import pytest
from scipy.signal import lfilter

from compare.measure.diagnostics import r_hat_by_chance
from compare.options import Options
from compare.summary import (
    Diagnostics,
    Estimate,
    FitSummary,
    Ledger,
    Optimisation,
    VariableSummary,
    WithoutTruth,
)
from compare.verdict.judge import judge
from compare.verdict.thresholds import (
    DECISIVE_ESS,
    E_BFMI,
    ERRORS,
    MEAN,
    R_HAT_SHORTEST,
    RELATIVE_ESS,
    SPREAD,
    rules,
    widen,
)

SCHEMA = json.loads((Path(__file__).parents[1] / "compare/report/summary.schema.json").read_text(encoding="utf-8"))
WORDS = set(SCHEMA["$defs"]["fit"]["properties"]["verdict"]["properties"]["word"]["enum"])

TRUE_SD = 2.0
GAPS = {"mean_field": 0.5, "full_rank": 0.0, "markov": 0.4}


def an_element(
    mean_error: float = 0.0, sd_ratio: float = 1.0, mcse_mean: float = 0.02, mcse_sd: float = 0.01
) -> VariableSummary:
    """An element whose truth has mean 1 and sd 2; the errors are in its own units, as in the summary."""
    mean, sd = 1 + TRUE_SD * mean_error, TRUE_SD * sd_ratio
    interval = mean - 2 * sd, mean, mean + 2 * sd
    errors = mcse_mean / TRUE_SD, mcse_sd / TRUE_SD
    return VariableSummary(mean, sd, *interval, mcse_mean, mcse_sd, mean_error, sd_ratio, *errors)


def number(value: float | None, mcse: float = 0.0) -> Estimate | None:
    return None if value is None else Estimate(value, mcse)


def a_summary(method: str, status: Any = "done", **variables: VariableSummary) -> FitSummary:
    return FitSummary("numpyro", None, method, status, None, 1.0, 10, variables or {"theta": an_element()})


def chains(
    r_hat: float = 1.002,
    ess: tuple[float, float] = (812.0, 733.0),
    divergences: int = 0,
    e_bfmi: float = 0.9,
    transitions: int | None = None,
    r_hat_by_chance: float | None = None,
    **variables: VariableSummary,
) -> FitSummary:
    seen = {"transitions": transitions, "r_hat_by_chance": r_hat_by_chance}
    diagnostics = Diagnostics(r_hat, *ess, divergences, e_bfmi, **seen)
    return replace(a_summary("nuts", **variables), diagnostics=diagnostics)


def guide(
    converged: bool = True,
    family_gap: float | None = 0.5,
    khat: float | None = 0.3,
    family: str = "mean_field",
    **variables: VariableSummary,
) -> FitSummary:
    reason = None if converged else "its budget ended 0.12 ± 0.0003 nats short; give it a larger --budget"
    gap = Estimate(0.0021 if converged else 0.12, 0.0003)
    return replace(
        a_summary("svi", **variables),
        guide=family,
        diagnostics=Diagnostics(khat=khat),
        optimisation=Optimisation(gap, 0.01, converged, 40, reason),
        ledger=Ledger(family_gap=number(family_gap), optimisation_gap=number(0.0021)),
    )


def ascent(
    converged: bool = True, gap: float | None = 0.003, steps: int = 17, **variables: VariableSummary
) -> FitSummary:
    return replace(
        a_summary("coordinate_ascent", **variables),
        library=None,
        optimisation=Optimisation(number(gap), 1e-6, converged, steps, None),
        ledger=Ledger(family_gap=number(0.5), optimisation_gap=number(gap)),
    )


def verdict(summary: FitSummary, options: Options | None = None) -> tuple[str, str]:
    result = judge(summary, options or Options(), GAPS)
    assert result.word in WORDS
    assert result.sentence and "\n" not in result.sentence
    assert result.sentence[0] == result.sentence[0].upper()
    return result.word, result.sentence


def a_reference(**wrong: Any) -> FitSummary:
    good = Diagnostics(1.001, 4200.0, 3900.0, 0, 0.8)
    return replace(a_summary("reference"), diagnostics=replace(good, **wrong))


def test_a_reference_is_never_called_exact():
    judged = judge(a_reference(), Options())
    assert judged.word == "agrees"
    assert "not exact" in judged.sentence and "3900" in judged.sentence


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"r_hat": 1.011}, "R-hat is 1.011"),
        ({"ess_tail": 100.0, "r_hat": 1.1, "r_hat_by_chance": 1.2}, "R-hat is 1.100 (target: below 1.1)"),
        ({"divergences": 2}, "2 transitions diverged"),
        ({"e_bfmi": 0.2}, "E-BFMI is 0.200"),
    ],
)
def test_a_reference_whose_chains_contradict_each_other_convicts_nobody(wrong, words):
    """It is unreliable, and so is whatever is held against it, however good."""
    reference = a_reference(**wrong)
    own = judge(reference, Options())
    assert own.word == "unreliable" and words in own.sentence
    for fit in (guide(theta=an_element()), chains(theta=an_element())):
        assert judge(fit, Options(), {}, a_reference()).word == "agrees"
        judged = judge(fit, Options(), {}, reference)
        assert judged.word == "unreliable" and words in judged.sentence


@pytest.mark.parametrize("r_hat", [1.001, 1.049])
def test_a_short_reference_convicts_and_lets_no_guide_agree(r_hat):
    """With an ESS of 100 its means are known to 0.1 sd: half an sd is off, and a twentieth undecided."""
    reference = a_reference(r_hat=r_hat, ess_bulk=130.0, ess_tail=100.0, r_hat_by_chance=1.05)
    own = judge(reference, Options())
    assert own.word == "undecided" and "ESS of 400, 4 times as long, about 4 s" in own.sentence
    joint = TRUE_SD * math.hypot(0.1, 1 / 64)
    assert judge(guide(theta=an_element(0.5, mcse_mean=joint)), Options(), {}, reference).word == "off"
    assert judge(guide(theta=an_element(0.05, mcse_mean=joint)), Options(), {}, reference).word == "undecided"


@pytest.mark.parametrize(
    ("ratio", "share", "word"),
    [(13.0, 0.24, "wide"), (13.0, 0.4, "undecided"), (13.0, 0.8, "undecided"), (1.9, 0.2, "undecided")],
)
def test_an_sd_far_above_the_truth_convicts_by_the_share_that_its_error_has(ratio, share, word):
    """Its error is a share of itself: 13 times the truth, known to a quarter, is no chance, though 12 is 3.8 errors."""
    element = an_element(sd_ratio=ratio, mcse_sd=TRUE_SD * ratio * share)
    assert judge(guide(theta=element), Options()).word == word
    fit = replace(chains(ess=(300.0, 300.0), theta=element), method="draws")
    judged = judge(fit, Options())
    assert judged.word == word
    assert word != "wide" or f"{math.log(ratio) / share:.1f} standard errors away" in judged.sentence


def test_without_a_reference_nothing_is_said_of_the_others():
    reference = replace(a_reference(), status="failed", reason="its budget ended")
    judged = judge(guide(theta=an_element()), Options(), {}, reference)
    assert judged.word == "undecided" and "its budget ended" in judged.sentence
    alone = replace(guide(theta=an_element()), without_truth=WithoutTruth("wide", "The sd of theta is 1.3."))
    judged = judge(alone, Options(), {}, reference)
    assert judged.word == "undecided" and judged.sentence.endswith("By itself: wide. The sd of theta is 1.3.")
    stopped = judge(guide(converged=False, theta=an_element()), Options(), {}, reference)
    assert stopped.word == "not converged" and "nothing to compare it with" in stopped.sentence


def test_the_rules_cover_every_word_once():
    assert sorted(word for word, _ in rules()) == sorted(WORDS)
    assert all(rule for _, rule in rules())


@pytest.mark.parametrize("options", [Options(), Options(tolerance=0.25, r_hat=1.05, ess=123.0)])
def test_the_rules_state_the_targets_that_hold(options):
    stated = dict(rules(options))
    assert f"R-hat (below {options.r_hat:g}; where" in stated["unreliable"]
    assert (
        f"below {options.ess:g}, below what chance makes of chains as long and alike, {R_HAT_SHORTEST:g} at most"
        in stated["unreliable"]
        and f"below {options.ess:g};" in stated["undecided"]
    )
    assert f"({options.tolerance} nats)" in stated["not converged"]
    assert f"ESS is below {DECISIVE_ESS})" in stated["undecided"] and f"(at least {E_BFMI})" in stated["unreliable"]
    assert f"reaches {2 * MEAN:g} sd or {2 * SPREAD:.0%}" in stated["undecided"]
    assert f"more than {MEAN} posterior sd and {ERRORS} standard errors" in stated["off"]
    assert f"more than {SPREAD:.0%} and {ERRORS} standard errors" in stated["narrow"]


def test_the_truth_is_exact():
    assert verdict(a_summary("exact"))[0] == "exact"


@pytest.mark.parametrize("status", ["skipped", "failed"])
@pytest.mark.parametrize("method", ["svi", "nuts", "exact", "coordinate_ascent"])
def test_what_was_not_made_says_why(status, method):
    summary = a_summary(method, status, theta=VariableSummary())
    summary = replace(summary, reason="the log joint is NaN at theta = 0.5")
    word, sentence = verdict(summary)
    assert word == status and "the log joint is nan at theta = 0.5" in sentence.lower()


SHORT = {"ess": (900.0, 399.0), "r_hat_by_chance": 1.04}


@pytest.mark.parametrize(
    ("right", "wrong", "says"),
    [
        ({"r_hat": 1.0099}, {"r_hat": 1.01}, "R-hat is 1.010"),
        ({"r_hat": 1.0}, {"r_hat": float("nan")}, "R-hat is nan"),
        (SHORT | {"r_hat": 1.0399}, SHORT | {"r_hat": 1.0399, "ess": (900.0, 400.0)}, "R-hat is 1.040"),
        (SHORT | {"r_hat": 1.0399}, SHORT | {"r_hat": 1.04}, "(target: below 1.04)"),
        (
            SHORT | {"r_hat": 1.0099, "r_hat_by_chance": 1.001},
            SHORT | {"r_hat": 1.01, "r_hat_by_chance": 1.001},
            "1.01)",
        ),
        (SHORT | {"r_hat": 1.0999, "r_hat_by_chance": 1.2}, SHORT | {"r_hat": 1.1, "r_hat_by_chance": 1.2}, "1.1)"),
        (SHORT | {"r_hat": 1.0099}, SHORT | {"r_hat": 1.0101, "r_hat_by_chance": None}, "(target: below 1.01)"),
        ({"divergences": 0}, {"divergences": 1}, "1 transition diverged"),
        ({"e_bfmi": 0.3}, {"e_bfmi": 0.298}, "E-BFMI is 0.298 (target: at least 0.3)"),
        ({"e_bfmi": 0.3}, {"e_bfmi": float("nan")}, "E-BFMI is nan"),
    ],
)
def test_chains_that_contradict_each_other_are_unreliable(right, wrong, says):
    assert verdict(chains(**right))[0] == "agrees"
    word, sentence = verdict(chains(**wrong))
    assert word == "unreliable" and says in sentence


@pytest.mark.parametrize(("n_chains", "n_draws"), [(4, 300), (16, 100)])
def test_r_hat_of_short_chains_that_are_alike_is_allowed(n_chains, n_draws):
    """Each draw is 0.8 times the last one and noise: R-hat exceeds 1.05 by chance, and hardly ever what is allowed."""
    walks = slow_chains(200, n_chains, n_draws)
    r_hats = np.array([float(arviz_stats.rhat(walk)) for walk in walks])
    allowed = np.array([r_hat_by_chance(walk) for walk in walks])
    assert 1.06 < np.median(allowed) < 1.2
    assert np.mean(r_hats > 1.05) > 0.05 and np.mean(r_hats >= allowed) < 0.01


def slow_chains(*shape: int) -> np.ndarray:
    noise = np.random.default_rng(5).normal(size=(*shape[:-1], shape[-1] + 50))
    return lfilter([1.0], [1.0, -0.8], noise)[..., 50:]


@pytest.mark.parametrize("n_draws", [300, 600, 5000])
def test_chains_that_disagree_do_not_excuse_themselves(n_draws):
    """One of four is a posterior sd away: the ESS of all together is then as small as that of short chains."""
    draws = np.random.default_rng(6).normal(size=(4, n_draws))
    draws[0] += 0.9
    assert float(arviz_stats.ess(draws)) < 40 and 1.05 < float(arviz_stats.rhat(draws)) < R_HAT_SHORTEST
    assert r_hat_by_chance(draws) < 1.02


def test_chains_that_diverge_are_advised_shorter_steps_and_slow_ones_more_time():
    """Not those that are apart, which neither helps; and the rate named is the one that was asked for."""
    options = Options(acceptance=0.9)
    assert "Give it a higher --acceptance than 0.9" in judge(chains(divergences=3), options).sentence
    assert "Give it a larger --budget" in judge(chains(r_hat=1.2), options).sentence
    assert "--acceptance" not in judge(chains(r_hat=1.5, divergences=3), options).sentence


FEW = {"divergences": 12, "transitions": 1200}
BY_IMPORTANCE = replace(a_reference(), method="importance", diagnostics=Diagnostics())


@pytest.mark.parametrize(
    ("element", "word"),
    [
        (an_element(0.02, mcse_mean=0.02), "agrees"),
        (an_element(0.02, mcse_mean=0.1), "undecided"),
        (an_element(sd_ratio=0.97, mcse_sd=0.1), "undecided"),
        (an_element(0.4, mcse_mean=0.1), "off"),
        (an_element(sd_ratio=0.6), "narrow"),
    ],
)
def test_chains_of_which_a_few_transitions_diverged_are_judged_by_their_distance(element, word):
    """As a guide is: with four errors of 0.1 of 2, a mean 0.02 sd off could be 0.2 sd off."""
    for truth in (None, BY_IMPORTANCE):
        judged = judge(chains(**FEW, theta=element), Options(), {}, truth)
        assert judged.word == word and "12 of 1,200 transitions diverged" in judged.sentence
    assert verdict(chains(theta=element))[0] == ("agrees" if word == "undecided" else word)


@pytest.mark.parametrize("wrong", [{"divergences": 13}, {"r_hat": 1.02}, {"e_bfmi": 0.1}, {"transitions": None}])
def test_divergences_are_excused_only_in_chains_that_mix_and_where_they_are_few(wrong):
    assert verdict(chains(**FEW))[0] == "agrees"
    assert verdict(chains(**FEW | wrong))[0] == "unreliable"


def test_no_divergences_are_excused_beside_a_run_of_nuts():
    """Both may lack the same neck of a funnel, with shorter steps without a sign of it."""
    assert judge(chains(), Options(), {}, a_reference()).word == "agrees"
    assert judge(chains(**FEW), Options(), {}, a_reference()).word == "unreliable"


def test_all_that_is_wrong_with_chains_is_said():
    word, sentence = verdict(chains(1.2, (50.0, 20.0), 7, 0.1, theta=an_element(mean_error=3.0)))
    assert word == "unreliable"
    assert all(says in sentence for says in ("R-hat is 1.200", "7 transitions diverged", "E-BFMI is 0.100"))


def test_the_targets_of_chains_are_the_users():
    summary = chains(1.02, (900.0, 900.0))
    assert verdict(summary)[0] == "unreliable"
    assert verdict(summary, Options(r_hat=1.05))[0] == "agrees"
    short = chains(ess=(300.0, 300.0), theta=an_element(0.02, mcse_mean=0.12))
    assert verdict(short)[0] == "undecided"
    assert verdict(short, Options(ess=300))[0] == "agrees"


@pytest.mark.parametrize("sign", [1, -1])
def test_means_of_chains_are_judged_as_a_guide_s(sign):
    """Of an sd of 2, four errors of 0.02 are 0.04 sd, below the tenth; four of 0.06 are 0.12 sd."""
    assert verdict(chains(theta=an_element(sign * 0.0999)))[0] == "agrees"
    word, sentence = verdict(chains(a=an_element(), theta=an_element(sign * 0.1001)))
    assert word == "off" and f"the mean of theta is off by {sign * 0.1001:+.2f} posterior sd, 10.0 standard" in sentence
    assert "R-hat 1.002, ESS 733, no divergences" in sentence
    assert verdict(chains(theta=an_element(sign * 0.1199, mcse_mean=0.06)))[0] == "agrees"
    assert verdict(chains(theta=an_element(sign * 0.1201, mcse_mean=0.06)))[0] == "off"


@pytest.mark.parametrize(("sign", "wrong"), [(-1, "narrow"), (1, "wide")])
def test_sds_of_chains_are_judged_as_a_guide_s(sign, wrong):
    assert verdict(chains(theta=an_element(sd_ratio=1 + sign * 0.0999)))[0] == "agrees"
    word, sentence = verdict(chains(a=an_element(), theta=an_element(sd_ratio=1 + sign * 0.1001)))
    assert word == wrong
    assert f"the sd of theta is {1 + sign * 0.1001:.3f} of the truth, 20.0 standard errors away" in sentence
    assert verdict(chains(theta=an_element(sd_ratio=1 + sign * 0.1199, mcse_sd=0.06)))[0] == "agrees"
    assert verdict(chains(theta=an_element(sd_ratio=1 + sign * 0.1201, mcse_sd=0.06)))[0] == wrong


@pytest.mark.parametrize(("d", "e", "word"), [(0.02, 0.044, "agrees"), (0.02, 0.046, "undecided"), (0.3, 0.07, "off")])
def test_short_chains_are_what_the_evidence_says(d, e, word):
    """An ESS of 300 is below the target of 400: they agree where d + 4 e is below 0.2 sd, as a guide does."""
    short = chains(ess=(300.0, 350.0), theta=an_element(d, mcse_mean=e * TRUE_SD))
    verdict_word, sentence = verdict(short)
    assert verdict_word == word
    if word == "undecided":  # (0.046 / 0.045)^2 of the draws would do; what is asked for is a tenth more at least
        assert "an ESS of 330 instead of 300 (about 1.1 s, --budget) would decide it" in sentence


def test_draws_that_were_brought_are_not_told_of_a_budget():
    brought = replace(chains(ess=(300.0, 350.0), theta=an_element(0.02, mcse_mean=0.046 * TRUE_SD)), method="draws")
    word, sentence = verdict(brought)
    assert word == "undecided"
    assert "draws with an ESS of 330 instead of 300 would decide it" in sentence and "budget" not in sentence


def test_chains_that_agree_say_how_closely():
    word, sentence = verdict(chains(a=an_element(0.01), b=an_element(sd_ratio=0.99)))
    assert word == "agrees"
    assert "within 2.0 standard errors" in sentence and "ESS 733" in sentence


def test_a_guide_that_has_not_arrived_is_not_converged():
    bad = an_element(mean_error=2.0, sd_ratio=0.3)
    word, sentence = verdict(guide(converged=False, theta=bad))
    assert word == "not converged"
    assert sentence.endswith("0.12 ± 0.0003 nats short; give it a larger --budget.")
    assert "--steps" in verdict(guide(converged=False), Options(optimiser="adam"))[1]
    for family in ("laplace", "linear_response"):  # fits that Adam has no part in
        assert "--steps" not in verdict(guide(converged=False, family=family), Options(optimiser="adam"))[1]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_mean_is_off_beyond_a_tenth_of_an_sd_and_four_errors(sign):
    """With an error of 0.02, of an sd of 2, the tenth counts; with 0.06 four errors do, 0.12 sd."""
    assert verdict(guide(theta=an_element(sign * 0.0999)))[0] == "agrees"
    word, sentence = verdict(guide(a=an_element(), theta=an_element(sign * 0.1001)))
    assert word == "off"
    assert f"mean of theta is off by {sign * 0.1001:+.2f} posterior sd" in sentence
    assert "the optimiser arrived (0.002 ± 0.0003 nats short)" in sentence and "family gap 0.5 nats" in sentence
    assert verdict(guide(theta=an_element(sign * 0.119, mcse_mean=0.06)))[0] == "undecided"
    assert verdict(guide(theta=an_element(sign * 0.121, mcse_mean=0.06)))[0] == "off"


@pytest.mark.parametrize("far", [False, True])
def test_an_optimum_that_is_not_the_best_known_is_no_arrival(far):
    """On both sides of a tolerance of 0.01 and four errors of 0.001; the family, whose gap is less, is not blamed."""
    fit = guide(family_gap=0.005, theta=an_element(0.3))
    fit = replace(fit, ledger=replace(fit.ledger, optimisation_gap=Estimate(0.0141 if far else 0.0139, 0.001)))
    word, sentence = verdict(fit)
    assert word == "off" and ("the optimiser arrived" in sentence) is not far
    assert ("as it ended at an optimum 0.014 ± 0.001 nats below the best known:" in sentence) is far
    assert ("the family holds better members" in sentence) is far
    assert ("the family cannot hold this posterior" in sentence) is not far


@pytest.mark.parametrize(("sign", "wrong"), [(-1, "narrow"), (1, "wide")])
def test_an_sd_is_wrong_beyond_a_tenth_and_four_errors(sign, wrong):
    """With an error of 0.01, of an sd of 2, the tenth counts; with 0.06 four errors do, 0.12 of the true sd."""
    assert verdict(guide(theta=an_element(sd_ratio=1 + sign * 0.0999)))[0] == "agrees"
    ratio = 1 + sign * 0.1001
    word, sentence = verdict(guide(a=an_element(0.05), theta=an_element(sd_ratio=ratio)))
    assert word == wrong
    assert f"sd of theta is {ratio:.3f} of the truth" in sentence and "worst +0.05 sd" in sentence
    assert "family gap 0.5 nats" in sentence
    assert verdict(guide(theta=an_element(sd_ratio=1 + sign * 0.119, mcse_sd=0.06)))[0] == "undecided"
    assert verdict(guide(theta=an_element(sd_ratio=1 + sign * 0.121, mcse_sd=0.06)))[0] == wrong


@pytest.mark.parametrize("sign", [1, -1])
def test_a_guide_agrees_where_twice_the_tolerated_fault_would_have_shown(sign):
    """d + 4 e below 0.2 sd, or 20%: with an error of 0.04 sd, d below 0.04."""
    for near, far in (
        (an_element(sign * 0.0399, mcse_mean=0.08), an_element(sign * 0.0401, mcse_mean=0.08)),
        (an_element(sd_ratio=1 + sign * 0.0399, mcse_sd=0.08), an_element(sd_ratio=1 + sign * 0.0401, mcse_sd=0.08)),
    ):
        assert verdict(guide(a=an_element(), theta=near))[0] == "agrees"
        word, sentence = verdict(guide(a=an_element(), theta=far))
        assert word == "undecided" and "of theta is" in sentence and "would decide it" in sentence


def test_undecided_names_the_side_that_is_too_short():
    """The guide's 4,096 draws give an error of 1/64 sd, a reference with an ESS of 500 one of 0.045:
    at a distance of 0.1 sd errors of 0.025 sd would do, which is an ESS of 500 * (0.045 / 0.0195)^2."""
    own, theirs = TRUE_SD / 64, TRUE_SD / math.sqrt(500)
    element = an_element(0.1, mcse_mean=math.hypot(own, theirs))
    fit = guide(theta=replace(element, mcse_mean=own))
    judged = judge(fit, Options(), {}, a_reference(ess_bulk=500.0))
    assert judged.word == "undecided"
    assert "off by +0.10 ± 0.05 sd, which may hide 0.2 sd" in judged.sentence
    assert "a reference with an ESS of 2,600 instead of 500 (about 5.3 s, --reference-budget)" in judged.sentence
    alone = verdict(guide(theta=an_element(0.1, mcse_mean=2 * 0.05)))[1]
    assert "1,600 draws of the guide instead of 400 (about 4 s at most" in alone


def test_an_element_that_is_not_printed_is_judged_and_named():
    hidden = {"z[417]": an_element(0.5)}
    word, sentence = verdict(replace(guide(theta=an_element()), unreported=hidden))
    assert word == "off" and "mean of z[417] is off by +0.50" in sentence
    word, sentence = verdict(replace(guide(theta=an_element()), unreported={"z[417]": an_element(0.01)}))
    assert word == "agrees" and "+0.010 sd at worst (z[417], of 2 elements)" in sentence
    assert verdict(replace(chains(), unreported=hidden))[0] == "off"


@pytest.mark.parametrize("fit", [guide, chains])
def test_of_many_elements_one_may_be_further_off_by_chance(fit):
    """Of 1,000 elements one is 4.5 errors off by chance in 1.4% of all cases, and no fault; of 20 it is one."""
    few = {f"z[{i}]": an_element(mcse_mean=0.02, mcse_sd=0.02) for i in range(19)}
    many = {f"z[{i}]": an_element(mcse_mean=0.02, mcse_sd=0.02) for i in range(999)}
    odd = an_element(4.5 * 0.04, mcse_mean=0.04 * TRUE_SD)
    assert widen(ERRORS, 40) == ERRORS and 4.7 < widen(ERRORS, 2000) < 4.9
    for errors in (4.05, 4.5):  # of 40 means and sds four count, of 42 a little more
        assert (
            verdict(replace(fit(theta=an_element(errors * 0.04, mcse_mean=0.04 * TRUE_SD)), unreported=few))[0] == "off"
        )
    assert verdict(replace(fit(theta=odd), unreported=many))[0] in ("agrees", "undecided")
    assert verdict(replace(fit(theta=an_element(0.2, mcse_mean=0.04 * TRUE_SD)), unreported=many))[0] == "off"


def test_what_is_not_finite_does_not_agree():
    for broken in (an_element(math.nan), an_element(sd_ratio=math.nan), an_element(0.01, mcse_mean=math.inf)):
        assert verdict(guide(a=an_element(), theta=broken, b=an_element()))[0] not in ("agrees",)


def test_an_element_that_is_known_badly_hides_no_other():
    """The one that is furthest away may be within its errors where another is not."""
    vague = an_element(0.3, 0.6, mcse_mean=0.2, mcse_sd=0.3)
    assert verdict(guide(a=vague))[0] == "undecided"
    word, sentence = verdict(guide(a=vague, b=an_element(0.2)))
    assert word == "off" and "mean of b is off by +0.20" in sentence
    word, sentence = verdict(guide(a=vague, b=an_element(sd_ratio=0.8)))
    assert word == "narrow" and "sd of b is 0.800" in sentence


def test_the_rules_are_tried_in_their_order():
    """What is wrong in several ways gets the first word of the table that fits."""
    order = [word for word, _ in rules()]
    shifted, tight, loose = an_element(1.0, 0.2), an_element(sd_ratio=0.5), an_element(sd_ratio=2.0)
    by_word = [
        ("not converged", guide(converged=False, a=shifted, b=loose)),
        ("off", guide(a=shifted, b=tight, c=loose)),
        ("narrow", guide(b=tight, c=loose)),
        ("wide", guide(c=loose, d=an_element(mcse_mean=0.2))),
        ("undecided", guide(d=an_element(mcse_mean=0.2))),
        ("agrees", guide()),
    ]
    assert [verdict(summary)[0] for _, summary in by_word] == [word for word, _ in by_word]
    assert [word for word in order if word in dict(by_word)] == [word for word, _ in by_word]


def test_advice_names_the_families_that_come_closer():
    tight = an_element(sd_ratio=0.5)
    assert "Use full_rank, or NUTS." in verdict(guide(b=tight))[1]
    assert "Use a richer family, or NUTS." in verdict(guide(family="full_rank", family_gap=0.0, b=tight))[1]
    word, sentence = verdict(guide(family="other", family_gap=None, b=tight))
    assert word == "narrow" and "family gap not known" in sentence and "Use a richer family" in sentence


def test_a_guide_that_agrees_says_whether_its_family_holds_the_posterior():
    assert "the family holds the posterior" in verdict(guide(family_gap=9e-7))[1]
    sentence = verdict(guide(family_gap=2e-6, a=an_element(-0.012), b=an_element(sd_ratio=0.97)))[1]
    assert "holds the posterior" not in sentence and "family gap 2e-06 nats" in sentence
    assert "mean off by -0.012 sd" in sentence and "sd 0.970 to 1.000 of the truth" in sentence


def test_light_tails_are_warned_of():
    assert "k-hat" not in verdict(guide(khat=0.7))[1] and "k-hat" not in verdict(guide(khat=None))[1]
    word, sentence = verdict(guide(khat=0.71))
    assert word == "agrees" and "k-hat 0.71" in sentence


def test_a_heavy_tail_of_weights_that_are_alike_is_no_fault():
    """On the coin k-hat is 4.33 where the weights differ by a few parts in a thousand: noise."""
    alike = guide(khat=4.33)
    alike = replace(alike, diagnostics=replace(alike.diagnostics, relative_ess=RELATIVE_ESS + 1e-3))
    assert "tails" not in verdict(alike)[1]
    differ = replace(alike, diagnostics=replace(alike.diagnostics, relative_ess=RELATIVE_ESS - 1e-3))
    assert "k-hat 4.33, relative ESS 0.91" in verdict(differ)[1]


def test_coordinate_ascent_arrives_or_does_not():
    tolerance = Options().tolerance
    word, sentence = verdict(ascent(gap=tolerance))
    assert word == "agrees" and "arrived in 17 sweeps (0.01 nats short)" in sentence
    word, sentence = verdict(ascent(gap=tolerance + 1e-3))
    assert word == "not converged" and "after 17 sweeps, 0.011 nats below the best" in sentence
    word, sentence = verdict(ascent(converged=False, gap=0.25, steps=100))
    assert word == "not converged" and "ran out of its 100 sweeps, 0.25 nats" in sentence and "--sweeps" in sentence
    assert verdict(ascent(gap=0.05), Options(tolerance=0.1))[0] == "agrees"


def test_coordinate_ascent_whose_updates_are_wrong_is_off():
    word, sentence = verdict(ascent(gap=1.2345, a=an_element(), b=an_element(0.8)))
    assert word == "off"
    assert "mean of b is off by +0.80 posterior sd" in sentence and "1.2345 nats below the best" in sentence


def test_coordinate_ascent_without_a_known_best_member_is_judged_by_its_changes():
    assert verdict(ascent(gap=None))[0] == "agrees"
    assert "17 sweeps" in verdict(ascent(gap=None))[1]
    assert verdict(ascent(converged=False, gap=None))[0] == "not converged"
    word, sentence = verdict(ascent(gap=None, theta=an_element(0.8)))
    assert word == "off" and "+0.80" in sentence


def test_no_sentence_has_a_number_that_is_not_one():
    for summary in (chains(), guide(), guide(family_gap=None), ascent(), ascent(gap=-1e-17)):
        assert not re.search(r"\b(nan|inf|None)\b", verdict(summary)[1])
