"""Pareto smoothed importance sampling (Vehtari, Simpson, Gelman, Yao & Gabry 2024)."""

from __future__ import annotations

import warnings

import numpy as np
import xarray as xr
from arviz_stats.base import array_stats


def log_ratios(tree: xr.DataTree) -> np.ndarray:
    """log p(x, z) - log q(z) of a guide's draws, shape (count,)."""
    stats = tree["sample_stats"].dataset
    return (stats["log_joint"] - stats["log_guide"]).values.ravel()


def has_equal_weights(log_ratio: np.ndarray) -> bool:
    """Whether the guide is the posterior: what differs is rounding, and there is no tail to fit."""
    return float(log_ratio.std()) <= 1e-9


def relative_ess(log_ratio: np.ndarray) -> float:
    """The effective sample size of the weights over the number of draws: 1 / (1 + variance / mean^2) of the weights.

    Kong 1992, A note on importance sampling using standardized weights.
    """
    weights = np.exp(log_ratio - log_ratio.max())
    return float(weights.sum() ** 2 / (weights.size * (weights**2).sum()))


def smooth(log_ratio: np.ndarray) -> tuple[np.ndarray, float]:
    """The smoothed weights of draws, shape (count,), which sum to 1, and Pareto's k-hat."""
    with warnings.catch_warnings():  # a k-hat above 0.7 is reported, not warned of
        warnings.simplefilter("ignore")
        # ArviZ takes log likelihoods, whose negatives are the log weights of leave-one-out.
        log_weights, khat = array_stats.psislw(-log_ratio)
    weights = np.exp(log_weights - np.max(log_weights))
    return weights / weights.sum(), float(khat)
