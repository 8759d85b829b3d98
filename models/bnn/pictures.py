"""The network's own pictures: its function with bands, its spread, and its surface over two inputs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from models.bnn import network
from models.bnn.data import BnnData
from models.bnn.uncertainty import (
    N_DRAWS,
    POINTS,
    SHADE,
    covered,
    curve_inputs,
    gap,
    input_range,
    limited,
    one_input,
    reliable,
    spread,
)
from models.contract import Latents, Picture
from models.plotting import (
    CLASS_COLORS,
    EXACT,
    GREY,
    Fits,
    find_reference,
    flat_draws,
    legend_line,
    legend_patch,
    new_figure,
    one_per_family,
    save,
    small_multiples,
)

if TYPE_CHECKING:
    import xarray as xr

UNCERTAIN = "#5b3e99"
QUANTILES = (0.025, 0.25, 0.5, 0.75, 0.975)


# One input: the function


def predictive(data: BnnData, latents: Latents, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles of the predictive distributions at x, shape (points,).

    Returns:
        The `QUANTILES` of f, or for two classes of the probability of class 1, shape (5, points).
        The outer two quantiles of targets with their noise, shape (2, points); for classes, shape (0, points).
    """
    f = network.values(latents, x[:, None], data.activation)
    if data.dataset.classes:
        return np.quantile(special.expit(f), QUANTILES, axis=0), np.empty((0, len(x)))
    levels = (np.random.default_rng(0).permutation(len(f)) + 0.5) / len(f)  # one noise per draw keeps the bands smooth
    targets = f + network.noise_of(data, latents) * special.ndtri(levels)[:, None]
    return np.quantile(f, QUANTILES, axis=0), np.quantile(targets, (QUANTILES[0], QUANTILES[-1]), axis=0)


def bands(fits: Fits, data: BnnData, exact: object, path: Path) -> None:
    """Draw a panel a family: its predictive bands over the data, outlined by the reference's."""
    shown, reference, x = one_per_family(fits, references=True), find_reference(fits), curve_inputs(data)
    curves = {fit.name: predictive(data, flat_draws(fit.tree, N_DRAWS), x) for fit in shown}
    ylabel = "probability of class 1" if data.dataset.classes else "f(x) and targets"
    figure, panels = small_multiples(max(1, len(shown)), (4.4, 2.9), "input x", ylabel)
    for axes in panels:
        axes.axvspan(*gap(data.dataset.inputs[:, 0]), color=SHADE, lw=0, zorder=0)
        axes.plot(data.dataset.inputs[:, 0], data.dataset.targets, "o", color=POINTS, ms=3.2, mew=0, zorder=4)
        if reference:
            axes.plot(x, curves[reference][0][[0, -1]].T, color=EXACT, lw=1.1)
    for fit, axes in zip(shown, panels, strict=False):
        color = GREY if fit.name == reference else fit.color
        f, targets = curves[fit.name]
        if len(targets):
            axes.fill_between(x, *targets, color=color, alpha=0.15, lw=0)
        axes.fill_between(x, f[0], f[-1], color=color, alpha=0.35, lw=0)
        axes.fill_between(x, f[1], f[-2], color=color, alpha=0.5, lw=0)
        axes.plot(x, f[2], color=fit.color, lw=1.6)
        axes.set_title(fit.name)
    within = [curves[reference]] if reference else list(curves.values())
    heights = np.concatenate([data.dataset.targets, *(part.ravel() for curve in within for part in curve)])
    room = 0.06 * np.ptp(heights)
    panels[0].set(xlim=(x[0], x[-1]), ylim=(heights.min() - room, heights.max() + room))
    figure.legend(
        handles=band_legend(bool(shown), data.dataset.classes, reference),
        loc="outside lower center", ncols=7 if figure.get_figwidth() > 12 else 4, handlelength=1.6, columnspacing=1.5,
    )  # fmt: skip
    save(figure, path)


def band_legend(has_fits: bool, classes: bool, reference: str | None) -> list:
    handles = [
        legend_line("training data", POINTS, marker="o", ms=4, mew=0, ls=""),
        legend_patch("largest gap between inputs", SHADE),
    ]
    if has_fits:
        handles += [legend_line("median", lw=1.6), legend_patch("50%", alpha=0.75), legend_patch("95%", alpha=0.4)]
    if has_fits and not classes:
        handles.append(legend_patch("95% with noise", alpha=0.15))
    if reference:
        handles.append(legend_line(f"the {reference}'s 95%", EXACT, lw=1.1))
    return handles


# Two inputs: the surface


