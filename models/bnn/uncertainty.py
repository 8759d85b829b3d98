"""The spread of the network's function along one input, and what theory allows mean field between two clusters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from models.bnn import network
from models.bnn.calibration import N_DRAWS
from models.plotting import (
    REFERENCES,
    Fits,
    ShownFit,
    flat_draws,
    legend_line,
    legend_patch,
    list_fits,
    new_figure,
    one_per_family,
    save,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

    from models.bnn.data import BnnData

__all__ = ["POINTS", "SHADE", "Bound", "bound", "curve_inputs", "gap", "input_range", "limited", "one_input", "spread"]

POINTS, SHADE = "#222222", "#f4ecdb"
"""The colours of training data, and of the largest gap between them."""


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
