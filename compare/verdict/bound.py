"""An ELBO above the log evidence: no fit has such a bound, so what it computes is no ELBO."""

from __future__ import annotations

from compare.options import Options
from compare.summary import Estimate, Evidence, FitSummary, Verdict
from compare.verdict.power import printed
from compare.verdict.thresholds import ERRORS, TINY

NO_BOUND = "it has no density: its objective is no bound, and KL(q, posterior) is infinite"
"""What the verdict on a guide without a density says of its gaps."""

IN_A_GUIDE = "a factor, or auxiliary draws, in the guide without a normalised reverse density; or a wrong scale"
"""What is likely to put the ELBO of a user's guide above the log evidence."""

IN_A_FAMILY = "a wrong scale, or a log evidence or a density that is not this model's"
"""The same for a fit whose guide is the zoo's."""


def judge_bound(summary: FitSummary, evidence: Evidence, options: Options) -> Verdict | None:
    """The verdict on a fit whose ELBO is above the log evidence; None on others.

    A log evidence that is not exact convicts only a user's guide here: where one of the zoo's families exceeds it, the
    reference has missed mass (`contradictions`).

    Args:
        summary: The fit's numbers.
        evidence: The log evidence, its error and its tolerance.
        options: The tolerance of optimisation gaps, to which an estimated optimum is known.
    """
    is_guide, ledger = summary.method == "guide", summary.ledger
    is_fit = summary.status == "done" and summary.method not in ("exact", "reference", "importance")
    if evidence.value is None or not is_fit or not (is_guide or evidence.is_exact):
        return None
    likely = IN_A_GUIDE if is_guide else IN_A_FAMILY
    if is_negative(ledger.evidence_gap, max(evidence.tolerance, TINY)):
        what, gap = "Its ELBO is", ledger.evidence_gap
    elif is_guide and is_negative(ledger.family_gap, evidence.tolerance + options.tolerance):
        what, gap = "The ELBO of its family's best member is", ledger.family_gap
    else:
        return None
    assert gap is not None
    above = printed(Estimate(-gap.value, gap.mcse))
    return Verdict(
        "unreliable",
        f"{what} {above} nats above the log evidence, which no ELBO is: it is no bound, and its gaps mean nothing. "
        f"Likely: {likely}.",
    )


def is_negative(gap: Estimate | None, tolerated: float) -> bool:
    """Whether a gap is below 0 by more than is tolerated and `ERRORS` of its errors together."""
    return gap is not None and gap.value < -(tolerated + ERRORS * gap.mcse)


def at_most(summary: FitSummary) -> str:
    """A sentence that a guide's evidence gap bounds its optimisation gap, where its estimate exceeds that; else "".

    A copy that diverged, or stopped where few draws decide, can claim any distance.
    """
    gap, most = summary.optimisation.gap, summary.ledger.evidence_gap
    if summary.method != "guide" or gap is None or most is None:
        return ""
    if not gap.value - ERRORS * gap.mcse > most.value + ERRORS * most.mcse + TINY:
        return ""
    return (
        f"the given params are at most {printed(most)} nats from the optimum, which is the evidence gap; a copy that "
        f"went on claims {printed(gap)}, which cannot be"
    )
