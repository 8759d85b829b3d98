"""The verdict on a guide that is a single point: its means may be right, its sds are 0 whatever the truth."""

from __future__ import annotations

from compare.summary import FitSummary, Verdict
from compare.verdict.power import distances_of, printed
from compare.verdict.thresholds import worst

USE = "Use laplace or full_rank for sds and intervals, or NUTS."

BY_ITSELF = "It is a point, and has no spread"


def is_point(summary: FitSummary) -> bool:
    """Whether a fit is a single point: it has no density, and no element varies."""
    is_open = summary.optimisation is not None and summary.optimisation.objective is not None
    return is_open and all(variable.sd == 0 for variable in summary.judged.values())


def judge_point(summary: FitSummary, off: str) -> Verdict:
    """The verdict on a point that has arrived; ``off`` says which mean is wrong, empty where none is."""
    assert summary.optimisation is not None
    assert summary.optimisation.objective is not None
    value = f"log p(x, z) = {summary.optimisation.objective.value:.4f} there, which is no bound of the evidence"
    if off:
        return Verdict(
            "off", f"{off}, as a point need not be the posterior's mean: it has no spread, and {value}. {USE}"
        )
    distances = distances_of(summary)
    _, at = worst(distances, lambda apart: abs(apart.mean_error.value))
    shift = printed(distances[at].mean_error)
    return Verdict("narrow", f"It is a point without spread (mean of {at} off by {shift} sd): {value}. {USE}")
