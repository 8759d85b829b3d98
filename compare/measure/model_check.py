"""Whether the model itself fits its data: posterior predictive p-values, and the leave-one-out PIT.

Gelman, Meng & Stern 1996, Posterior predictive assessment of model fitness. Of a right model a p-value is at most as
spread as a uniform one (Meng 1994), so that extreme values are rarer than they say.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import arviz_stats
import numpy as np
import xarray as xr
from arviz_stats.base import array_stats
from scipy import stats

from compare.fit.psis import has_equal_weights, log_ratios, smooth
from compare.summary import LooPit, ModelCheck, PredictiveP
from models.selection import evenly

STATISTICS: dict[str, Callable[..., np.ndarray]] = {"mean": np.mean, "sd": np.std, "min": np.min, "max": np.max}
"""The statistics, each of all observations of a site."""

ENOUGH = 20
"""Observations from which the leave-one-out PIT is tried for uniformity."""

MOST = 400
"""Observations that it looks at, spread evenly over all."""


REPLICATED = ("posterior_predictive", "log_likelihood", "observed_data")
"""The groups that the leave-one-out PIT is computed from, beside the posterior."""


def check_model(fit: str | None, why: str, tree: xr.DataTree | None, is_weighted: bool) -> ModelCheck:
    """The p-values of every observed site, by the draws of a fit.

    Args:
        fit: The fit whose draws stand for the posterior; None where there are none.
        why: Why there are none.
        tree: Its tree.
        is_weighted: Whether they are a guide's, which stand for the posterior by their weights.
    """
    if fit is None or tree is None:
        return ModelCheck(None, why)
    if "posterior_predictive" not in tree.children:
        return ModelCheck(fit, str(tree.attrs.get("no_posterior_predictive", "nothing was replicated")))
    weights = weights_of(tree) if is_weighted else None
    statistics, pits = {}, {}
    for name, replicated in tree["posterior_predictive"].data_vars.items():
        site = str(name)
        there = observed_places(tree, site)
        observed = np.asarray(tree["observed_data"][site], float).ravel()[there]
        drawn = np.asarray(replicated, float).reshape(*replicated.shape[:2], -1)[..., there]
        if observed.size and np.isfinite(observed).all():
            chosen = STATISTICS if observed.size > 1 else {"mean": np.mean}
            statistics[site] = {
                statistic: p_value(float(take(observed)), take(drawn, axis=-1), weights)
                for statistic, take in chosen.items()
            }
        pit = loo_pit(tree, site) if weights is None and there.all() else None
        if pit is not None:
            pits[site] = pit
    return ModelCheck(fit, None, statistics, pits)


def observed_places(tree: xr.DataTree, site: str) -> np.ndarray:
    """Flags of a site's elements that are not masked out: those whose log likelihood is not 0 at every draw."""
    size, shape = tree["observed_data"][site].size, tree["observed_data"][site].shape
    terms = tree["log_likelihood"].dataset.get(site) if "log_likelihood" in tree.children else None
    if terms is None or terms.shape[2:] != shape:
        return np.ones(size, bool)
    return (np.asarray(terms) != 0).any(axis=(0, 1)).ravel()


def weights_of(tree: xr.DataTree) -> np.ndarray | None:
    """A guide's smoothed weights, shape (chain, draw); None where all are equal, or it has no density."""
    if "log_guide" not in tree["sample_stats"].dataset:
        return None
    ratio = log_ratios(tree)
    if has_equal_weights(ratio):
        return None
    return smooth(ratio)[0].reshape(tree["posterior"].sizes["chain"], -1)


def p_value(observed: float, replicated: np.ndarray, weights: np.ndarray | None = None) -> PredictiveP:
    """P(T(replicate) > T(data)) plus half of P(they are equal), of replicates of shape (chain, draw).

    Its Monte Carlo error allows for half a draw on a side where none fell.
    """
    above = (replicated > observed) + 0.5 * np.isclose(replicated, observed, rtol=1e-9, atol=0.0)
    above = np.where(above > 1, 0.5, above)  # above by rounding only
    share = np.full(above.shape, 1 / above.size) if weights is None else weights
    p, effective = float(np.sum(share * above)), 1 / float(np.sum(share**2))
    if weights is not None:
        error = float(np.sqrt(np.sum(share**2 * (above - p) ** 2)))
    elif np.ptp(above) == 0:
        error = 0.0
    else:
        error = float(array_stats.mcse(above, method="mean"))
    error = float(np.fmax(error, np.sqrt(0.5) / effective))  # that of few draws is not a number
    return PredictiveP(min(max(p, 0.0), 1.0), error, float(observed))


def loo_pit(tree: xr.DataTree, site: str) -> LooPit | None:
    """Whether the leave-one-out PIT of a site's observations is uniform; None where there are too few.

    The p-value is that of the Kolmogorov-Smirnov test, as if the values were independent; as they are not, it is
    extreme less often than it says.
    """
    observed = tree["observed_data"][site]
    terms = tree["log_likelihood"].dataset.get(site) if "log_likelihood" in tree.children else None
    if observed.ndim != 1 or observed.size < ENOUGH or terms is None or terms.shape[2:] != observed.shape:
        return None
    places = evenly(observed.size, MOST)
    rows = {observed.dims[0]: places}
    groups = {name: tree[name].dataset[[site]].isel(rows) for name in REPLICATED}
    part = xr.DataTree.from_dict({"posterior": tree["posterior"].dataset, **groups})
    with warnings.catch_warnings():  # of k-hats: they are the reader's to see in ArviZ
        warnings.simplefilter("ignore")
        values = np.asarray(arviz_stats.loo_pit(part, var_names=site)[site])
    return LooPit(len(values), float(stats.kstest(values, "uniform").pvalue))
