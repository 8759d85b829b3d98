"""Every sentence of a verdict, word for word: which branch was taken, and which number stands where.

``python tests/test_sentences.py > tests/sentences.txt`` writes them anew, to be read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_contradictions import REFERENCE, UNKNOWN, a_fit, a_guide
from test_verdict import TRUE_SD, a_reference, a_summary, an_element, ascent, chains, guide

from compare.calibration.judge import judge as judge_ranks
from compare.calibration.ranks import LIKELIHOOD, Ranked
from compare.options import Options
from compare.summary import Diagnostics, Distance, Estimate, Evidence, FitSummary, Loss, WithoutTruth
from compare.verdict.contradictions import find_contradictions
from compare.verdict.decision import judge_loss
from compare.verdict.judge import judge
from compare.verdict.thresholds import THRESHOLDS
from compare.verdict.without_truth import Weighed, decide

SENTENCES = Path(__file__).with_name("sentences.txt")

GAPS = {"mean_field": 0.5, "full_rank": 0.0, "low_rank": 0.2499, "markov": 0.25}
ALONE = WithoutTruth("wide", "The sd of theta is 1.3.")
ADAM = Options(optimiser="adam")

OFF, TIGHT, VAGUE = an_element(0.34), an_element(0.04, 0.52), an_element(0.02, mcse_mean=0.2)
STILL, SHORT_CHAINS = an_element(mcse_mean=0.0, mcse_sd=0.0), chains(ess=(300.0, 350.0))
POINT = an_element(0.05, 0.0)
LOST = replace(a_reference(), status="failed", reason="was stopped")
APART = a_reference(r_hat=1.2, divergences=4)
SHORT = replace(a_reference(ess_bulk=160.0), seconds=7.0)
MANY = {"c": an_element(0.02, 0.97)}


def of(fit: FitSummary, gap: float | None = None, **changed: Any) -> FitSummary:
    """The fit with another ledger, optimisation or method; ``gap`` is the optimiser's own, 0 where it has none."""
    for part in ("ledger", "optimisation"):
        old = getattr(fit, part)
        known = {name: changed.pop(name) for name in list(changed) if hasattr(old, name)}
        known = {name: Estimate(*value) if isinstance(value, tuple) else value for name, value in known.items()}
        fit = replace(fit, **{part: replace(old, **known)})
    if gap is not None:
        fit = replace(fit, optimisation=replace(fit.optimisation, gap=Estimate(gap, 0.02) if gap else None))
    return replace(fit, **changed)


def beside(own: float, others: float, method: str = "reference") -> tuple[Any, ...]:
    """A guide whose mean is off by 0.02 sd, with its own error and a reference's, in sds."""
    reference = replace(a_reference(), method=method, seconds=7.0)
    if method == "importance":
        reference = replace(reference, diagnostics=Diagnostics())
    theta = an_element(0.02, mcse_mean=TRUE_SD * math.hypot(own, others))
    return guide(theta=replace(theta, mcse_mean=TRUE_SD * own)), Options(), {}, reference


def family(name: str, **variables: Any) -> FitSummary:
    return guide(family=name, **(variables or {"theta": TIGHT}))


