"""All numbers of one fit."""

from __future__ import annotations

from compare.comparison import Fit, Truth
from compare.measure.decision import loss
from compare.measure.diagnostics import diagnostics, optimisation
from compare.measure.elements import unreported
from compare.measure.ledger import ledger
from compare.measure.moments import correlations, elements, variables
from compare.measure.predictive import predictions
from compare.summary import FitSummary, VariableSummary
from models.contract import Best


def measure(fit: Fit, truth: Truth | None, best: Best | None) -> FitSummary:
    """The summary of a fit, without verdicts; ``best`` is the best member of its family, where that is known."""
    job = fit.job
    about = job.library, job.guide, job.method, fit.status, fit.reason, fit.seconds, fit.gradients
    if fit.tree is None:
        return FitSummary(*about, dict.fromkeys(elements(job), VariableSummary()))
    return FitSummary(
        *about,
        variables(fit, truth),
        correlations(fit, truth),
        diagnostics(fit),
        optimisation(fit),
        ledger(fit, truth, best),
        predictions(fit),
        decision=loss(fit),
        confirmed=fit.tree.attrs.get("confirmed"),
        unreported=unreported(fit, truth),
    )
