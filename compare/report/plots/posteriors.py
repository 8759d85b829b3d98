"""The plots of the posteriors, drawn with ArviZ: densities over the true one, and a forest of intervals."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import arviz_plots
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from compare.comparison import Comparison, Element
from compare.report.plots.panels import legend, panels, save
from compare.report.tables.elements import draws, finished, reported_elements
from models.plotting import EXACT, GREY, Look, looks

N_ELEMENTS = 4  # most elements with densities
N_ROWS = 12  # most elements in the forest
N_LABELS = 48  # up to this many intervals are labelled one by one; more differ by colour only

PROBABILITIES = (0.025, 0.25, 0.5, 0.75, 0.975)

TAIL = 5e-4  # probability on either side of what is drawn of the true posterior


def bulk(comparison: Comparison, e: Element) -> tuple[float, float]:
    """The ends of the bulk of one element's true posterior; where that is not known, of all fits' draws."""
    if comparison.truth is None:
        pooled = np.concatenate([np.ravel(draws(tree, *e)) for tree in finished(comparison).values()])
        low, high = np.quantile(pooled, [TAIL, 1 - TAIL])
    else:
        low, high = (np.asarray(comparison.truth.quantile(p)[e[0]])[e[1]] for p in (TAIL, 1 - TAIL))
    return float(low), float(high)


def posterior(comparison: Comparison, path: Path) -> None:
    """Save `densities` as a file."""
    save(densities(comparison), path)


def densities(comparison: Comparison) -> Figure:
    """Small multiples, a row an element and a column a family: the fits' densities over the true one."""
    trees = {name: tree for name, tree in finished(comparison).items() if name != comparison.reference_fit}
    look, elements = looks(comparison.fits), reported_elements(comparison, N_ELEMENTS)
    families = list(dict.fromkeys(look[name].family for name in trees)) or [comparison.reference_fit]
    cells = {f"{comparison.label(e)}  {f}": (e, f) for e in elements for f in families}
    wrap = len(families) if len(elements) > 1 else min(len(families), 4 if len(families) != 5 else 5)
    collection, figure, axes = panels(list(cells), wrap, (2.9, 2.3))
    heights = {name: draw_truth(axes[name], comparison, e) for name, (e, _) in cells.items()}
    for fit, tree in trees.items():
        own = [(name, e) for name, (e, f) in cells.items() if f == look[fit].family]
        values = {name: draws(tree, *e).reset_coords(drop=True) for name, e in own}
        points = {name: float(z.values.flat[0]) for name, z in values.items() if np.ptp(z.values) == 0}
        for name, point in points.items():  # it has no density to estimate
            axes[name].axvline(point, color=look[fit].color, ls=look[fit].line, lw=1.8)
        variables = xr.Dataset({name: z for name, z in values.items() if name not in points})
        if not variables.data_vars:
            continue
        hidden: Any = dict.fromkeys(
            ("credible_interval", "point_estimate", "point_estimate_text", "title", "remove_axis"), False
        )
        line: Any = {"color": look[fit].color, "linestyle": look[fit].line, "width": 1.8}
        arviz_plots.plot_dist(
            xr.DataTree.from_dict({"posterior": variables}),
            kind="kde",
            plot_collection=collection,
            visuals={"dist": line, **hidden},
        )
    for name, (e, f) in cells.items():
        low, high = bulk(comparison, e)
        limits = [axes[other].dataLim for other, (its, _) in cells.items() if its == e]
        least, most, width = min(limit.x0 for limit in limits), max(limit.x1 for limit in limits), high - low
        if max(least, low - width) < min(most, high + width):
            axes[name].set_xlim(max(least, low - width), min(most, high + width))
        axes[name].set_ylim(0, heights[name])
        axes[name].set(xlabel=comparison.label(e), yticks=[])
        axes[name].set_title(f, color="#222222")
        axes[name].spines["left"].set_visible(False)
    legend(figure, look, list(trees), comparison.reference_fit if comparison.truth else None)
    return figure