CASES: Mapping[str, tuple[Any, ...]] = {
    "skipped": (replace(a_summary("nuts", "skipped"), reason="it is too large"),),
    "failed": (replace(a_summary("nuts", "failed"), reason="its log joint is NaN"),),
    "failed, in a library's words": (replace(a_summary("nuts", "failed"), reason="There is no inverse."),),
    "exact": (a_summary("exact"),),
    "contradicted": (
        replace(guide(), without_truth=ALONE),
        Options(),
        {},
        a_reference(),
        ["A is not B.", "C is not D."],
    ),
    "importance sampling": (replace(a_summary("importance"), diagnostics=Diagnostics()),),
    "a reference apart": (a_reference(r_hat=1.41),),
    "a reference nearly apart": (a_reference(r_hat=1.4, divergences=3),),
    "a short reference": (SHORT,),
    "a reference just long enough": (a_reference(ess_bulk=400.0),),
    "a long reference": (a_reference(),),
    "chains beside nothing": (chains(), Options(), {}, LOST),
    "a guide beside nothing": (replace(guide(), without_truth=ALONE), Options(), {}, LOST),
    "a stopped guide beside nothing": (guide(False), Options(), {}, LOST),
    "sweeps beside nothing": (ascent(False, gap=None), Options(), {}, LOST),
    "beside a reference apart": (replace(guide(), without_truth=ALONE), Options(), {}, APART),
    "chains nearly apart": (chains(1.2),),
    "chains apart": (chains(1.5, divergences=2),),
    "chains of which few diverged": (chains(divergences=2, transitions=2400, theta=VAGUE),),
    "draws apart": (replace(chains(1.2), method="draws"),),
    "chains off": (chains(theta=OFF),),
    "chains narrow": (chains(theta=TIGHT),),
    "chains undecided": (chains(ess=(300.0, 350.0), theta=VAGUE),),
    "chains agree": (chains(a=an_element(0.013), b=an_element(sd_ratio=0.985)),),
    "chains agree by the tenth": (chains(a=an_element(0.01), b=an_element(0.05)),),
    "chains agree, of several": (replace(chains(a=an_element(0.03)), unreported=MANY),),
    "chains agree, of thirty": (
        replace(chains(a=an_element(0.0405)), unreported={f"z[{place}]": an_element() for place in range(29)}),
    ),
    "chains agree, without errors": (chains(a=an_element(mcse_mean=0.0, mcse_sd=0.0)),),
    "draws agree": (replace(chains(divergences=None, a=an_element(0.01)), method="draws"),),
    "a guide stopped": (guide(False, theta=OFF),),
    "Adam stopped": (guide(False), ADAM),
    "Laplace stopped, of Adam's": (guide(False, family="laplace"), ADAM),
    "a user's guide stopped": (of(guide(False, theta=OFF), method="guide"), ADAM),
    "a point": (of(guide(theta=POINT, a=replace(POINT, mean_error=-0.02)), objective=(-12.34567, 0.2)),),
    "a point off": (of(guide(theta=replace(POINT, mean_error=0.34)), objective=(-12.34567, 0.2)),),
    "no point: a sd": (of(guide(family="dropout", theta=POINT, a=TIGHT), objective=(-3.2, 0.2)),),
    "dropout": (of(family("dropout"), objective=(-3.2, 0.2)), Options(), GAPS),
    "off": (guide(theta=OFF), Options(), GAPS),
    "off in some modes": (of(guide(theta=OFF), symmetry_gap=(0.69, 0.01)), Options(), GAPS),
    "off in all modes": (of(guide(theta=OFF), symmetry_gap=(1e-6, 0.01)), Options(), GAPS),
    "off elsewhere": (of(guide(theta=OFF), optimisation_gap=(0.73, 0.02)), Options(), GAPS),
    "off elsewhere, a little": (of(guide(theta=OFF), optimisation_gap=(0.43, 0.02)), Options(), GAPS),
    "narrow": (guide(a=an_element(-0.05), theta=TIGHT), Options(), GAPS),
    "narrow, of a richer family": (family("markov"), Options(), GAPS | {"markov": 0.4}),
    "narrow, of no family": (family("other"), Options(), GAPS),
    "an encoder's doing": (
        of(family("mixture"), gap=0, method="amortised", amortisation_gap=(0.81, 0.02)),
        Options(),
        GAPS,
    ),
    "an encoder's family's doing": (
        of(family("mixture"), gap=0, method="amortised", amortisation_gap=(0.21, 0.02)),
        Options(),
        GAPS,
    ),
    "the mode": (of(family("laplace", theta=OFF), gap=0.7, log_evidence_at_mode=-3.14159),),
    "the mode, little of it": (of(family("laplace", theta=OFF), gap=0.4, log_evidence_at_mode=-3.14159),),
    "the mode, by the ledger": (
        of(family("laplace", theta=OFF), gap=0, optimisation_gap=(0.7, 0.1), log_evidence_at_mode=-3.14159),
    ),
    "the way to the mode": (of(family("pathfinder"), gap=0.7),),
    "the way, family unknown": (of(family("pathfinder"), gap=0.7, family_gap=None),),
    "the way, nothing known": (of(family("pathfinder"), gap=0, family_gap=None, optimisation_gap=None),),
    "several ways": (of(family("multipath"), gap=0, family_gap=None, optimisation_gap=None),),
    "several ways stopped": (guide(False, family="multipath"), ADAM),
    "a user's guide": (of(family("mine"), gap=0, family_gap=None, method="guide"),),
    "a gap not known": (of(family("mean_field"), gap=0, family_gap=None, optimisation_gap=None), Options(), GAPS),
    "a gap not known, a family's is": (of(family("mean_field"), gap=0), Options(), GAPS),
    "a bound on a bound": (
        of(family("variational_gp"), gap=0, optimisation_gap=None, auxiliary_gap=(0.12, 0.03), family_gap=(0.4, 0.01)),
    ),
    "an auxiliary gap": (of(family("variational_gp"), auxiliary_gap=(0.12, 0.03), family_gap=(0.4, 0.01)),),
    "undecided": (guide(theta=VAGUE),),
    "undecided, an sd": (guide(theta=an_element(0.02, 0.97, mcse_sd=0.2)),),
    "undecided, of a still element": (guide(a=STILL, theta=VAGUE),),
    "undecided, beside nothing finite": (guide(theta=an_element(0.02, mcse_mean=math.inf)),),
    "undecided, in no time": (replace(guide(theta=VAGUE), seconds=None),),
    "undecided, beyond the tenth": (guide(theta=an_element(0.15, mcse_mean=0.1)),),
    "undecided, both too short": beside(0.06, 0.05),
    "undecided, the fit too short": beside(0.05, 0.02),
    "undecided, the reference too short": beside(0.02, 0.05),
    "undecided, importance sampling too vague": beside(0.02, 0.05, "importance"),
    "undecided, beside importance sampling": beside(0.031, 0.035, "importance"),
    "undecided, draws too short": (
        replace(beside(0.05, 0.02)[0], method="draws", diagnostics=SHORT_CHAINS.diagnostics),
    ),
    "the family holds it": (of(guide(theta=an_element(0.011, 1.013)), family_gap=(1e-7, 2e-7)),),
    "the family nearly holds it": (of(guide(theta=an_element(0.011)), family_gap=(3e-7, 2e-7)),),
    "agrees, of several": (replace(guide(a=an_element(0.011), b=an_element(-0.031, 1.02)), unreported=MANY),),
    "agrees, with light tails": (replace(guide(), diagnostics=Diagnostics(khat=0.83, relative_ess=0.42)),),
    "agrees, with light tails alone": (replace(guide(), diagnostics=Diagnostics(khat=0.83)),),
    "sweeps arrive": (ascent(gap=0.003),),
    "sweeps arrive above the best": (ascent(gap=-0.003),),
    "sweeps settle": (ascent(gap=None),),
    "sweeps settle below the best": (ascent(gap=0.0314),),
    "sweeps run out": (ascent(False, gap=None),),
    "sweeps run out near the best": (ascent(False, gap=0.003),),
    "sweeps are wrong": (ascent(gap=1.23456, theta=OFF),),
    "sweeps run out and are off": (ascent(False, gap=1.23456, theta=OFF),),
}
"""What is judged: the fit, and where these matter the options, the families' gaps, the reference, contradictions."""


