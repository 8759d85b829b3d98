"""The verdict on decisions that rest on a fit: whether they cost more than with the exact posterior."""

from __future__ import annotations

from dataclasses import replace

from compare.summary import FitSummary, Loss
from compare.verdict.thresholds import ERRORS, TINY


def judge_loss(summary: FitSummary) -> Loss | None:
    """The loss with a word and a sentence: less or more than that of acting on the posterior, or no different.

    The posterior's own has neither.
    """
    loss = summary.decision
    if loss is None or summary.method == "exact":
        return loss
    apart = loss.value - loss.exact
    error = f" ± {loss.mcse:.1g}" if loss.mcse else ""
    is_same = abs(apart) <= max(ERRORS * loss.mcse, TINY)
    word = "same" if is_same else "less" if apart < 0 else "more"
    within = "the same within its error" if loss.mcse else "the same"
    difference = within if is_same else f"it loses {word}, by {abs(apart):.3g}{error}"
    return replace(
        loss,
        word=word,
        sentence=f"Its {loss.name} is {loss.value:.4g}{error}, the exact posterior's {loss.exact:.4g}: {difference}.",
    )