def draw_truth(axes: Axes, comparison: Comparison, e: Element) -> float | None:
    """Draw an element's true density. Returns the height of the panel; None where the truth is not known."""
    if comparison.truth is None:
        return None
    grid = np.linspace(*bulk(comparison, e), 300)
    density = np.nan_to_num(np.asarray(comparison.truth.density(*e, grid), dtype=float), posinf=np.nan)
    axes.fill_between(grid, density, color="#dddddd", lw=0)
    axes.plot(grid, density, color=EXACT, lw=1.4)
    return 1.35 * float(np.nanmax(density[3:-3]))


def quantiles(comparison: Comparison, elements: Sequence[Element]) -> xr.Dataset:
    """The `PROBABILITIES` quantiles of every element, dimensions (model, probability).

    The truth's own come first, where it is known; the other fits' come from their draws.
    """
    truth = [comparison.truth.quantile(p) for p in PROBABILITIES] if comparison.truth else []
    trees = {name: tree for name, tree in finished(comparison).items() if name != comparison.reference_fit}
    variables = {}
    for e in elements:
        exact = [[float(np.asarray(arrays[e[0]])[e[1]]) for arrays in truth]] if truth else []
        sampled = [np.quantile(draws(tree, *e), PROBABILITIES) for tree in trees.values()]
        variables[comparison.label(e)] = (("model", "probability"), np.array([*exact, *sampled]))
    return xr.Dataset(variables, coords={"model": [*([comparison.reference_fit] if truth else []), *trees]})


def forest(comparison: Comparison, path: Path) -> None:
    """Draw medians with 50% and 95% equal-tailed intervals of every fit, the truth first."""
    elements, look = reported_elements(comparison, N_ROWS), looks(comparison.fits)
    values = quantiles(comparison, elements)
    names = [str(name) for name in values["model"].values]
    medians = values.isel(probability=2)
    shell = medians.expand_dims(chain=1, draw=2).transpose("chain", "draw", "model")

    def ends(low: int, high: int) -> xr.Dataset:
        bounds = values.isel(probability=[low, high]).rename(probability="ci_bound")
        return bounds.assign_coords(ci_bound=["lower", "upper"])

    height = min(0.9 + 0.2 * len(names) * len(elements), 16.0) + 0.9
    size = {"figsize": (9, height), "figsize_units": "inches", "width_ratios": [1, 8], "layout": "constrained"}
    plot = arviz_plots.plot_forest(
        {name: xr.DataTree.from_dict({"posterior": shell.sel(model=name, drop=True)}) for name in names},
        combined=True,
        ci_kind="eti",
        ci_probs=(0.5, 0.95),
        backend="matplotlib",
        color=[look[name].color if name in look else EXACT for name in names],
        y=list(0.6 * np.arange(max(len(elements), 2))),
        stats={"twig": ends(0, 4), "trunk": ends(1, 3), "point_estimate": medians},
        visuals={"point_estimate": {"size": 22}, "trunk": {"width": 3}, "twig": {"width": 1.3}},
        figure_kwargs=size,
    )
    axes, labels = (plot.viz["plot"].sel(column=column).item() for column in ("forest", "labels"))
    if len(elements) == 1 and comparison.truth:
        axes.axvline(float(medians[comparison.label(elements[0])][0]), color=GREY, lw=0.7, ls=":", zorder=0)
    axes.set_xlabel("median, 50% and 95% intervals (equal-tailed)")
    axes.grid(visible=False, axis="y")
    strip(labels)
    if len(names) * len(elements) <= N_LABELS:
        heights = plot.get_aes_as_dataset("y")
        ticks = [(float(heights[e].sel(model=name)), name) for e in medians.data_vars for name in names]
        axes.set_yticks([y for y, _ in ticks], [name for _, name in ticks], fontsize=8)
        axes.tick_params(axis="y", length=0, labelleft=True)
    else:
        legend(axes.figure, look | {comparison.reference_fit: Look(comparison.reference_fit, EXACT, "-")}, names)
    save(axes.figure, path)


def strip(labels: Axes) -> None:
    """Remove all but the labels from the labels' axes."""
    labels.grid(visible=False)
    labels.spines["bottom"].set_visible(False)
    labels.set_xticks([])
    labels.tick_params(axis="y", length=0, labelleft=False)