def element(mean: float, mean_error: float, ratio: float, ratio_error: float) -> Distance:
    return Distance(Estimate(mean, mean_error), Estimate(ratio, ratio_error))


A, B = element(0.03, 0.011, 0.98, 0.012), element(-0.02, 0.013, 1.03, 0.014)
FLAT = element(0.01, 0.02, 1.02, 0.05)


def weighed(khat: float = 0.4, relative: float = 0.6, gap: float = 0.013, a: Distance = A, b: Distance = B) -> Weighed:
    """A guide by its weights, of two elements: its ELBO may be 0.1 nats below the evidence."""
    return Weighed({"a": a, "b": b}, Estimate(-1.0, 0.01), Estimate(gap, 0.03), khat, relative, 2)


BY_ITSELF: Mapping[str, tuple[Any, ...]] = {
    "no error": (weighed(0.5), None),
    "a heavy tail": (weighed(0.501), None),
    "a heavy tail of weights that are alike": (weighed(4.3, 0.9091), None),
    "a heavy tail of weights that differ": (weighed(4.3, 0.909), None),
    "no error beside NUTS": (weighed(0.83), element(0.13, 0.07, 0.98, 0.06)),
    "a mean beside NUTS": (weighed(0.83), element(0.15, 0.07, 0.98, 0.06)),
    "an sd beside NUTS": (weighed(0.83), element(0.13, 0.07, 1.12, 0.05)),
    "NUTS that contradicts the weights": (weighed(), element(0.29, 0.07, 0.98, 0.06)),
    "NUTS that hardly contradicts the weights": (weighed(), element(0.27, 0.07, 0.98, 0.06)),
    "a mean": (weighed(a=element(-0.11, 0.2, 0.7, 0.012)), None),
    "an sd below": (weighed(a=element(-0.09, 0.2, 0.89, 0.012)), None),
    "an sd above": (weighed(b=element(-0.02, 0.013, 1.11, 0.014)), None),
    "an ELBO as low as may be": (weighed(gap=0.0999), None),
    "an ELBO too low": (weighed(gap=0.1001), None),
    "an ELBO too low by an sd": (
        weighed(gap=0.1001, a=element(0, 0.01, 0.95, 0.02), b=element(0, 0.01, 1, 0.01)),
        None,
    ),
    "an ELBO too low by less than errors": (weighed(gap=0.1001, a=element(0.01, 0.02, 0.95, 0.02), b=FLAT), None),
    "an ELBO too low, and a mean": (weighed(gap=0.1001, a=element(0.31, 0.02, 0.92, 0.012)), None),
}
"""What a guide's weights give, and how far its first element is from NUTS; the second is `FLAT`."""


