"""How images, and contours of densities in the plane, are drawn. Images are black where they are 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from models.plotting import PALE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STEP = 1.08  # distance between the left edges of neighbouring images of a row; images are one unit wide

MASSES = (0.5, 0.8, 0.95)  # the probabilities that a posterior's contours hold
SHADES = ("#8c8c8c", "#b8b8b8", "#dcdcdc")

ELLIPSES = {"50%": 1.1774100225154747, "95%": 2.4477468306808166}
"""Radii, in standard deviations, of the ellipses that hold these probabilities of a Gaussian in the plane."""


def draw_images(axes: Axes, rows: Sequence[Sequence[np.ndarray]], shape: tuple[int, int], pitch: float = 1.0) -> None:
    """Draw rows of images of grey values or probabilities, framed, and shaded where they are nan.

    Args:
        axes: Where to draw.
        rows: Images by row, each of shape (pixels,).
        shape: Height and width of an image in pixels.
        pitch: Distance between rows. Row i, column j has its lower left corner at (`STEP` j, -i pitch).
    """
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    greys, tall = colormaps["Greys"].with_extremes(bad="#cfe3f2"), shape[0] / shape[1]
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            left, bottom = STEP * j, -i * pitch
            axes.imshow(
                image.reshape(shape), cmap=greys, vmin=0, vmax=1, interpolation="nearest",
                extent=(left, left + 1, bottom, bottom + tall),
            )  # fmt: skip
            axes.add_patch(Rectangle((left, bottom), 1, tall, fill=False, ec=PALE, lw=0.7))
    width = max(len(row) for row in rows)
    axes.set(xlim=(-0.02, STEP * width - 0.06), ylim=((1 - len(rows)) * pitch - 0.02, tall + 0.02), aspect="equal")
    strip(axes)


def tile(images: np.ndarray, shape: tuple[int, int], n_columns: int, margin: int = 1) -> np.ndarray:
    """Arrange images, shape (n, pixels), in one sheet, row by row; margins and empty places are nan."""
    height, width = shape
    n_rows = -(-len(images) // n_columns)
    sheet = np.full((n_rows * (height + margin) - margin, n_columns * (width + margin) - margin), np.nan)
    for place, image in enumerate(images):
        top, left = place // n_columns * (height + margin), place % n_columns * (width + margin)
        sheet[top : top + height, left : left + width] = image.reshape(shape)
    return sheet


def draw_sheet(axes: Axes, sheet: np.ndarray) -> None:
    """Draw a sheet of `tile`, its margins pale."""
    from matplotlib import colormaps

    axes.imshow(sheet, cmap=colormaps["Greys"].with_extremes(bad="#dddddd"), vmin=0, vmax=1, interpolation="nearest")
    strip(axes)


def strip(axes: Axes) -> None:
    """Remove what images do not need: ticks, spines, grid."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.grid(False)


def contour_levels(log_density: np.ndarray, masses: tuple[float, ...]) -> list[float]:
    """The log densities whose contours hold these probabilities, lowest first, from values on an even grid."""
    ordered = np.sort(log_density.ravel())[::-1]
    mass = np.cumsum(np.exp(ordered - ordered[0]))
    return [float(ordered[np.searchsorted(mass, share * mass[-1])]) for share in sorted(masses, reverse=True)]


def ellipse(mean: np.ndarray, covariance: np.ndarray, radius: float) -> np.ndarray:
    """A Gaussian's contour, shape (2, 181)."""
    angle = np.linspace(0, 2 * np.pi, 181)
    return mean[:, None] + radius * np.linalg.cholesky(covariance) @ np.stack([np.cos(angle), np.sin(angle)])
