"""Every verdict's word, on both sides of every threshold, from summaries written by hand."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

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
from compare.verdict.thresholds import E_BFMI, ERRORS, MEAN, REFERENCE_ESS, SPREAD, rules

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
    **variables: VariableSummary,
) -> FitSummary:
    return replace(a_summary("nuts", **variables), diagnostics=Diagnostics(r_hat, *ess, divergences, e_bfmi))


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
    found = judge(a_reference(), Options())
    assert found.word == "agrees"
    assert "not exact" in found.sentence and "3900" in found.sentence


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"ess_tail": 999.0}, "ESS is 999 (target: at least 1000)"),
        ({"r_hat": 1.011}, "R-hat is 1.011"),
        ({"divergences": 2}, "2 transitions diverged"),
        ({"e_bfmi": 0.2}, "E-BFMI is 0.20"),
    ],
)
def test_a_reference_that_misses_its_targets_convicts_nobody(wrong, words):
    """It is unreliable, and so is whatever is held against it, however good."""
    reference = a_reference(**wrong)
    own = judge(reference, Options())
    assert own.word == "unreliable" and words in own.sentence
    for fit in (guide(theta=an_element()), chains(theta=an_element())):
        assert judge(fit, Options(), {}, a_reference()).word == "agrees"
        found = judge(fit, Options(), {}, reference)
        assert found.word == "unreliable" and words in found.sentence


def test_without_a_reference_nothing_is_said_of_the_others():
    reference = replace(a_reference(), status="failed", reason="its budget ended")
    found = judge(guide(theta=an_element()), Options(), {}, reference)
    assert found.word == "unreliable" and "its budget ended" in found.sentence
    alone = replace(guide(theta=an_element()), without_truth=WithoutTruth("wide", "The sd of theta is 1.3."))
    found = judge(alone, Options(), {}, reference)
    assert found.word == "unreliable" and found.sentence.endswith("By itself: wide. The sd of theta is 1.3.")


def test_the_rules_cover_every_word_once():
    assert sorted(word for word, _ in rules()) == sorted(WORDS)
    assert all(rule for _, rule in rules())


@pytest.mark.parametrize("options", [Options(), Options(tolerance=0.25, r_hat=1.05, ess=123.0)])
def test_the_rules_state_the_targets_that_hold(options):
    stated = dict(rules(options))
    assert f"below {options.r_hat})" in stated["unreliable"] and f"at least {options.ess:g};" in stated["unreliable"]
    assert f"({options.tolerance} nats)" in stated["not converged"]
    assert f"reference {REFERENCE_ESS:,})" in stated["unreliable"] and f"(at least {E_BFMI})" in stated["unreliable"]
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


@pytest.mark.parametrize(
    ("right", "wrong", "says"),
    [
        ({"r_hat": 1.0099}, {"r_hat": 1.01}, "R-hat is 1.010"),
        ({"r_hat": 1.0}, {"r_hat": float("nan")}, "R-hat is nan"),
        ({"ess": (400.0, 900.0)}, {"ess": (399.0, 900.0)}, "ESS is 399 (target: at least 400)"),
        ({"ess": (900.0, 400.0)}, {"ess": (900.0, 399.0)}, "ESS is 399 (target: at least 400)"),
        ({"divergences": 0}, {"divergences": 1}, "1 transitions diverged"),
        ({"e_bfmi": 0.3}, {"e_bfmi": 0.29}, "E-BFMI is 0.29 (target: at least 0.3)"),
        ({"e_bfmi": 0.3}, {"e_bfmi": float("nan")}, "E-BFMI is nan"),
    ],
)
def test_chains_that_miss_a_target_are_unreliable(right, wrong, says):
    assert verdict(chains(**right))[0] == "agrees"
    word, sentence = verdict(chains(**wrong))
    assert word == "unreliable" and says in sentence
    assert ("Its budget was 60 s" in sentence) == ("ESS" in says)


def test_all_that_is_wrong_with_chains_is_said():
    word, sentence = verdict(chains(1.2, (50.0, 20.0), 7, 0.1, theta=an_element(mean_error=3.0)))
    assert word == "unreliable"
    assert all(says in sentence for says in ("R-hat is 1.200", "ESS is 20", "7 transitions diverged", "E-BFMI is 0.10"))


def test_the_targets_of_chains_are_the_users():
    summary = chains(1.02, (300.0, 300.0))
    assert verdict(summary)[0] == "unreliable"
    assert verdict(summary, Options(ess=300, r_hat=1.05))[0] == "agrees"


@pytest.mark.parametrize("sign", [1, -1])
def test_means_of_chains_are_judged_by_their_standard_errors(sign):
    """0.02 is the standard error of the mean, 2 the true sd: four errors are 0.04 sd."""
    assert verdict(chains(theta=an_element(sign * 0.0399)))[0] == "agrees"
    word, sentence = verdict(chains(a=an_element(), theta=an_element(sign * 0.0401)))
    assert word == "off" and "the mean of theta is 4.0 standard errors from the truth" in sentence
    assert "R-hat 1.002, ESS 733, no divergences" in sentence


@pytest.mark.parametrize(("sign", "wrong"), [(-1, "narrow"), (1, "wide")])
def test_sds_of_chains_are_judged_by_their_standard_errors(sign, wrong):
    """0.01 is the standard error of the sd, 2 the true sd: four errors are a ratio of 0.02."""
    assert verdict(chains(theta=an_element(sd_ratio=1 + sign * 0.0199)))[0] == "agrees"
    word, sentence = verdict(chains(a=an_element(), theta=an_element(sd_ratio=1 + sign * 0.0201)))
    assert word == wrong
    assert f"the sd of theta is {1 + sign * 0.0201:.3f} of the truth, 4.0 standard errors away" in sentence


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


@pytest.mark.parametrize("sign", [1, -1])
def test_a_mean_is_off_beyond_a_tenth_of_an_sd_and_four_errors(sign):
    """With an error of 0.02, of an sd of 2, the tenth counts; with 0.06 four errors do, 0.12 sd."""
    assert verdict(guide(theta=an_element(sign * 0.0999)))[0] == "agrees"
    word, sentence = verdict(guide(a=an_element(), theta=an_element(sign * 0.1001)))
    assert word == "off"
    assert f"mean of theta is off by {sign * 0.1001:+.2f} posterior sd" in sentence
    assert "the optimiser arrived (0.002 ± 0.0003 nats short)" in sentence and "family gap 0.5 nats" in sentence
    assert verdict(guide(theta=an_element(sign * 0.119, mcse_mean=0.06)))[0] == "agrees"
    assert verdict(guide(theta=an_element(sign * 0.121, mcse_mean=0.06)))[0] == "off"


@pytest.mark.parametrize(("sign", "wrong"), [(-1, "narrow"), (1, "wide")])
def test_an_sd_is_wrong_beyond_a_tenth_and_four_errors(sign, wrong):
    """With an error of 0.01, of an sd of 2, the tenth counts; with 0.06 four errors do, 0.12 of the true sd."""
    assert verdict(guide(theta=an_element(sd_ratio=1 + sign * 0.0999)))[0] == "agrees"
    ratio = 1 + sign * 0.1001
    word, sentence = verdict(guide(a=an_element(0.05), theta=an_element(sd_ratio=ratio)))
    assert word == wrong
    assert f"sd of theta is {ratio:.3f} of the truth" in sentence and "worst +0.05 sd" in sentence
    assert "family gap 0.5 nats" in sentence
    assert verdict(guide(theta=an_element(sd_ratio=1 + sign * 0.119, mcse_sd=0.06)))[0] == "agrees"
    assert verdict(guide(theta=an_element(sd_ratio=1 + sign * 0.121, mcse_sd=0.06)))[0] == wrong


def test_an_element_that_is_known_badly_hides_no_other():
    """The one that is furthest away may be within its errors where another is not."""
    vague = an_element(0.3, 0.6, mcse_mean=0.2, mcse_sd=0.3)
    assert verdict(guide(a=vague))[0] == "agrees"
    word, sentence = verdict(guide(a=vague, b=an_element(0.2)))
    assert word == "off" and "mean of b is off by +0.20" in sentence
    word, sentence = verdict(guide(a=vague, b=an_element(sd_ratio=0.8)))
    assert word == "narrow" and "sd of b is 0.800" in sentence


def test_the_rules_are_tried_in_their_order():
    """What is wrong in several ways gets the first word of the table that fits."""
    order = [word for word, _ in rules()]
    shifted, tight, loose = an_element(1.0, 0.2), an_element(sd_ratio=0.5), an_element(sd_ratio=2.0)
    cases = [
        ("not converged", guide(converged=False, a=shifted, b=loose)),
        ("off", guide(a=shifted, b=tight, c=loose)),
        ("narrow", guide(b=tight, c=loose)),
        ("wide", guide(c=loose)),
        ("agrees", guide()),
    ]
    assert [verdict(summary)[0] for _, summary in cases] == [word for word, _ in cases]
    assert [word for word in order if word in dict(cases)] == [word for word, _ in cases]


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