def ranks(shift: float, tension: float, outside: float = 0.02, inside: float = 0.716) -> dict[str, Any]:
    """A quantity's numbers in a calibration; ``shift`` and ``tension`` are those of mean and spread, in errors."""
    coverage = {level: {"value": inside + place / 10} for place, level in enumerate(("80", "95", "50"))}
    mean, spread = {"value": 0.5 + 0.02 * shift, "mcse": 0.02}, {"value": 1 + 0.01 * tension, "mcse": 0.01}
    return {"rank_mean": mean, "spread": spread, "outside": outside, "coverage": coverage}


def ranked(failed: int = 0, converged: int | None = None) -> Ranked:
    nothing = np.zeros((60, 1))
    return Ranked(nothing, nothing, nothing, nothing, dict.fromkeys(range(failed), "it failed"), converged)


FINE, LOUD = ranks(1.0, 3.0, 0.0), ranks(0.0, -9.0, 0.03)
CALIBRATED: Mapping[str, tuple[Any, ...]] = {
    "uniform": ({"theta": FINE}, ranked()),
    "all uniform": ({"theta": FINE, LIKELIHOOD: FINE}, ranked(converged=60)),
    "uniform where it arrived": ({"theta": FINE}, ranked(3, 57)),
    "means too low": ({"theta": ranks(4.1, 3.9)}, ranked()),
    "means too high": ({"theta": ranks(-6.1, 6.0)}, ranked()),
    "more narrow than off": ({"theta": ranks(-6.1, 6.2)}, ranked()),
    "too narrow": ({"theta": ranks(3.9, 4.1)}, ranked()),
    "too wide": ({"theta": ranks(3.9, -4.1)}, ranked()),
    "neither": ({"theta": ranks(-3.9, 3.9)}, ranked()),
    "the loudest": ({"a": ranks(0.0, 9.0, 0.02), "b": LOUD, "c": FINE}, ranked()),
    "a latent before the likelihood": ({LIKELIHOOD: LOUD, "a": ranks(0.0, 9.0, 0.001)}, ranked()),
    "the likelihood alone": ({LIKELIHOOD: LOUD, "a": ranks(0.0, 90.0, 0.0)}, ranked()),
}
"""What calibration judges."""


