"""What the network does not know: the spread of its function along one input, what theory allows mean field between
two clusters, and how predictions of held-out rows are calibrated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import stats

from models.bnn import network
from models.bnn.data import BnnData
from models.plotting import (
    EXACT,
    GREY,
    REFERENCES,
    Fits,
    ShownFit,
    find_reference,
    flat_draws,
    legend_line,
    legend_patch,
    list_fits,
    new_figure,
    one_per_family,
    save,
    small_multiples,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

N_DRAWS = 2000  # draws of a fit behind a curve, and half as many behind a surface: an sd is then known to some 2%
POINTS, SHADE = "#222222", "#f4ecdb"  # the colours of training data, and of the largest gap between them


def gap(inputs: np.ndarray) -> tuple[float, float]:
    """The inputs at the two sides of the largest gap between training inputs, shape (rows,), two rows or more."""
    ordered = np.sort(inputs)
    widest = int(np.argmax(np.diff(ordered)))
    return float(ordered[widest]), float(ordered[widest + 1])


def input_range(data: BnnData) -> tuple[np.ndarray, np.ndarray]:
    """The ends between which each input is drawn, shapes (columns,): the grid, and the training inputs with a tenth
    more at each side."""
    low, high = data.dataset.inputs.min(0), data.dataset.inputs.max(0)
    margin = 0.1 * (high - low)
    return np.minimum(low - margin, data.dataset.grid.min(0)), np.maximum(high + margin, data.dataset.grid.max(0))


def curve_inputs(data: BnnData) -> np.ndarray:
    """The places at which a function of one input is drawn, shape (points,)."""
    (low,), (high,) = input_range(data)
    return np.linspace(low, high, 241)


def one_input(data: BnnData) -> bool:
    """Whether the function is a curve."""
    return data.dataset.inputs.shape[1] == 1


class Bound(NamedTuple):
    """Both sides of Foong et al.'s inequality as standard deviations, with their Monte Carlo standard errors."""

    middle: float
    middle_error: float
    limit: float
    limit_error: float


def bound(f: np.ndarray) -> Bound:
    """sd f(0) and its limit sqrt(Var f(p) + Var f(q)), from independent draws of f at p, 0 and q, shape (count, 3).

    For a ReLU network with one hidden layer and independent Gaussian weights, Var f(r) <= Var f(p) + Var f(q) for
    every r on the segment from p to q that is closer to the origin than both, if the segment holds the origin (Foong,
    Burt, Li & Turner 2020, On the Expressiveness of Approximate Inference in Bayesian Neural Networks, Theorem 1).
    """
    squares = (f - f.mean(0)) ** 2
    numbers = []
    for square in (squares[:, 1], squares[:, 0] + squares[:, 2]):
        sd = np.sqrt(square.mean())
        numbers += [float(sd), float(square.std() / np.sqrt(len(f)) / (2 * sd))]  # the delta method
    return Bound(*numbers)


def limited(data: BnnData) -> bool:
    """Whether the theorem applies to this network between the two sides of its gap."""
    if data.activation != "relu" or not one_input(data):
        return False
    p, q = gap(data.dataset.inputs[:, 0])
    return p < 0 < q


def spread(fits: Fits, data: BnnData, exact: object, path: Path) -> None:
    """Draw the sd of f along the input, all fits in one figure."""
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    shown, x, inputs = list_fits(fits, references=True), curve_inputs(data), data.dataset.inputs[:, 0]
    figure = new_figure(10.4, 5.0)
    axes = figure.subplots()
    axes.axvspan(*gap(inputs), color=SHADE, lw=0, zorder=0)
    axes.plot(inputs, np.full(len(inputs), 0.02), "|", color=POINTS, ms=9, transform=axes.get_xaxis_transform())
    for fit in shown:
        f = network.values(flat_draws(fit.tree, N_DRAWS), x[:, None], data.activation)
        axes.plot(x, f.std(0), color=fit.color, ls=fit.line, lw=2.8 if fit.name in REFERENCES else 1.7)
    if shown:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 4, 5, 7)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.set_ylim(bottom=0.85 * axes.get_ylim()[0])  # room for the ticks of the inputs
    axes.set(xlim=(x[0], x[-1]), xlabel="input x", title="who forgets the gap?")
    axes.set_ylabel("sd of the logit f(x)" if data.dataset.classes else "sd of f(x)")
    libraries = {fit.line: fit.name.partition("-")[0] for fit in shown if fit.name not in REFERENCES}
    figure.legend(
        handles=[
            *(legend_line(fit.label, fit.color, lw=2.2) for fit in one_per_family(fits, references=True)),
            *(legend_line(library, lw=1.7, ls=line) for line, library in libraries.items()),
            legend_patch("largest gap between inputs", SHADE),
            legend_line("training inputs", POINTS, marker="|", ms=9, ls=""),
            *draw_limit(axes, shown, data),
        ],
        loc="outside right upper", labelspacing=0.65,
    )  # fmt: skip
    save(figure, path)


