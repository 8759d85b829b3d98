"""How well a posterior predicts what was held out, each score with its Monte Carlo error.

`score` gives, over the held-out points:

- ``log_density``: the mean log predictive density, log of the average over draws of p(y | z), in nats a point;
- for numbers ``rmse``, the root mean square error of the predictive mean, and ``coverage_50`` and ``coverage_95``, the
  share of points inside the central 50% and 95% predictive intervals;
- for two classes ``accuracy``, and ``calibration_error``: the mean distance between the predicted probability and
  the share of ones, in ten bins of equal width weighted by their points (Naeini, Cooper & Hauskrecht 2015).

Each is a `compare.summary.Score`, whose ``mcse`` is the error that the finite number of draws makes: a jackknife over
blocks of draws, so that correlated draws are not taken for independent ones. Of the log density the jackknife's
estimate of the bias is part of it: the logarithm of an average over draws is too low, by much where few of them explain
a point, and where hardly any does this estimate is, too. ``sampling`` is the standard error that the finite number of
held-out points makes; None for the calibration error, which is biased upwards where bins hold few.

A point may be an image: its log density is that of its pixels jointly, the other scores are means over its pixels.
Images that are not all zeros and ones are scored by log density and RMSE.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import special

from compare import registry
from compare.comparison import Fit
from compare.summary import Score
from models.contract import Predictions, Scores

BLOCKS = 16
"""Blocks of consecutive draws that the jackknife leaves out one by one."""

BINS = 10


def predictions(fit: Fit) -> dict[str, Score] | None:
    """The scores of a fit on what the data hold out; None where they hold out nothing, or ask what it does not say."""
    model, data = registry.load(fit.job.model), fit.job.data
    part = model.prediction
    if part is None:
        return None
    predicted = part.exact_predictions(data) if fit.job.method == "exact" and part.exact_predictions else None
    group = "posterior" if part.queries is None or part.queries(data) is None else "queries"
    if predicted is None and group in fit.tree:
        draws = fit.tree[group].dataset
        axes = draws[next(iter(draws))].dims.index("draw") + 1  # axes that are draws: there may be no chains
        latents = {str(site): draws[site].values.reshape(-1, *draws[site].shape[axes:]) for site in draws}
        predicted = part.predict(data, latents)
    scores = {} if predicted is None else score(predicted)
    return (scores | (score(part.scores(data, fit.tree)) if part.scores else {})) or None


def score(predictions: Predictions | Scores) -> dict[str, Score]:
    """The scores by name; those that are finished stay as they are."""
    if not isinstance(predictions, Predictions):
        finished: Mapping[str, Mapping[str, Any]] = predictions
        return {name: Score(**values) for name, values in finished.items()}
    scores = {"log_density": mean(predictions, log_density)}
    if predictions.below is None and np.isin(predictions.observed, (0, 1)).all():
        scores["accuracy"] = mean(predictions, correct)
        scores["calibration_error"] = replace(mean(predictions, calibration_error), sampling=None)
        return scores
    squares = mean(predictions, squared_error)
    root = float(np.sqrt(squares.value))
    slope = 1 / (2 * root) if root else 0.0
    sampling = None if squares.sampling is None else slope * squares.sampling
    scores["rmse"] = Score(root, slope * squares.mcse, sampling)
    for mass in (50, 95) if predictions.below is not None else ():
        scores[f"coverage_{mass}"] = mean(predictions, inside(mass / 100))
    return scores


def mean(predictions: Predictions, each: Callable[[Predictions], np.ndarray]) -> Score:
    """The mean over points of what ``each`` gives for them, shape (points,) or (points, pixels), with both errors."""
    points = each(predictions)
    points = points.reshape(len(points), -1).mean(axis=1)
    blocks = min(BLOCKS, len(predictions.log_density), len(predictions.mean))
    mcse = 0.0
    if blocks > 1:
        left = [each(without(predictions, block, blocks)).mean() for block in range(blocks)]
        bias = (blocks - 1) * (np.mean(left) - points.mean()) if each is log_density else 0.0
        mcse = float(np.hypot(np.sqrt((blocks - 1) * np.var(left)), bias))
    sampling = float(points.std(ddof=1) / np.sqrt(len(points))) if len(points) > 1 else None
    return Score(float(points.mean()), mcse, sampling)


def without(predictions: Predictions, block: int, blocks: int) -> Predictions:
    """The predictions of all draws but those of one block."""

    def left(values: np.ndarray) -> np.ndarray:
        parts = np.array_split(values, blocks)
        return np.concatenate(parts[:block] + parts[block + 1 :])

    below = None if predictions.below is None else left(predictions.below)
    return replace(predictions, log_density=left(predictions.log_density), mean=left(predictions.mean), below=below)


def log_density(predictions: Predictions) -> np.ndarray:
    density = predictions.log_density
    return special.logsumexp(density, axis=0) - np.log(len(density))


def squared_error(predictions: Predictions) -> np.ndarray:
    return (predictions.mean.mean(axis=0) - predictions.observed) ** 2


def correct(predictions: Predictions) -> np.ndarray:
    return ((predictions.mean.mean(axis=0) > 0.5) == (predictions.observed == 1)).astype(float)


def inside(mass: float) -> Callable[[Predictions], np.ndarray]:
    """Whether each point lies inside the central interval of that mass."""
    return lambda predictions: (np.abs(np.asarray(predictions.below).mean(axis=0) - 0.5) <= mass / 2).astype(float)


def calibration_error(predictions: Predictions) -> np.ndarray:
    """Each point's (of images each pixel's) bin's distance between prediction and frequency."""
    probability = predictions.mean.mean(axis=0)
    bins = np.minimum((probability * BINS).astype(int), BINS - 1)
    counts = np.maximum(np.bincount(bins.ravel(), minlength=BINS), 1)
    missed = (probability - predictions.observed).ravel()
    return (np.abs(np.bincount(bins.ravel(), missed, minlength=BINS)) / counts)[bins]
