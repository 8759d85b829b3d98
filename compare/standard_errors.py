"""Standard errors of the mean and of the sd of one element's draws, independent or of Markov chains."""

from __future__ import annotations

import arviz_stats
import numpy as np


def of_mean(draws: np.ndarray, independent: bool = False) -> float:
    """The standard error of the mean of draws, shape (chain, draw)."""
    if independent:
        return float(np.std(draws, ddof=1) / np.sqrt(draws.size))
    return float(arviz_stats.mcse(draws, method="mean"))


def of_sd(draws: np.ndarray, independent: bool = False) -> float:
    """The standard error of the sd of draws, shape (chain, draw), 0 where they are all equal.

    By the delta method: the sd is a smooth function of the mean of squared deviations. ArviZ's ``mcse(method="sd")``
    takes the effective sample size of the draws instead of their squares': antithetic chains, as NUTS makes them of a
    Gaussian, know their mean several times better than their sd.
    """
    sd = draws.std(ddof=1)
    return of_mean((draws - draws.mean()) ** 2, independent) / (2 * sd) if sd > 0 else 0.0
