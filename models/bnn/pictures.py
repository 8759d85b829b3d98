"""The network's own pictures: its function with bands, its spread, and its surface over two inputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import special

from models.bnn import network
from models.bnn.calibration import covered, reliable
from models.bnn.look import (
    DRAWS,
    GREY,
    POINTS,
    TRUTH,
    TRUTHS,
    Fits,
    Shown,
    drawn,
    every,
    one_a_family,
    panels,
    reach,
    tidy,
)
from models.contract import Latents, Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from models.bnn import BnnData

__all__ = ["PICTURES", "Bound", "bound", "gap"]

SHADE = "#f4ecdb"
CLASSES, UNSURE = ("#0072B2", "#D55E00"), "#5b3e99"
QUANTILES = (0.025, 0.25, 0.5, 0.75, 0.975)


# One input: the function and its spread


def gap(inputs: np.ndarray) -> tuple[float, float]:
    """The largest gap between training inputs, shape (rows,), two rows or more: the inputs at its two sides."""
    ordered = np.sort(inputs)
    widest = int(np.argmax(np.diff(ordered)))
    return float(ordered[widest]), float(ordered[widest + 1])


def predictive(data: BnnData, latents: Latents, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles along x, shape (5, points), of f, or of two classes the probability of 1; and the outer two of targets
    with their noise, shape (2, points), of which classes have none: shape (0, points)."""
    f = network.values(latents, x[:, None], data.activation)
    if data.dataset.classes:
        return np.quantile(special.expit(f), QUANTILES, axis=0), np.empty((0, len(x)))
    levels = (np.random.default_rng(0).permutation(len(f)) + 0.5) / len(f)  # one noise a draw keeps the bands smooth
    targets = f + network.noise_of(data, latents) * special.ndtri(levels)[:, None]
    return np.quantile(f, QUANTILES, axis=0), np.quantile(targets, (QUANTILES[0], QUANTILES[-1]), axis=0)


def bands(fits: Fits, data: BnnData, exact: object, path: Path) -> None:
    """One panel a family: its predictive bands over the data, and the outline of the reference's over each."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    shown = one_a_family(fits)
    (low,), (high,) = reach(data)
    x = np.linspace(low, high, 241)
    curves = {one.name: predictive(data, drawn(data, one.tree), x) for one in shown}
    truth = next((name for name in TRUTHS if name in fits), None)
    ylabel = "probability of class 1" if data.dataset.classes else "f(x) and targets"
    figure, places = panels(max(1, len(shown)), (4.4, 2.9), "input x", ylabel)
    for axes in places:
        axes.axvspan(*gap(data.dataset.inputs[:, 0]), color=SHADE, lw=0, zorder=0)
        axes.plot(data.dataset.inputs[:, 0], data.dataset.targets, "o", color=POINTS, ms=3.2, mew=0, zorder=4)
        if truth:
            axes.plot(x, curves[truth][0][[0, -1]].T, color=TRUTH, lw=1.1)
    for one, axes in zip(shown, places, strict=False):
        colour = GREY if one.name == truth else one.colour
        f, targets = curves[one.name]
        if len(targets):
            axes.fill_between(x, *targets, color=colour, alpha=0.15, lw=0)
        axes.fill_between(x, f[0], f[-1], color=colour, alpha=0.35, lw=0)
        axes.fill_between(x, f[1], f[-2], color=colour, alpha=0.5, lw=0)
        axes.plot(x, f[2], color=one.colour, lw=1.6)
        tidy(axes, one.name)
    seen = [curves[truth]] if truth else list(curves.values())
    heights = np.concatenate([data.dataset.targets, *(part.ravel() for curve in seen for part in curve)])
    room = 0.06 * np.ptp(heights)
    places[0].set(xlim=(low, high), ylim=(heights.min() - room, heights.max() + room))
    of_function = [
        Line2D([], [], color=GREY, lw=1.6, label="median"),
        Patch(color=GREY, alpha=0.75, lw=0, label="50%"),
        Patch(color=GREY, alpha=0.4, lw=0, label="95%"),
    ]
    of_targets = [Patch(color=GREY, alpha=0.15, lw=0, label="95% with noise")]
    outline = [Line2D([], [], color=TRUTH, lw=1.1, label=f"the {truth}'s 95%")]
    figure.legend(
        handles=[
            Line2D([], [], color=POINTS, marker="o", ms=4, mew=0, ls="", label="training data"),
            Patch(color=SHADE, label="largest gap between inputs"),
            *(of_function if shown else []),
            *(of_targets if shown and not data.dataset.classes else []),
            *(outline if truth else []),
        ],
        loc="outside lower center", ncols=7 if figure.get_figwidth() > 12 else 4, fontsize=9, frameon=False,
        handlelength=1.6, columnspacing=1.5,
    )  # fmt: skip
    figure.savefig(path, dpi=140)


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
    """Whether the theorem speaks of this network between the two sides of its gap."""
    if data.activation != "relu" or not one_input(data):
        return False
    p, q = gap(data.dataset.inputs[:, 0])
    return p < 0 < q


def spread(fits: Fits, data: BnnData, exact: object, path: Path) -> None:
    """The sd of f along the input, all fits in one figure."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    shown = every(fits)
    (low,), (high,) = reach(data)
    x = np.linspace(low, high, 241)
    figure = Figure(figsize=(10.4, 5.0), layout="constrained")
    axes = figure.subplots()
    axes.axvspan(*gap(data.dataset.inputs[:, 0]), color=SHADE, lw=0, zorder=0)
    inputs = data.dataset.inputs[:, 0]
    axes.plot(inputs, np.full(len(inputs), 0.02), "|", color=POINTS, ms=9, transform=axes.get_xaxis_transform())
    for one in shown:
        f = network.values(drawn(data, one.tree), x[:, None], data.activation)
        axes.plot(x, f.std(0), color=one.colour, ls=one.line, lw=2.8 if one.name in TRUTHS else 1.7)
    if shown:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 4, 5, 7)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.set_ylim(bottom=0.85 * axes.get_ylim()[0])  # room for the ticks of the inputs
    axes.set(
        xlim=(low, high), xlabel="input x", ylabel="sd of the logit f(x)" if data.dataset.classes else "sd of f(x)"
    )
    theorem = foong(axes, shown, data)
    families = {one.label: Line2D([], [], color=one.colour, lw=2.2, label=one.label) for one in shown}
    libraries = {one.line: one.name.partition("-")[0] for one in shown if one.name not in TRUTHS}
    figure.legend(
        handles=[
            *families.values(),
            *(Line2D([], [], color=GREY, lw=1.7, ls=line, label=library) for line, library in libraries.items()),
            Patch(color=SHADE, label="largest gap between inputs"),
            Line2D([], [], color=POINTS, marker="|", ms=9, ls="", label="training inputs"),
            *theorem,
        ],
        loc="outside right upper", fontsize=9, frameon=False, labelspacing=0.65,
    )  # fmt: skip
    tidy(axes, "who forgets the gap?")
    figure.savefig(path, dpi=140)