def draw_limit(axes: Axes, shown: Sequence[ShownFit], data: BnnData) -> list[Line2D]:
    """Draw the theorem's limit on mean field. Returns its line for the legend, none where the theorem is silent."""
    mean_field = next((fit for fit in shown if fit.family == "mean_field"), None)
    if mean_field is None or not limited(data):
        return []
    p, q = gap(data.dataset.inputs[:, 0])
    f = network.values(flat_draws(mean_field.tree), np.array([[p], [0.0], [q]]), data.activation)
    sides, color = bound(f), mean_field.color
    axes.plot([p, 0.0, q], f.std(0), "o", color=color, mfc="white", ms=6, mew=1.5, zorder=5)
    for letter, side, shift in (("p", p, 7), ("q", q, -7)):
        axes.annotate(
            letter, (side, 0.055), (shift, 0), axes.get_xaxis_transform(), "offset points", ha="center", color=color
        )
    words = (
        f"the most that Theorem 1 of Foong\net al. (2020) lets {mean_field.name}\nhave nearer to 0 than p and q:\n"
        f"√(Var f(p) + Var f(q)) = {sides.limit:.3f} ± {sides.limit_error:.3f}\n"
        f"and sd f(0) = {sides.middle:.3f} ± {sides.middle_error:.3f}"
    )
    near = min(-p, q)
    return axes.plot([-near, near], [sides.limit] * 2, color=color, lw=2, ls=":", label=words)


# Calibration


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
    bins = []
    for rows in np.array_split(np.argsort(probability, kind="stable"), count):
        seen = int(outcome[rows].sum())
        low, high = stats.binomtest(seen, len(rows)).proportion_ci(method="wilson")
        bins.append(Bin(float(probability[rows].mean()), seen / len(rows), float(low), float(high)))
    return bins


def reliable(fits: Fits, data: BnnData, exact: object, path: Path) -> None:
    """Two classes: a reliability diagram for each family, the reference's behind it."""
    shown = one_per_family(fits, references=True)
    count = int(np.clip(len(data.dataset.test_targets) // 20, 1, 10))
    bins = {}
    for fit in shown:
        predictions = network.predict(data, flat_draws(fit.tree, N_DRAWS))
        bins[fit.name] = reliability(predictions.mean.mean(0), predictions.observed, count)
    truth = find_reference(fits)
    figure, places = small_multiples(
        max(1, len(shown)), (3.5, 3.3), "predicted probability of class 1", "observed frequency"
    )
    for axes in places:
        axes.plot([0, 1], [0, 1], color=GREY, lw=1, ls=":")
    for fit, axes in zip(shown, places, strict=False):
        if truth and fit.name != truth:
            behind = np.array(bins[truth])
            axes.plot(behind[:, 0], behind[:, 1], color=EXACT, lw=1.0, alpha=0.6, label=f"the {truth}")
        predicted, observed, low, high = np.array(bins[fit.name]).T
        axes.errorbar(
            predicted, observed, [observed - low, high - observed], color=fit.color, fmt="o-", ms=4, lw=1.5,
            elinewidth=1.1, capsize=2,
        )  # fmt: skip
        axes.set_title(fit.name)
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
    full, close = figure.subplots(1, 2, width_ratios=[1, 1.45])
    full.fill_between(levels, *likely, color=GREY, alpha=0.25, lw=0, label=f"95% of binomial\ncounts of {rows} rows")
    close.fill_between(levels, *(likely - levels), color=GREY, alpha=0.25, lw=0)
    full.plot(levels, levels, color=GREY, lw=1, ls=":")
    close.axhline(0, color=GREY, lw=1, ls=":")
    for fit in one_per_family(fits, references=True):
        share = coverage(network.predict(data, flat_draws(fit.tree, N_DRAWS)).below.mean(0), levels)
        look = {"color": fit.color, "lw": 2.6 if fit.name in REFERENCES else 1.6}
        full.plot(levels, share, **look, label=fit.name)
        close.plot(levels, share - levels, **look)
    full.set(xlim=(0, 1), ylim=(0, 1), xlabel="level of the central interval", ylabel="held-out rows within it")
    close.set(xlim=(0, 1), xlabel="level of the central interval", ylabel="held-out rows within it, less the level")
    full.set_title("coverage")
    close.set_title("coverage less the level")
    figure.legend(loc="outside right upper")
    save(figure, path)
