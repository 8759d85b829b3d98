"""Grids of panels for ArviZ to draw on, and legends of fits."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from arviz_plots import PlotCollection
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.plotting import EXACT, Look, legend_line, style


def save(figure: Figure, path: Path) -> None:
    """Save a figure of pyplot's as PNG and close it."""
    from matplotlib import pyplot

    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def for_caller(draw: Callable[..., Figure], *arguments: Any) -> Figure:
    """A figure that only its caller shows: pyplot does not show it a second time."""
    from matplotlib import pyplot

    with style():
        figure = draw(*arguments)
        pyplot.close(figure)
    return figure


def panels(
    names: Sequence[str], wrap: int, size: tuple[float, float], chains: int = 1, **kwargs: Any
) -> tuple[PlotCollection, Figure, dict[str, Axes]]:
    """A grid of empty panels on which ArviZ draws the variables of these names.

    Args:
        names: The names, one a panel.
        wrap: Panels in a row.
        size: Width and height of a panel in inches.
        chains: The number of chains of the variables.
        kwargs: More arguments of `PlotCollection.wrap`.
    """
    n_rows, n_columns = math.ceil(len(names) / wrap), min(len(names), wrap)
    empty = xr.Dataset(
        {name: (("chain", "draw"), np.zeros((chains, 2))) for name in names},
        coords={"chain": range(chains), "draw": range(2)},
    )
    figsize = (max(size[0] * n_columns, 5.0), size[1] * n_rows + 0.7)
    collection = PlotCollection.wrap(
        empty,
        cols=["__variable__"],
        col_wrap=wrap,
        backend="matplotlib",
        figure_kwargs={"figsize": figsize, "figsize_units": "inches", "layout": "constrained"},
        **kwargs,
    )
    axes = {name: collection.get_target(name, {}) for name in names}
    return collection, next(iter(axes.values())).figure, axes


def legend(figure: Figure, look: Mapping[str, Look], names: Sequence[str], truth: str | None = None) -> None:
    """A legend of fits below a figure, led by the truth where it is named."""
    lines = [legend_line(truth, EXACT, lw=1.4)] if truth else []
    lines += [legend_line(name, look[name].color, ls=look[name].line, lw=1.8) for name in names]
    figure.legend(handles=lines, loc="outside lower center", ncols=min(len(lines), 4))