def surface_moments(data: BnnData, tree: xr.DataTree, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and sd over the draws of f, or for two classes of the probability of class 1, on a grid.

    Args:
        data: The data.
        tree: A fit's tree.
        grid: Both inputs, shape (2, rows, columns).

    Returns:
        Two arrays of shape (rows, columns).
    """
    f = network.values(flat_draws(tree, N_DRAWS // 2), grid.reshape(2, -1).T, data.activation)
    values = special.expit(f) if data.dataset.classes else f
    return values.mean(0).reshape(grid.shape[1:]), values.std(0).reshape(grid.shape[1:])


def surface(fits: Fits, data: BnnData, exact: object, path: Path) -> None:
    """Draw `surface_moments` over the plane of the inputs: one column a family, the means above the sds."""
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.ticker import MaxNLocator

    shown, classes, (low, high) = one_per_family(fits, references=True), data.dataset.classes, input_range(data)
    grid = np.array(np.meshgrid(*np.linspace(low, high, 41).T))
    moments = [surface_moments(data, fit.tree, grid) for fit in shown]
    edge = max([float(np.abs(mean).max()) for mean, _ in moments], default=1.0)
    largest = max([float(sd.max()) for _, sd in moments], default=1.0)
    two_sided = LinearSegmentedColormap.from_list("two sided", [CLASS_COLORS[0], "#ffffff", CLASS_COLORS[1]])
    one_sided = LinearSegmentedColormap.from_list("one sided", ["#ffffff", UNCERTAIN])
    values = "the probability" if classes else "f"
    rows = (
        ("probability of class 1" if classes else "mean of f", two_sided, (0.0, 1.0) if classes else (-edge, edge)),
        (f"sd of {values}", one_sided, (0.0, largest)),
    )
    n_columns = max(1, len(shown))
    figure = new_figure(max(4.4, 2.15 * n_columns + 1.2), 5.0)
    panels = figure.subplots(2, n_columns, sharex=True, sharey=True, squeeze=False)
    for row, (words, colors, (least, most)) in enumerate(rows):
        is_probability = classes and row == 0
        levels = (0.1, 0.25, 0.5, 0.75, 0.9) if is_probability else MaxNLocator(7).tick_values(least, most)
        look = {"cmap": colors, "vmin": least, "vmax": most, "interpolation": "bilinear"}
        extent = (low[0], high[0], low[1], high[1])
        for axes, moment in zip(panels[row], (pair[row] for pair in moments), strict=False):
            image = axes.imshow(moment, **look, origin="lower", extent=extent, aspect="auto")
            crossed = [level for level in levels if moment.min() < level < moment.max()]
            if crossed:
                widths = [1.8 if is_probability and level == 0.5 else 0.7 for level in crossed]
                axes.contour(*grid, moment, crossed, colors="#333333", linewidths=widths)
        if shown:
            bar: Any = figure.colorbar(image, ax=panels[row], label=words, pad=0.01, aspect=16)
            bar.outline.set_visible(False)
    for axes, fit in zip(panels[0], shown, strict=False):
        axes.set_title(fit.name, fontsize=10)
    least, most = rows[0][2]
    for axes in panels.ravel():
        axes.grid(False)
        axes.scatter(
            *data.dataset.inputs.T, c=data.dataset.targets, cmap=two_sided, vmin=least, vmax=most, s=13,
            linewidths=0.5, edgecolors="white" if classes else POINTS,
        )  # fmt: skip
        axes.set(xlabel="first input", ylabel="second input")
        axes.label_outer()
    save(figure, path)


# Which pictures apply to which data


def not_limited(data: BnnData) -> bool:
    return one_input(data) and not limited(data)


def two_inputs(data: BnnData) -> bool:
    return data.dataset.inputs.shape[1] == 2


def classes(data: BnnData) -> bool:
    return data.dataset.classes


def numbers(data: BnnData) -> bool:
    return not data.dataset.classes


SPREAD = (
    "Standard deviation of f along the input, on a log scale, with the training inputs as ticks. A fit that stays low "
    "in the shaded gap, where the reference (black) rises, does not know that it has seen no data there."
)

PICTURES = (
    Picture(
        "bands",
        "Predictive bands of f and, faintly, of targets with their noise (for two classes, of the probability of class "
        "1). There is one panel a family, with NumPyro's fit where both libraries made one. The black lines are the "
        "reference's 95%: a family that stays well inside them in the shaded gap claims to know what it has not seen.",
        bands,
        one_input,
    ),
    Picture("spread", SPREAD, spread, not_limited),
    Picture(
        "spread",
        f"{SPREAD} Where mean field was fitted, the dotted line is the most that Theorem 1 of Foong et al. (2020) lets "
        "it have between p and q, the sides of the gap, given its variances there; ± is a Monte Carlo standard error.",
        spread,
        limited,
    ),
    Picture(
        "surface",
        "Over the plane of the two inputs: above, the probability of class 1 (for numbers, the mean of f); below, its "
        "standard deviation over the draws. There is one column a family and one scale a row. The points are the "
        "training rows, coloured by their targets; away from them the standard deviation should grow as the "
        "reference's does.",
        surface,
        two_inputs,
    ),
    Picture(
        "calibration",
        "Left, the share of held-out rows within central predictive intervals, at every 5% of level; right, the same "
        "minus the level: above 0 the intervals are too wide, below 0 too narrow. The grey band holds 95% of the "
        "shares that chance alone gives this many rows. Intervals are right on average over functions, and this is one "
        "function, so even the reference may leave the band.",
        covered,
        numbers,
    ),
    Picture(
        "calibration",
        "How often class 1 was seen against its predicted probability, in bins of equally many held-out rows, with "
        "Wilson's 95% intervals. A calibrated fit keeps to the dotted diagonal; a steeper curve is less certain than "
        "it could be, a flatter one too certain.",
        reliable,
        classes,
    ),
)
