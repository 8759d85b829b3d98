"""Importance weights: evidence and moments with errors from independent randomisations, and k-hats."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from arviz_stats.base import array_stats
from scipy import special

from compare.fit.reference.target import Target, quantities_of

__all__ = ["N_RANDOMISATIONS", "Estimate", "pareto_khat", "weigh"]

N_RANDOMISATIONS = 16
"""Independent scrambles of the Sobol sequence, whose scatter gives the errors."""


@dataclass(frozen=True)
class Estimate:
    """What one proposal says; the attributes are those of `Importance`."""

    log_evidence: float
    error: float
    mean: np.ndarray
    sd: np.ndarray
    mean_error: np.ndarray
    sd_error: np.ndarray
    khat: float
    moment_khat: float
    relative_ess: float
    points: np.ndarray
    weights: np.ndarray


def weigh(target: Target, points: np.ndarray, log_weights: np.ndarray) -> Estimate:
    """Evidence and moments with errors from the scatter between randomisations; points are ordered by these."""
    k_nothing = quantities_of(target, points[:1]).shape[1]
    if not np.isfinite(log_weights).any():
        nan = np.full(k_nothing, np.nan)
        return Estimate(-np.inf, np.inf, nan, nan, nan, nan, np.inf, np.inf, 0.0, points, np.zeros(len(points)))
    log_mean = special.logsumexp(log_weights) - np.log(len(points))
    ratios = np.exp(log_weights - log_mean)  # mean 1
    weights = ratios / len(points)
    used = weights > 0
    q = np.where(used[:, None], quantities_of(target, points), 0.0)
    mean = weights @ q
    gaps = np.where(used[:, None], q - mean, 0.0)
    sd = np.sqrt(weights @ gaps**2)
    with np.errstate(divide="ignore", invalid="ignore"):
        influences = np.column_stack(
            [ratios - 1, ratios[:, None] * gaps, ratios[:, None] * (gaps**2 - sd**2) / (2 * sd)]
        )
    scatter = influences.reshape(N_RANDOMISATIONS, -1, influences.shape[1]).mean(1)
    # The last factor gives (estimate - truth) / error unit variance, as of a t distribution.
    degrees = N_RANDOMISATIONS - 1
    errors = scatter.std(0, ddof=1) / np.sqrt(N_RANDOMISATIONS) * np.sqrt(degrees / (degrees - 2))
    k = len(mean)
    return Estimate(
        log_evidence=float(log_mean),
        error=float(errors[0]),
        mean=mean,
        sd=sd,
        mean_error=errors[1 : 1 + k],
        sd_error=errors[1 + k :],
        khat=pareto_khat(log_weights),
        moment_khat=max(pareto_khat(log_weights + part) for part in _log_squares(gaps, sd)),
        relative_ess=float(1 / (len(points) * (weights @ weights))),
        points=points,
        weights=weights,
    )


def _log_squares(gaps: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Logs of one plus the squared deviations in sds of the ten quantities with the heaviest tails, (<= 10, n)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        squares = np.nan_to_num((gaps / sd) ** 2)
    heaviest = np.argsort(-squares.max(0))[:10]
    return np.log1p(squares[:, heaviest]).T


def pareto_khat(log_weights: np.ndarray) -> float:
    """Pareto k-hat of the weights; arviz_stats takes log likelihoods, the negatives of log weights."""
    floor = log_weights.max() - 500
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(array_stats.psislw(-np.maximum(log_weights, floor))[1])
