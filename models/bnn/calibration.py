"""Pictures of how the network's predictions of held-out rows are calibrated."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import stats

from models.bnn import network
from models.plotting import (
    EXACT,
    GREY,
    REFERENCES,
    Fits,
    find_reference,
    flat_draws,
    new_figure,
    one_per_family,
    save,
    small_multiples,
)

if TYPE_CHECKING:
    from models.bnn.data import BnnData

__all__ = ["Bin", "coverage", "covered", "reliability", "reliable"]

N_DRAWS = 2000
"""Draws of a fit behind a curve, and half as many behind a surface: an sd is then known to some 2%."""


def coverage(below: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """The share of rows within the central predictive interval of each level, shape (levels,).

    ``below`` is P(y' <= y) under the predictive distribution, one number a row (the probability integral transform).
    """
    return np.mean(np.abs(2 * below[:, None] - 1) <= levels, axis=0)


class Bin(NamedTuple):
    """Rows of like predicted probability: its mean, how often class 1 was seen, and that share's 95% interval."""

    predicted: float
    observed: float
    low: float
    high: float


def reliability(probability: np.ndarray, outcome: np.ndarray, count: int) -> list[Bin]:
    """A reliability diagram: rows in order of their probability, in ``count`` bins of equally many.

    Probabilities of class 1 and the classes 0 and 1, shapes (rows,). The intervals are Wilson's (1927).
    """
    found = []
    for rows in np.array_split(np.argsort(probability, kind="stable"), count):
        seen = int(outcome[rows].sum())
        low, high = stats.binomtest(seen, len(rows)).proportion_ci(method="wilson")
        found.append(Bin(float(probability[rows].mean()), seen / len(rows), float(low), float(high)))
    return found


def reliable(fits: Fits, data: BnnData, exact: object, path: Path) -> None:
    """Two classes: a reliability diagram for each family, the reference's behind it."""
    shown = one_per_family(fits, references=True)
    count = int(np.clip(len(data.dataset.test_targets) // 20, 1, 10))
    bins = {}
    for one in shown:
        predictions = network.predict(data, flat_draws(one.tree, N_DRAWS))
        bins[one.name] = reliability(predictions.mean.mean(0), predictions.observed, count)
    truth = find_reference(fits)
    figure, places = small_multiples(
        max(1, len(shown)), (3.5, 3.3), "predicted probability of class 1", "observed frequency"
    )
    for axes in places:
        axes.plot([0, 1], [0, 1], color=GREY, lw=1, ls=":")
    for one, axes in zip(shown, places, strict=False):
        if truth and one.name != truth:
            behind = np.array(bins[truth])
            axes.plot(behind[:, 0], behind[:, 1], color=EXACT, lw=1.0, alpha=0.6, label=f"the {truth}")
        predicted, observed, low, high = np.array(bins[one.name]).T
        axes.errorbar(
            predicted, observed, [observed - low, high - observed], color=one.color, fmt="o-", ms=4, lw=1.5,
            elinewidth=1.1, capsize=2,
        )  # fmt: skip
        axes.set_title(one.name)
    places[0].set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    for axes in places[1:2] if truth else []:
        axes.legend(loc="upper left")
    save(figure, path)


def covered(fits: Fits, data: BnnData, exact: object, path: Path) -> None:
    """Regression: the coverage of central predictive intervals against their level, and its distance to the level."""
    levels = np.linspace(0, 1, 21)
    rows = len(data.dataset.test_targets)
    likely = stats.binom.ppf([[0.025], [0.975]], rows, levels) / rows
    figure = new_figure(11.4, 4.6)
    whole, close = figure.subplots(1, 2, width_ratios=[1, 1.45])
    whole.fill_between(levels, *likely, color=GREY, alpha=0.25, lw=0, label=f"95% of binomial\ncounts of {rows} rows")
    close.fill_between(levels, *(likely - levels), color=GREY, alpha=0.25, lw=0)
    whole.plot(levels, levels, color=GREY, lw=1, ls=":")
    close.axhline(0, color=GREY, lw=1, ls=":")
    for one in one_per_family(fits, references=True):
        share = coverage(network.predict(data, flat_draws(one.tree, N_DRAWS)).below.mean(0), levels)
        look = {"color": one.color, "lw": 2.6 if one.name in REFERENCES else 1.6}
        whole.plot(levels, share, **look, label=one.name)
        close.plot(levels, share - levels, **look)
    whole.set(xlim=(0, 1), ylim=(0, 1), xlabel="level of the central interval", ylabel="held-out rows within it")
    close.set(xlim=(0, 1), xlabel="level of the central interval", ylabel="held-out rows within it, less the level")
    whole.set_title("coverage")
    close.set_title("coverage less the level")
    figure.legend(loc="outside right upper")
    save(figure, path)
