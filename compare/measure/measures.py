"""All numbers of one fit."""

from __future__ import annotations

from dataclasses import replace

from compare.comparison import Fit, Truth
from compare.measure.diagnostics import diagnostics, optimisation
from compare.measure.ledger import ledger
from compare.measure.moments import correlations, elements, variables
from compare.measure.predictive import predictions
from compare.summary import FitSummary, VariableSummary
from models.contract import Best

__all__ = ["blank", "measure"]


def blank(fit: Fit) -> FitSummary:
    """The summary of a fit of which nothing is measured."""
    return FitSummary(
        fit.job.library,
        fit.job.guide,
        fit.job.method,
        fit.status,
        fit.reason,
        fit.seconds,
        fit.gradients,
        dict.fromkeys(elements(fit.job), VariableSummary()),
    )


def measure(fit: Fit, truth: Truth | None, best: Best | None) -> FitSummary:
    """The summary of a fit, without verdicts; ``best`` is the best member of its family, where that is known."""
    if fit.tree is None:
        return blank(fit)
    return replace(
        blank(fit),
        variables=variables(fit, truth),
        correlations=correlations(fit, truth),
        diagnostics=diagnostics(fit),
        optimisation=optimisation(fit),
        ledger=ledger(fit, truth, best),
        predictions=predictions(fit),
    )
