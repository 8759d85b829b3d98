"""What it costs to act on a fit's draws in the posterior's place."""

from __future__ import annotations

import numpy as np

from compare import registry, standard_errors
from compare.comparison import Fit
from compare.measure.moments import digits
from compare.summary import Loss
from models.plotting import flat_draws


def loss(fit: Fit) -> Loss | None:
    """The expected loss of acting on a fit, with its Monte Carlo error; None where the model decides nothing."""
    decision, data = registry.load(fit.job.model).decision, fit.job.data
    if decision is None:
        return None
    exact, words = digits(decision.exact(data), 12), (decision.loss, decision.meaning(data))
    if fit.job.method == "exact":
        return Loss(exact, 0.0, exact, *words)
    value, influence = decision.evaluate(data, flat_draws(fit.tree))
    chains = influence.reshape(fit.tree["posterior"].sizes["chain"], -1)
    error = standard_errors.of_mean(chains, not fit.job.is_mcmc) if np.ptp(influence) > 0 else 0.0
    return Loss(digits(value, 12), digits(error, 6), exact, *words)
