"""Importance weights: evidence and moments with errors from independent randomisations, and k-hats."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from arviz_stats.base import array_stats
from scipy import special

from compare.fit.reference.target import Target, quantities_of

__all__ = ["N_RANDOMISATIONS", "Weighting", "weigh"]

LogDensity = Callable[[np.ndarray], np.ndarray]

N_RANDOMISATIONS = 16
"""Independent scrambles of the Sobol sequence, whose scatter gives the errors."""


@dataclass(frozen=True)
class Weighting:
    """A posterior by the weighted draws of one proposal.

    Attributes:
        log_evidence: In nats.
        error: Its standard error.
        mean, sd: Of the quantities, shape (k,).
        mean_error, sd_error: Their standard errors, shape (k,).
        khat: Pareto k-hat of the weights.
        ridge_khat: The largest k-hat of the weights times squared unconstrained coordinates.
        moment_khat: The same of squared quantities.
        relative_ess: Effective sample size over the number of draws.
        points: Draws from the proposal, shape (n, d).
        log_joint: Their log joints in nats, shape (n,).
        weights: Their weights, sum 1, shape (n,).
        log_proposal: The log density of the proposal.
    """

    log_evidence: float
    error: float
    mean: np.ndarray
    sd: np.ndarray
    mean_error: np.ndarray
    sd_error: np.ndarray
    khat: float
    ridge_khat: float
    moment_khat: float
    relative_ess: float
    points: np.ndarray = field(repr=False)
    log_joint: np.ndarray = field(repr=False)
    weights: np.ndarray = field(repr=False)
    log_proposal: LogDensity = field(repr=False)

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draws from the posterior by systematic resampling, in random order, shape (n, d)."""
        positions = (rng.random() + np.arange(n)) / n
        chosen = np.minimum(np.searchsorted(np.cumsum(self.weights), positions), len(self.weights) - 1)
        return self.points[rng.permutation(chosen)]


def weigh(target: Target, points: np.ndarray, log_joint: np.ndarray, log_proposal: LogDensity) -> Weighting:
    """Evidence and moments with errors from the scatter between randomisations; points are ordered by these."""
    log_weights = log_joint - log_proposal(points)
    if not np.isfinite(log_weights).any():
        nan = np.full(quantities_of(target, points[:1]).shape[1], np.nan)
        draws = points, log_joint, np.zeros(len(points)), log_proposal
        return Weighting(-np.inf, np.inf, nan, nan, nan, nan, np.inf, np.inf, np.inf, 0.0, *draws)
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
    degrees, centre = N_RANDOMISATIONS - 1, weights @ points
    errors = scatter.std(0, ddof=1) / np.sqrt(N_RANDOMISATIONS) * np.sqrt(degrees / (degrees - 2))
    k = len(mean)
    return Weighting(
        log_evidence=float(log_mean),
        error=float(errors[0]),
        mean=mean,
        sd=sd,
        mean_error=errors[1 : 1 + k],
        sd_error=errors[1 + k :],
        khat=pareto_khat(log_weights),
        ridge_khat=heaviest_khat(log_weights, points - centre, np.sqrt(weights @ (points - centre) ** 2)),
        moment_khat=heaviest_khat(log_weights, gaps, sd),
        relative_ess=float(1 / (len(points) * (weights @ weights))),
        points=points,
        log_joint=log_joint,
        weights=weights,
        log_proposal=log_proposal,
    )


def heaviest_khat(log_weights: np.ndarray, gaps: np.ndarray, sd: np.ndarray) -> float:
    """The largest k-hat of the weights times one plus the squared deviations in sds, of the ten heaviest columns."""
    with np.errstate(divide="ignore", invalid="ignore"):
        squares = np.nan_to_num((gaps / sd) ** 2)
    heaviest = np.argsort(-squares.max(0))[:10]
    return max(pareto_khat(log_weights + part) for part in np.log1p(squares[:, heaviest]).T)


def pareto_khat(log_weights: np.ndarray) -> float:
    """Pareto k-hat of the weights; arviz_stats takes log likelihoods, the negatives of log weights."""
    floor = log_weights.max() - 500
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(array_stats.psislw(-np.maximum(log_weights, floor))[1])