def loss(value: float, mcse: float, exact: float = 3.25, method: str = "svi") -> FitSummary:
    return replace(a_summary(method), decision=Loss(value, mcse, exact, "regret", "What it costs."))


LOSSES: Mapping[str, FitSummary] = {
    "the same loss": loss(3.26999, 0.005),
    "the same loss, below": loss(3.23001, 0.005),
    "a larger loss": loss(3.27001, 0.005),
    "a smaller loss": loss(3.22999, 0.005),
    "the same loss, of a point": loss(3.2500009, 0.0),
    "a larger loss, of a point": loss(3.2500011, 0.0),
    "the posterior's loss": loss(3.25, 0.0, method="exact"),
}
"""Losses on both sides of four errors."""

KNOWN = Evidence(-12.5, 0.003, "bridge sampling")
ABOVE = WithoutTruth("agrees", "It is.", evidence=Estimate(-12.26, 0.01), khat=0.7)
CONTRADICTIONS: Mapping[str, tuple[dict[str, FitSummary], Evidence]] = {
    "two modes": ({"one": a_guide(1.41, -12.31), "two": a_guide(-1.42, -13.04, sd=0.05)}, UNKNOWN),
    "another mean": ({"nuts": a_fit("nuts", mean=1.379, sd=0.041)}, UNKNOWN),
    "an ELBO too high": ({"one": a_guide(1.4, -12.34)}, KNOWN),
    "a user's ELBO too high": ({"one": a_guide(1.4, -12.34, method="guide")}, KNOWN),
    "an estimate too high": ({"one": replace(a_guide(1.4, -12.6), without_truth=ABOVE)}, KNOWN),
    "an estimate too high, of equal weights": (
        {"one": replace(a_guide(1.4, -12.6), without_truth=replace(ABOVE, khat=None))},
        KNOWN,
    ),
    "an estimate too high, of heavy tails": (
        {"one": replace(a_guide(1.4, -12.6), without_truth=replace(ABOVE, khat=0.701))},
        KNOWN,
    ),
}
"""What contradicts a reference at 1.4, and its log evidence."""


def line(case: str) -> str:
    if case in LOSSES:
        judged = judge_loss(LOSSES[case])
        return f"{case} | {judged and judged.word} | {judged and judged.sentence}"
    if case in CONTRADICTIONS:
        fits, known = CONTRADICTIONS[case]
        texts = find_contradictions({**fits, "reference": REFERENCE}, known, Options())
        return f"{case} | {' '.join(texts) or 'nothing'}"
    if case in CALIBRATED:
        calibrated = judge_ranks(*CALIBRATED[case])
        return f"{case} | {calibrated.word} | {calibrated.sentence}"
    if case in BY_ITSELF:
        own, apart = BY_ITSELF[case]
        alone = decide(own, {"a": apart, "b": FLAT} if apart else None, THRESHOLDS)
        numbers = [f"{part.value:g} ± {part.mcse:g}" for part in (alone.mean_error, alone.sd_ratio) if part]
        return f"{case} | {alone.word} | {alone.sentence} | {alone.by}: {', '.join(numbers)}"
    fit, *further = CASES[case]
    verdict = judge(fit, *(further or [Options()]))
    return f"{case} | {verdict.word} | {verdict.sentence}"


ALL = [*CASES, *BY_ITSELF, *CALIBRATED, *LOSSES, *CONTRADICTIONS]


@pytest.mark.parametrize("case", ALL)
def test_a_verdict_says(case):
    known = SENTENCES.read_text(encoding="utf-8").splitlines()
    assert [text for text in known if text.startswith(f"{case} |")] == [line(case)]


if __name__ == "__main__":
    print("\n".join(map(line, ALL)))
