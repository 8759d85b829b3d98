"""The forest plot: medians and intervals of every fit, element by element, drawn with ArviZ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import arviz_plots
import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from compare.report.plots.palette import Look, looks
from compare.report.plots.panels import legend, save
from compare.report.tables.elements import draws, finished, reported_elements
from models.contract import element
from models.plotting import EXACT, GREY

if TYPE_CHECKING:
    from compare.comparison import Comparison, Element

__all__ = ["forest"]

N_ELEMENTS = 12
"""Most elements that are drawn."""

N_LABELS = 48
"""Up to this many intervals are labelled one by one; more are told apart by colour."""

PROBABILITIES = (0.025, 0.25, 0.5, 0.75, 0.975)


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
        variables[element(*e)] = (("model", "probability"), np.array([*exact, *sampled]))
    return xr.Dataset(variables, coords={"model": [*([comparison.reference_fit] if truth else []), *trees]})


def forest(comparison: Comparison, path: Path) -> None:
    """Draw medians with 50% and 95% equal-tailed intervals of every fit, the truth first."""
    elements, look = reported_elements(comparison, N_ELEMENTS), looks(comparison.fits.items())
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
        axes.axvline(float(medians[element(*elements[0])][0]), color=GREY, lw=0.7, ls=":", zorder=0)
    axes.set_xlabel("median, 50% and 95% intervals (equal-tailed)")
    axes.grid(visible=False, axis="y")
    strip(labels)
    if len(names) * len(elements) <= N_LABELS:
        heights = plot.get_aes_as_dataset("y")
        ticks = [(float(heights[e].sel(model=name)), name) for e in medians.data_vars for name in names]
        axes.set_yticks([y for y, _ in ticks], [name for _, name in ticks], fontsize=8)
        axes.tick_params(axis="y", length=0, labelleft=True)
    else:
        legend(axes.figure, look | {comparison.reference_fit: Look(EXACT, "-")}, names)
    save(axes.figure, path)


def strip(labels: Axes) -> None:
    """Leave nothing of the labels' axes but the labels."""
    labels.grid(visible=False)
    labels.spines["bottom"].set_visible(False)
    labels.set_xticks([])
    labels.tick_params(axis="y", length=0, labelleft=False)
