"""What the autoencoder's pictures share: which fits are shown and how, and how images are laid out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

__all__ = ["Fits", "Shown", "board", "ink", "levels", "one_a_family", "put", "tidy", "tiled"]

Fits = Mapping[str, "xr.DataTree"]

# Okabe and Ito's colours, which colour-blind readers can tell apart.
LOOK = {
    "mean_field": ("mean field", "#0072B2"),
    "full_rank": ("full rank", "#E69F00"),
    "mixture": ("mixture", "#CC79A7"),
    "flow": ("flow", "#D55E00"),
    "nuts": ("NUTS", "#009E73"),
}
SPARE = ("#56B4E9", "#117733", "#332288", "#882255")
TRUTH, GREY, PALE = "#000000", "#777777", "#bbbbbb"
LINES = {"numpyro": "-", "pyro": "--"}
LIBRARIES = {"numpyro": "NumPyro", "pyro": "Pyro"}


class Shown(NamedTuple):
    """A fit and its look."""

    name: str
    family: str
    label: str
    colour: str
    line: str
    tree: xr.DataTree


def every(fits: Fits, group: str = "posterior") -> list[Shown]:
    """The guides' fits that have the group, family by family, NumPyro's before Pyro's."""
    families = {name.partition("-")[2] for name in fits} - {""}
    strange = sorted(families - set(LOOK))
    looks = LOOK | {name: (name.replace("_", " "), SPARE[i % len(SPARE)]) for i, name in enumerate(strange)}
    found = []
    for family, (label, colour) in looks.items():
        for library, line in LINES.items():
            name = f"{library}-{family}"
            if name in fits and group in fits[name]:
                found.append(Shown(name, family, label, colour, line, fits[name]))
    return found


def one_a_family(fits: Fits, group: str = "posterior") -> list[Shown]:
    """One fit a family: NumPyro's where both libraries made one."""
    first = {}
    for one in every(fits, group):
        first.setdefault(one.family, one)
    return list(first.values())


def tidy(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)


def put(axes: Axes, image: np.ndarray, shape: tuple[int, int]) -> None:
    """Show one image of grey values or probabilities, shape (pixels,), black where it is 1."""
    board(axes, [[image]], shape, 1.0)


def board(axes: Axes, rows: Sequence[Sequence[np.ndarray]], shape: tuple[int, int], pitch: float = 1.3) -> None:
    """Rows of images of grey values or probabilities, each (pixels,), black where 1, shaded where nan.

    All images are one unit wide; that in row i and column j has its lower left corner at (1.08 j, -i pitch).
    """
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    greys, tall = colormaps["Greys"].with_extremes(bad="#cfe3f2"), shape[0] / shape[1]
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            left, bottom = 1.08 * j, -i * pitch
            axes.imshow(
                image.reshape(shape), cmap=greys, vmin=0, vmax=1, interpolation="nearest",
                extent=(left, left + 1, bottom, bottom + tall),
            )  # fmt: skip
            axes.add_patch(Rectangle((left, bottom), 1, tall, fill=False, ec=PALE, lw=0.7))
    width = max(len(row) for row in rows)
    axes.set(xlim=(-0.02, 1.08 * width - 0.06), ylim=((1 - len(rows)) * pitch - 0.02, tall + 0.02), aspect="equal")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def tiled(images: np.ndarray, shape: tuple[int, int], columns: int, gap: int = 1) -> np.ndarray:
    """Images, shape (n, pixels), as one, row by row, with a gap of nan between them; so is what is missing."""
    height, width = shape
    rows = -(-len(images) // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap), np.nan)
    for place, image in enumerate(images):
        top, left = place // columns * (height + gap), place % columns * (width + gap)
        sheet[top : top + height, left : left + width] = image.reshape(shape)
    return sheet


def ink(axes: Axes, sheet: np.ndarray) -> None:
    """Show a sheet of `tiled` images: black where 1, the gaps pale."""
    from matplotlib import colormaps

    axes.imshow(sheet, cmap=colormaps["Greys"].with_extremes(bad="#dddddd"), vmin=0, vmax=1, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def levels(log_density: np.ndarray, masses: tuple[float, ...]) -> list[float]:
    """The log densities whose contours hold these masses of what lies on an evenly spaced grid, least first."""
    ordered = np.sort(log_density.ravel())[::-1]
    held = np.cumsum(np.exp(ordered - ordered[0]))
    return [float(ordered[np.searchsorted(held, mass * held[-1])]) for mass in sorted(masses, reverse=True)]
