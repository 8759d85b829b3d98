"""Fits of one posterior that contradict each other, which convicts both sides where no posterior is exact."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations

from compare.options import Options
from compare.summary import Estimate, Evidence, FitSummary, VariableSummary
from compare.verdict.bound import IN_A_GUIDE
from compare.verdict.judge import complaints
from compare.verdict.thresholds import APART, ERRORS, KHAT, MISSED, NEAR, R_HAT_SHORT, mean_excess, widen, worst


def find_contradictions(summaries: Mapping[str, FitSummary], evidence: Evidence, options: Options) -> tuple[str, ...]:
    """How fits contradict each other or the reference, a sentence each; none where there is no healthy reference.

    Args:
        summaries: The fits' numbers by name, with their distances from the reference.
        evidence: The log evidence that goes with the reference.
        options: The targets of chains.
    """
    reference = summaries.get("reference")
    if reference is None or reference.status != "done" or complaints(reference, options):
        return ()
    done = {name: summary for name, summary in summaries.items() if summary.status == "done"}
    chains = {name: fit for name, fit in done.items() if fit.method == "nuts" and has_mixed(fit, options)}
    guides = {name: fit for name, fit in done.items() if has_arrived(fit)}
    return (
        *two_modes(guides, reference),
        *(text for name, fit in chains.items() if (text := another_mean(name, fit, reference))),
        *(text for name, fit in done.items() if (text := too_much_evidence(name, fit, evidence))),
    )


def has_mixed(summary: FitSummary, options: Options) -> bool:
    """Whether chains are fit to contradict others: nothing is wrong with them, nor R-hat raised, be it by chance."""
    return not complaints(summary, options) and summary.diagnostics.r_hat < max(options.r_hat, R_HAT_SHORT)


def has_arrived(summary: FitSummary) -> bool:
    """Whether a fit is a guide, without an encoder, at an optimum."""
    is_guide = summary.ledger.elbo is not None and summary.method not in ("exact", "reference", "amortised")
    return is_guide and (summary.optimisation is None or summary.optimisation.converged)


def two_modes(guides: Mapping[str, FitSummary], reference: FitSummary) -> list[str]:
    """Guides in two modes whose ELBOs are near; the first pair, as a sentence, unless the reference has both modes."""
    for (left_name, left), (right_name, right) in combinations(guides.items(), 2):
        missed = {
            name: apart
            for name, apart in modes_apart(left, right).items()
            if name in reference.judged
            and not all(holds(reference.judged[name], fit.judged[name]) for fit in (left, right))
        }
        if missed:
            name = max(missed, key=missed.__getitem__)
            a, b = left.ledger.elbo, right.ledger.elbo
            assert a is not None and b is not None
            where = f"{place(left.judged[name])} in {left_name} and {place(right.judged[name])} in {right_name}"
            return [
                f"There are two modes, and the reference holds one at most: {name} is {where}, with ELBOs "
                f"{abs(a.value - b.value):.2f} nats apart, and {place(reference.judged[name])} in the reference."
            ]
    return []


def modes_apart(left: FitSummary, right: FitSummary) -> dict[str, float]:
    """The elements whose means put two guides into two modes, by their distance in sums of the sds.

    There are none of guides whose ELBOs are not near.
    """
    a, b = left.ledger.elbo, right.ledger.elbo
    if a is None or b is None or not abs(a.value - b.value) <= NEAR + ERRORS * math.hypot(a.mcse, b.mcse):
        return {}
    shared = sorted(left.judged.keys() & right.judged.keys())
    gaps = {name: gap(left.judged[name], right.judged[name]) for name in shared}
    return {name: apart for name, apart in gaps.items() if apart > APART}


def gap(left: VariableSummary, right: VariableSummary) -> float:
    """The distance of two means in sums of the sds; 0 of elements that do not vary."""
    spread = left.sd + right.sd
    return abs(left.mean - right.mean) / spread if spread > 0 else 0.0


def holds(reference: VariableSummary, guide: VariableSummary) -> bool:
    """Whether a reference can have 5% of its mass around a guide's mean.

    Mass of 5% at a distance of more than sqrt(0.95 / 0.05) sds would make the sd larger (Cantelli's inequality). Where
    quantiles are known they say more: 5% on either side reach beyond the 95% interval.
    """
    far = math.sqrt(0.95 / 0.05) * reference.sd
    low, high = reference.mean - far, reference.mean + far
    if reference.lower is not None and reference.upper is not None:
        low, high = max(low, reference.lower), min(high, reference.upper)
    return low - APART * guide.sd <= guide.mean <= high + APART * guide.sd


def place(variable: VariableSummary) -> str:
    """Where a fit puts an element: its mean and sd."""
    return f"at {variable.mean:.4g} (sd {variable.sd:.2g})"


def another_mean(name: str, chains: FitSummary, reference: FitSummary) -> str | None:
    """A sentence on a NUTS run whose means differ from the reference's; None on others."""
    judged = chains.judged
    errors = widen(ERRORS, 2 * len(judged))
    beyond, at = worst({key: v.distance for key, v in judged.items()}, lambda apart: mean_excess(apart, errors))
    if beyond <= 0:
        return None
    error = judged[at].mean_error / judged[at].mcse_mean_error if judged[at].mcse_mean_error else math.inf
    return (
        f"{name} and the reference contradict each other: {at} is {place(judged[at])} in the one and "
        f"{place(reference.judged[at])} in the other, {abs(error):.1f} of their joint standard errors apart."
    )


def too_much_evidence(name: str, summary: FitSummary, evidence: Evidence) -> str | None:
    """A sentence on a fit that finds more evidence than the reference supports; None on others."""
    if evidence.value is None:
        return None
    claims = {"ELBO": summary.ledger.elbo}
    alone = summary.without_truth
    if alone is not None and (alone.khat is None or alone.khat <= KHAT):
        claims["importance estimate of the log evidence"] = alone.evidence
    for what, claim in claims.items():
        if claim is None or not is_above(claim, evidence):
            continue
        above = claim.value - evidence.value
        where = f"The {what} of {name} is {above:.2g} nats above the log evidence of the reference"
        if summary.method == "guide":
            return f"{where}: it misses mass, or the guide's ELBO is no bound ({IN_A_GUIDE})."
        return f"{where}, which misses mass."
    return None


def is_above(claim: Estimate, evidence: Evidence) -> bool:
    """Whether an estimate lies above the log evidence by more than is tolerated and than errors explain."""
    assert evidence.value is not None
    return claim.value - evidence.value > max(MISSED, ERRORS * math.hypot(claim.mcse, evidence.mcse or 0.0))
