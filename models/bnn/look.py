"""What the network's pictures share: which fits are shown and how, their draws, and small multiples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from models.contract import Latents

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from models.bnn import BnnData

__all__ = ["Fits", "Shown", "drawn", "every", "one_a_family", "panels", "reach", "tidy"]

Fits = Mapping[str, "xr.DataTree"]

# Okabe and Ito's colours and Tol's, which colour-blind readers can tell apart.
LOOK = {
    "mean_field": ("mean field", "#0072B2"),
    "full_rank": ("full rank", "#E69F00"),
    "matrix_normal": ("matrix normal", "#882255"),
    "hypernetwork": ("hypernetwork", "#8B5A2B"),
    "nuts": ("NUTS", "#009E73"),
}
SPARE = ("#56B4E9", "#CC79A7", "#117733", "#332288")
TRUTH, GREY, POINTS = "#000000", "#777777", "#222222"
LINES = {"numpyro": "-", "pyro": "--"}

TRUTHS = ("exact", "reference")

DRAWS = 2000
"""Draws of a fit that a curve uses, and a surface half as many: an sd is then known to some 2%."""


class Shown(NamedTuple):
    """A fit and its look."""

    name: str
    label: str
    colour: str
    line: str
    tree: xr.DataTree


def every(fits: Fits) -> list[Shown]:
    """All fits: the truth first, then family by family, NumPyro's before Pyro's."""
    found = [Shown(name, name, TRUTH, "-", fits[name]) for name in TRUTHS if name in fits]
    families = {name.partition("-")[2] for name in fits} - {""}
    strange = sorted(families - set(LOOK))
    looks = LOOK | {name: (name.replace("_", " "), SPARE[i % len(SPARE)]) for i, name in enumerate(strange)}
    for family, (label, colour) in looks.items():
        for library, line in LINES.items():
            name = f"{library}-{family}"
            found += [Shown(name, label, colour, line, fits[name])] if name in fits else []
    return found


def one_a_family(fits: Fits) -> list[Shown]:
    """The truth and one fit a family: NumPyro's where both libraries made one."""
    first = {}
    for one in every(fits):
        first.setdefault(one.label, one)
    return list(first.values())


def drawn(data: BnnData, tree: xr.DataTree, most: int = DRAWS) -> Latents:
    """A fit's draws of the weights, evenly thinned to about ``most``, each of shape (count, *shape of the site)."""
    sites = {site: tree["posterior"][site].values for site in data.shapes()}
    flat = {site: value.reshape(-1, *value.shape[2:]) for site, value in sites.items()}
    step = max(1, len(flat["output_bias"]) // most)
    return {site: value[::step] for site, value in flat.items()}


def reach(data: BnnData) -> tuple[np.ndarray, np.ndarray]:
    """Where each input is looked at, shapes (columns,): the grid, and the training inputs with a margin of a tenth."""
    low, high = data.dataset.inputs.min(0), data.dataset.inputs.max(0)
    margin = 0.1 * (high - low)
    return np.minimum(low - margin, data.dataset.grid.min(0)), np.maximum(high + margin, data.dataset.grid.max(0))


def tidy(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)


def panels(count: int, size: tuple[float, float], xlabel: str, ylabel: str) -> tuple[Figure, list[Axes]]:
    """A figure of small multiples with common axes, three in a row at most; only the outer ones are labelled."""
    from matplotlib.figure import Figure

    columns = 2 if count == 4 else min(count, 3)
    rows = -(-count // columns)
    figure = Figure(figsize=(max(8.0, size[0] * columns), size[1] * rows + 0.7), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08)
    grid = figure.add_gridspec(rows, columns)
    found: list[Axes] = []
    for place in range(count):
        first = found[0] if found else None
        axes = figure.add_subplot(grid[place], sharex=first, sharey=first)
        left, bottom = place % columns == 0, place + columns >= count
        axes.set(xlabel=xlabel if bottom else "", ylabel=ylabel if left else "")
        axes.tick_params(labelbottom=bottom, labelleft=left)
        found.append(axes)
    return figure, found
