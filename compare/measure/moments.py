"""Moments and quantiles of one element at a time, and how far they are from the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import xarray as xr

from compare import standard_errors
from compare.comparison import Element, Fit, Job, Truth
from compare.fit.density import layout_of
from compare.measure.truth import errors
from compare.summary import Correlation, Distance, Estimate, VariableSummary

QUANTILES = (0.025, 0.5, 0.975)

NO_DISTANCE = Distance(Estimate(0.0), Estimate(1.0))


Number = TypeVar("Number", float, np.ndarray)


class Moments(NamedTuple, Generic[Number]):
    """Mean and sd of one element, or of several, and their standard errors."""

    mean: Number
    sd: Number
    mcse_mean: Number = 0.0  # type: ignore[assignment]
    mcse_sd: Number = 0.0  # type: ignore[assignment]


def moments_of(variable: VariableSummary) -> Moments:
    """The moments in an element's summary."""
    return Moments(variable.mean, variable.sd, variable.mcse_mean, variable.mcse_sd)


def elements(job: Job) -> dict[str, Element]:
    """The reported elements by name, such as ``z[0]``."""
    layout = layout_of(job)
    return {layout.label(*element): element for element in layout.reported_elements}


def digits(value: float, count: int) -> float:
    """The value to ``count`` significant digits: further ones differ from run to run, as compiled code adds in no
    fixed order."""
    return float(f"{value:.{count}g}")


def values(tree: xr.DataTree, site: str, index: tuple[int, ...]) -> np.ndarray:
    """The draws of one element, shape (chain, draw)."""
    labels = {f"{site}_dim_{axis}": position for axis, position in enumerate(index)}
    return tree["posterior"].dataset[site].sel(labels).values


def distance(own: Moments, true: Moments) -> Distance:
    """The distance in the true sd, with the errors of both."""
    ratio = own.sd / true.sd
    mcse_mean = np.hypot(own.mcse_mean, true.mcse_mean) / true.sd
    mcse_ratio = np.hypot(own.mcse_sd, ratio * true.mcse_sd) / true.sd
    return Distance(
        Estimate((own.mean - true.mean) / true.sd, digits(mcse_mean, 6)), Estimate(ratio, digits(mcse_ratio, 6))
    )


def true_moments(truth: Truth | None, shown: dict[str, Element]) -> dict[str, Moments]:
    """The truth's moments by element, with its own errors; none where it is not known."""
    if truth is None:
        return {}
    means, sds = truth.mean(), truth.sd()
    return {
        name: Moments(float(means[site][index]), float(sds[site][index]), *errors(truth, site, index))
        for name, (site, index) in shown.items()
    }


def variables(fit: Fit, truth: Truth | None) -> dict[str, VariableSummary]:
    """Each reported element by name; the truth's numbers are its own, all others come from draws."""
    shown = elements(fit.job)
    true = true_moments(truth, shown)
    if fit.job.is_truth and truth is not None:
        levels = [truth.quantile(level) for level in QUANTILES]
        return {
            name: summarise(true[name], [float(level[site][index]) for level in levels], NO_DISTANCE)
            for name, (site, index) in shown.items()
        }
    summaries = {}
    for name, (site, index) in shown.items():
        draws = values(fit.tree, site, index)
        own = moments(draws, not fit.job.is_mcmc)
        apart = distance(own, true[name]) if true else None
        if fit.job.method == "reference":  # against itself it has no error
            apart = NO_DISTANCE
        summaries[name] = summarise(own, [digits(value, 12) for value in np.quantile(draws, QUANTILES)], apart)
    return summaries


def moments(draws: np.ndarray, independent: bool) -> Moments:
    """The moments of the draws of one element, shape (chain, draw)."""
    if np.ptp(draws) == 0:  # a point: no rounding may pass for a spread
        return Moments(digits(draws.flat[0], 12), 0.0)
    errors = standard_errors.of_mean(draws, independent), standard_errors.of_sd(draws, independent)
    return Moments(digits(draws.mean(), 12), digits(draws.std(ddof=1), 12), *errors)


def summarise(own: Moments, quantiles: Sequence[Any], apart: Distance | None) -> VariableSummary:
    """One element's entry in the summary; ``apart`` is None where no truth is known."""
    lower, median, upper = quantiles
    known = VariableSummary(own.mean, own.sd, lower, median, upper, digits(own.mcse_mean, 6), digits(own.mcse_sd, 6))
    if apart is None:
        return known
    shift, ratio = apart.mean_error, apart.sd_ratio
    return replace(
        known,
        mean_error=shift.value,
        sd_ratio=ratio.value,
        mcse_mean_error=shift.mcse,
        mcse_sd_ratio=ratio.mcse,
    )


def correlations(fit: Fit, truth: Truth | None) -> dict[str, Correlation]:
    """The correlations that the truth names, each with its error and the truth."""
    shown, pairs = elements(fit.job), {}
    for pair, true in truth.correlations().items() if truth else ():
        if fit.job.is_truth:
            pairs[pair] = Correlation(true, 0.0, true)
            continue
        a, b = (values(fit.tree, *shown[name]) for name in split_pair(pair, shown))
        a, b = ((draws - draws.mean()) / draws.std() for draws in (a, b))
        value = digits((a * b).mean(), 10)
        # The influence function of a correlation: a b - r (a^2 + b^2) / 2.
        mcse = standard_errors.of_mean(a * b - value * (a**2 + b**2) / 2, not fit.job.is_mcmc)
        pairs[pair] = Correlation(value, digits(mcse, 6), true)
    return pairs


def split_pair(pair: str, names: dict[str, Element]) -> tuple[str, str]:
    """``z[0],z[1]`` into its two elements; an index may hold a comma of its own."""
    for cut in (position for position, letter in enumerate(pair) if letter == ","):
        if pair[:cut] in names and pair[cut + 1 :] in names:
            return pair[:cut], pair[cut + 1 :]
    raise KeyError(f"the correlation {pair!r} names elements that are not reported")