def foong(axes: Axes, shown: Sequence[Shown], data: BnnData) -> list:
    """Draw the theorem's limit on mean field; its line for the legend, none where the theorem is silent."""
    found = [one for one in shown if one.name.endswith("-mean_field")]
    if not found or not limited(data):
        return []
    p, q = gap(data.dataset.inputs[:, 0])
    name, _, colour, _, tree = found[0]
    latents = drawn(data, tree, most=tree["posterior"]["output_bias"].size)
    f = network.values(latents, np.array([[p], [0.0], [q]]), data.activation)
    sides = bound(f)
    axes.plot([p, 0.0, q], f.std(0), "o", color=colour, mfc="white", ms=6, mew=1.5, zorder=5)
    for letter, side, shift in (("p", p, 7), ("q", q, -7)):
        axes.annotate(
            letter, (side, 0.055), (shift, 0), axes.get_xaxis_transform(), "offset points", ha="center", color=colour
        )
    label = (
        f"the most that Theorem 1 of Foong\net al. (2020) lets {name}\nhave nearer to 0 than p and q:\n"
        f"√(Var f(p) + Var f(q)) = {sides.limit:.3f} ± {sides.limit_error:.3f}\n"
        f"and sd f(0) = {sides.middle:.3f} ± {sides.middle_error:.3f}"
    )
    near = min(-p, q)
    return axes.plot([-near, near], [sides.limit] * 2, color=colour, lw=2, ls=":", label=label)


# Two inputs: the surface


