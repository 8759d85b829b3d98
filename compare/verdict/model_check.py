"""The verdict on the model itself: a sentence if a p-value is extreme."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from compare.summary import ModelCheck
from compare.verdict.thresholds import ERRORS, EXTREME


def judge_model(check: ModelCheck) -> ModelCheck:
    """The check with its sentence, where some p-value is extreme."""
    reasons = [*statistics(check), *pits(check)]
    if not reasons:
        return check
    return replace(check, sentence=f"the model does not fit its data: {'; '.join(reasons)}")


def statistics(check: ModelCheck) -> Iterator[str]:
    """The statistics whose p-values are extreme beyond their errors, by site.

    The threshold is for the four statistics of one site; more of them share it, so that false alarms stay as rare.
    """
    threshold = EXTREME / max(1.0, sum(map(len, check.statistics.values())) / 4)
    for site, values in check.statistics.items():
        for name, p in values.items():
            if min(p.value, 1 - p.value) + ERRORS * p.mcse < threshold:
                side = "large" if p.value < 0.5 else "small"
                yield f"the {name} of {site} is too {side} for it (p {p.value:.2g} ± {p.mcse:.1g})"


def pits(check: ModelCheck) -> Iterator[str]:
    """The sites whose leave-one-out PIT is not uniform."""
    for site, pit in check.loo_pit.items():
        if pit.p_value < EXTREME:
            yield f"the leave-one-out PIT of {site} is not uniform (p {pit.p_value:.1g})"
