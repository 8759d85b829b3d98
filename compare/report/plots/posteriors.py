"""The plot of the posteriors: the fits' densities over the true one, drawn with ArviZ."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import arviz_plots
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from compare.report.plots.palette import family, looks
from compare.report.plots.panels import legend, panels, save
from compare.report.tables.elements import draws, finished, reported_elements
from models.contract import element
from models.plotting import EXACT

if TYPE_CHECKING:
    from compare.comparison import Comparison, Element

__all__ = ["densities", "posterior"]

N_ELEMENTS = 4
"""Most elements that are drawn."""

TAIL = 5e-4
"""Probability on either side of what is drawn of the true posterior."""


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
    look, elements = looks(comparison.fits.items()), reported_elements(comparison, N_ELEMENTS)
    families = list(dict.fromkeys(family(comparison.fits[name]) for name in trees)) or [comparison.reference_fit]
    cells = {f"{element(*e)}  {f}": (e, f) for e in elements for f in families}
    wrap = len(families) if len(elements) > 1 else min(len(families), 4 if len(families) != 5 else 5)
    collection, figure, axes = panels(list(cells), wrap, (2.9, 2.3))
    heights = {name: draw_truth(axes[name], comparison, e) for name, (e, _) in cells.items()}
    for fit, tree in trees.items():
        own = [(name, e) for name, (e, f) in cells.items() if f == family(comparison.fits[fit])]
        named = xr.Dataset({name: draws(tree, *e).reset_coords(drop=True) for name, e in own})
        hidden = dict.fromkeys(
            ("credible_interval", "point_estimate", "point_estimate_text", "title", "remove_axis"), False
        )
        line = {"color": look[fit].color, "linestyle": look[fit].line, "width": 1.8}
        arviz_plots.plot_dist(
            xr.DataTree.from_dict({"posterior": named}),
            kind="kde",
            plot_collection=collection,
            visuals={"dist": line, **hidden},
        )
    for name, (e, f) in cells.items():
        low, high = bulk(comparison, e)
        limits = [axes[other].dataLim for other, (its, _) in cells.items() if its == e]
        least, most, width = min(limit.x0 for limit in limits), max(limit.x1 for limit in limits), high - low
        axes[name].set(xlim=(max(least, low - width), min(most, high + width)), ylim=(0, heights[name]))
        axes[name].set(xlabel=element(*e), yticks=[])
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
