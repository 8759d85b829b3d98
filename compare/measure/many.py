"""Moments, their errors and R-hat of many elements at once: what judges the elements that are not printed.

Element by element they would take ArviZ some milliseconds each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr

from compare.comparison import Element, Truth
from compare.measure.moments import Moments
from compare.measure.truth import Sampled, errors

Indices = Sequence[tuple[int, ...]]

BLOCK = 256
"""Elements whose draws are looked at together."""


def blocks(elements: Sequence[Element]) -> Iterator[tuple[str, Indices]]:
    """The elements by site: the site and at most `BLOCK` indices in it at a time."""
    sites = dict[str, list[tuple[int, ...]]]()
    for site, index in elements:
        sites.setdefault(site, []).append(index)
    for site, indices in sites.items():
        for start in range(0, len(indices), BLOCK):
            yield site, indices[start : start + BLOCK]


def columns(tree: xr.DataTree, site: str, indices: Indices) -> np.ndarray:
    """The draws of elements of a site, shape (chain, draw, len(indices))."""
    array = tree["posterior"].dataset[site].transpose("chain", "draw", ...)
    labels = [array[name].values for name in array.dims[2:]]
    places = [np.searchsorted(known, axis) for known, axis in zip(labels, zip(*indices, strict=True), strict=True)]
    return at(array.values, places)


def at(draws: np.ndarray, places: Sequence[Any]) -> np.ndarray:
    """Elements of draws, shape (chain, draw, *site), as (chain, draw, k); one of a scalar site."""
    chosen = draws[(slice(None), slice(None), *places)]
    return chosen if places else chosen[..., None]


def true_columns(truth: Truth, site: str, indices: Indices) -> Moments[np.ndarray]:
    """The truth's moments of elements of a site, each of shape (len(indices),), with its own errors."""
    places = tuple(np.array(axis) for axis in zip(*indices, strict=True))
    if isinstance(truth, Sampled):
        return moments(at(truth.posterior[site], places), independent=False)
    mean, sd = (np.atleast_1d(known[site][places]) for known in (truth.mean(), truth.sd()))
    mcse_mean, mcse_sd = np.array([errors(truth, site, index) for index in indices]).T
    return Moments(mean, sd, mcse_mean, mcse_sd)


def moments(draws: np.ndarray, independent: bool) -> Moments[np.ndarray]:
    """Means, sds and their errors, each of shape (k,), of draws, shape (chain, draw, k)."""
    mean, sd = draws.mean(axis=(0, 1)), draws.std(axis=(0, 1), ddof=1)
    is_still = np.ptp(draws, axis=(0, 1)) == 0  # there rounding must not pass for a spread
    mean, sd = np.where(is_still, draws[0, 0], mean), np.where(is_still, 0.0, sd)
    squares = (draws - mean) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):  # of elements that do not vary
        mcse_sd = np.where(sd > 0, standard_errors(squares, independent) / (2 * sd), 0.0)
    return Moments(mean, sd, np.where(is_still, 0.0, standard_errors(draws, independent)), mcse_sd)


def standard_errors(draws: np.ndarray, independent: bool = False) -> np.ndarray:
    """The standard errors of means, shape (k,), of draws, shape (chain, draw, k).

    Of chains by Geyer's initial monotone sequence over their halves (Vehtari et al. 2021, Rank-normalization, folding,
    and localization: An improved R-hat, section 3.2), as ArviZ's.
    """
    chains, count, _ = draws.shape
    errors = draws.std(axis=(0, 1), ddof=1) / math.sqrt(chains * count)
    if independent:
        return errors
    split = halves(draws)
    length = split.shape[1]
    spectrum = np.fft.rfft(split - split.mean(axis=1, keepdims=True), 2 * length, axis=1)
    covariance = np.fft.irfft(np.abs(spectrum) ** 2, axis=1)[:, :length].mean(axis=0) / length
    within = covariance[0] * length / (length - 1)
    total = covariance[0] + split.mean(axis=1).var(axis=0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = 1 - (within - covariance * length / (length - 1)) / total
    correlation[0] = 1.0
    pairs = correlation[: length // 2 * 2].reshape(length // 2, 2, -1).sum(axis=1)
    positive = np.logical_and.accumulate(pairs > 0, axis=0)
    time = 2 * np.minimum.accumulate(np.where(positive, pairs, 0.0), axis=0).sum(axis=0) - 1
    return errors * np.sqrt(np.maximum(time, 1 / math.log10(chains * count)))


def r_hats(draws: np.ndarray) -> np.ndarray:
    """Split R-hat, shape (k,), of draws, shape (chain, draw, k), and of their distances from the median; the larger.

    It is infinite where draws are not finite, or do not vary.
    """

    def r_hat(split: np.ndarray) -> np.ndarray:
        length, within = split.shape[1], split.var(axis=1, ddof=1).mean(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = split.mean(axis=1).var(axis=0, ddof=1) / within
        return np.nan_to_num(np.sqrt((length - 1) / length + ratio), nan=np.inf, posinf=np.inf)

    split = halves(draws)
    return np.maximum(r_hat(split), r_hat(np.abs(split - np.median(split, axis=(0, 1)))))


def halves(draws: np.ndarray) -> np.ndarray:
    """Each chain as two: shape (2 chain, draw // 2, k)."""
    half = draws.shape[1] // 2
    return np.concatenate([draws[:, :half], draws[:, -half:]])