def surface(fits: Fits, data: BnnData, exact: object, path: Path) -> None:
    """Mean and sd of f, or of two classes the probability of 1, over the plane of the inputs: one column a family."""
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    shown, classes = one_a_family(fits), data.dataset.classes
    low, high = reach(data)
    first, second = np.meshgrid(*np.linspace(low, high, 41).T)
    points = np.column_stack([first.ravel(), second.ravel()])
    moments = []
    for one in shown:
        f = network.values(drawn(data, one.tree, DRAWS // 2), points, data.activation)
        values = special.expit(f) if classes else f
        moments.append([moment.reshape(first.shape) for moment in (values.mean(0), values.std(0))])
    edge = max([float(np.abs(mean).max()) for mean, _ in moments], default=1.0)
    largest = max([float(sd.max()) for _, sd in moments], default=1.0)
    two_sided = LinearSegmentedColormap.from_list("two sided", [CLASSES[0], "#ffffff", CLASSES[1]])
    one_sided = LinearSegmentedColormap.from_list("one sided", ["#ffffff", UNSURE])
    rows = (
        ("probability of class 1" if classes else "mean of f", two_sided, (0.0, 1.0) if classes else (-edge, edge)),
        ("sd of the probability" if classes else "sd of f", one_sided, (0.0, largest)),
    )
    columns = max(1, len(shown))
    figure = Figure(figsize=(max(4.4, 2.15 * columns + 1.2), 5.0), layout="constrained")
    grid = figure.subplots(2, columns, sharex=True, sharey=True, squeeze=False)
    for row, (label, colours, scale) in enumerate(rows):
        levels = (0.1, 0.25, 0.5, 0.75, 0.9) if classes and row == 0 else MaxNLocator(7).tick_values(*scale)
        for axes, pair in zip(grid[row], moments, strict=False):
            look = {"cmap": colours, "vmin": scale[0], "vmax": scale[1]}
            place = {"origin": "lower", "extent": (low[0], high[0], low[1], high[1]), "aspect": "auto"}
            image = axes.imshow(pair[row], **look, **place, interpolation="bilinear")
            crossed = [level for level in levels if pair[row].min() < level < pair[row].max()]
            if crossed:
                wide = [1.8 if classes and level == 0.5 and row == 0 else 0.7 for level in crossed]
                axes.contour(first, second, pair[row], crossed, colors="#333333", linewidths=wide)
        if shown:
            figure.colorbar(image, ax=grid[row], label=label, pad=0.01, aspect=16).outline.set_visible(False)
    for axes, one in zip(grid[0], shown, strict=False):
        tidy(axes, one.name)
        axes.title.set_fontsize(10)
    scale = {"vmin": 0, "vmax": 1} if classes else {"vmin": -edge, "vmax": edge}
    for axes in grid.ravel():
        axes.grid(False)
        axes.scatter(
            *data.dataset.inputs.T, c=data.dataset.targets, cmap=two_sided, **scale, s=13, linewidths=0.5,
            edgecolors="white" if classes else POINTS,
        )  # fmt: skip
        axes.label_outer()
    for axes in grid[:, 0]:
        axes.set_ylabel("second input")
    for axes in grid[1]:
        axes.set_xlabel("first input")
    figure.savefig(path, dpi=140)


# Where each makes sense


def one_input(data: BnnData) -> bool:
    """Whether the function is a curve."""
    return data.dataset.inputs.shape[1] == 1


def not_limited(data: BnnData) -> bool:
    """Whether the function is a curve of which the theorem does not speak."""
    return one_input(data) and not limited(data)


def two_inputs(data: BnnData) -> bool:
    """Whether the function is a surface."""
    return data.dataset.inputs.shape[1] == 2


def classes(data: BnnData) -> bool:
    """Whether the targets are two classes."""
    return data.dataset.classes


def numbers(data: BnnData) -> bool:
    """Whether the targets are numbers."""
    return not data.dataset.classes


SPREAD = (
    "Standard deviation of f along the input, on a log scale, with the training inputs as ticks. A fit that stays low "
    "in the shaded gap, where the reference (black) rises, does not know that it has seen nothing there."
)

PICTURES = (
    Picture(
        "bands",
        "Predictive bands of f and, faintly, of targets with their noise (of two classes: of the probability of class "
        "1), one panel a family, NumPyro's fit where both libraries made one. The black lines are the reference's 95%: "
        "a family that stays well inside them in the shaded gap claims to know what it has not seen.",
        bands,
        one_input,
    ),
    Picture("spread", SPREAD, spread, not_limited),
    Picture(
        "spread",
        f"{SPREAD} Where mean field was fitted, the dotted line is the most that Theorem 1 of Foong et al. (2020) lets "
        "it have between p and q, the sides of the gap, by its variances there; ± is one Monte Carlo standard error.",
        spread,
        limited,
    ),
    Picture(
        "surface",
        "Over the plane of the two inputs, the probability of class 1 (of numbers, the mean of f) above and its "
        "standard deviation over the draws below, one column a family and one scale a row. The points are the training "
        "rows, coloured by their targets; away from them the standard deviation should grow as the reference's does.",
        surface,
        two_inputs,
    ),
    Picture(
        "calibration",
        "The share of held-out rows within central predictive intervals, at every 5% of level, and on the right the "
        "same less the level: above 0 the intervals are too wide, below it too narrow. The grey band holds 95% of what "
        "chance does to as many rows; intervals hold on average over functions, and here is one, so that even the "
        "reference may leave it.",
        covered,
        numbers,
    ),
    Picture(
        "calibration",
        "Held-out rows in bins of equally many, by predicted probability, against how often class 1 was seen, with "
        "Wilson's 95% intervals. A calibrated fit keeps to the dotted diagonal; a steeper one is less sure than it "
        "could be, a flatter one too sure.",
        reliable,
        classes,
    ),
)
