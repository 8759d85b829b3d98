"""Plot style and helpers shared by the models' pictures and the report's plots.

Everything is drawn within `style`. Matplotlib is imported only when something is drawn, so models load quickly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from models.contract import Latents

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

Fits = Mapping[str, "xr.DataTree"]  # the finished fits' draws by the fit's name

EXACT, GREY, PALE = "#000000", "#777777", "#bbbbbb"

Z_95 = 1.959963984540054  # half the width of a normal's 95% interval, in sds

FAMILY_COLORS = {
    "exact": EXACT,
    "reference": EXACT,
    "mean_field": "#0072B2",
    "full_rank": "#E69F00",
    "conjugate": "#D55E00",
    "markov": "#56B4E9",
    "mixture": "#CC79A7",
    "flow": "#D55E00",
    "matrix_normal": "#882255",
    "hypernetwork": "#8B5A2B",
    "dropout": "#D55E00",
    "coordinate_ascent": "#CC79A7",
    "nuts": "#009E73",
}
"""Colours by Okabe and Ito and by Tol, which colour-blind readers can tell apart, in the order fits are shown in."""

SPARE_COLORS = ("#117733", "#332288", "#999933", "#AA4499", "#661100", "#6699CC")
"""Colours of families that `FAMILY_COLORS` does not name."""

CLASS_COLORS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#332288", "#882255", "#666666", "#117733",
)  # fmt: skip
"""Colours of classes of the data."""

LABELS = {"nuts": "NUTS", "markov": "Markov"}
REFERENCES = ("exact", "reference")
LINES = {"numpyro": "-", "pyro": "--"}  # line styles of the libraries

RC = {
    "font.size": 10,
    "font.family": "DejaVu Sans",
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.edgecolor": "#555555",
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "legend.title_fontsize": 9,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "figure.constrained_layout.use": False,
}


class Look(NamedTuple):
    """How a fit is drawn: a colour for its family, a line style for its library; variants of a family are dotted."""

    family: str
    color: str
    line: str

    @property
    def label(self) -> str:
        """The family's name in words: ``mean field``, ``NUTS``."""
        return LABELS.get(self.family, self.family.replace("_", " "))


class ShownFit(NamedTuple):
    """A fit, how it is labelled and drawn, and its draws."""

    name: str
    family: str
    label: str
    color: str
    line: str
    tree: xr.DataTree


def style() -> AbstractContextManager[None]:
    """Matplotlib's settings for all plots, for the length of a ``with``."""
    import matplotlib as mpl

    return mpl.rc_context(RC)


def family_colors(families: Iterable[str]) -> dict[str, str]:
    """The colour of each family, including those that `FAMILY_COLORS` does not name."""
    unknown = sorted(set(families) - set(FAMILY_COLORS))
    return FAMILY_COLORS | {name: SPARE_COLORS[i % len(SPARE_COLORS)] for i, name in enumerate(unknown)}


def looks(names: Iterable[str]) -> dict[str, Look]:
    """A look for each fit, such as ``numpyro-mean_field``, ``exact`` or ``coordinate_ascent``; alike in all plots."""
    parts = {}
    for name in names:
        library, _, family = name.partition("-")
        library, family = (library, family) if library in LINES else ("", name)
        family, _, variant = family.partition("-")
        parts[name] = family, ":" if variant else LINES.get(library, "-")
    colors = family_colors(family for family, _ in parts.values())
    return {name: Look(family, colors[family], line) for name, (family, line) in parts.items()}


def list_fits(fits: Fits, group: str = "posterior", references: bool = False) -> list[ShownFit]:
    """The fits that have a group, in the order of `FAMILY_COLORS`, NumPyro's before Pyro's, without variants.

    Args:
        fits: The draws by the fit's name.
        group: The group of the tree that is drawn.
        references: Whether the exact posterior or the reference is shown too; it comes first.
    """
    by_name = looks(name for name, tree in fits.items() if group in tree)
    order = list(family_colors(look.family for look in by_name.values()))
    shown = [
        ShownFit(name, look.family, look.label, look.color, look.line, fits[name])
        for name, look in by_name.items()
        if look.line != ":" and (references or look.family not in REFERENCES)
    ]
    return sorted(shown, key=lambda fit: (order.index(fit.family), fit.name.startswith("pyro-")))


def one_per_family(fits: Fits, group: str = "posterior", references: bool = False) -> list[ShownFit]:
    """One fit a family, NumPyro's where both libraries made one; otherwise as `list_fits`."""
    first: dict[str, ShownFit] = {}
    for fit in list_fits(fits, group, references):
        first.setdefault(fit.family, fit)
    return list(first.values())


def find_reference(fits: Fits) -> str | None:
    """The name of the fit that the others are compared with, where it was made."""
    return next((name for name in REFERENCES if name in fits), None)


def flat_draws(tree: xr.DataTree, most: int | None = None, group: str = "posterior") -> Latents:
    """Every site's draws, shape (count, *shape of the site): chains joined, evenly thinned to about ``most``."""
    draws = {}
    for site, values in dataset(tree, group).data_vars.items():
        n_axes = sum(dimension in ("chain", "draw") for dimension in values.dims)
        flat = values.values.reshape(-1, *values.shape[n_axes:])
        draws[str(site)] = flat[:: max(1, len(flat) // most)] if most else flat
    return draws


def dataset(tree: Any, group: str) -> xr.Dataset:
    """A group of a fit's tree."""
    return tree[group].dataset


def new_figure(width: float, height: float, **layout: Any) -> Figure:
    """An empty figure, in inches, that lays itself out; ``layout`` are options of the constrained layout."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    return Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(**layout))


def small_multiples(count: int, size: tuple[float, float], xlabel: str, ylabel: str) -> tuple[Figure, list[Axes]]:
    """A figure of panels with common axes, at most three in a row; only the outer panels are labelled.

    Args:
        count: The number of panels, 1 or more.
        size: Width and height of a panel in inches.
        xlabel: The label below the lowest panels.
        ylabel: The label beside the first panel of a row.
    """
    n_columns = 2 if count == 4 else min(count, 3)
    n_rows = -(-count // n_columns)
    figure = new_figure(max(8.0, size[0] * n_columns), size[1] * n_rows + 0.7, w_pad=0.08)
    grid = figure.add_gridspec(n_rows, n_columns)
    panels: list[Axes] = []
    for place in range(count):
        first = panels[0] if panels else None
        axes = figure.add_subplot(grid[place], sharex=first, sharey=first)
        left, bottom = place % n_columns == 0, place + n_columns >= count
        axes.set(xlabel=xlabel if bottom else "", ylabel=ylabel if left else "")
        axes.tick_params(labelbottom=bottom, labelleft=left)
        panels.append(axes)
    return figure, panels


def legend_line(label: str, color: str = GREY, **line: Any) -> Line2D:
    """A line, or a marker, for a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], label=label, color=color, **line)


def legend_patch(label: str, color: str = GREY, alpha: float = 1.0) -> Patch:
    """A patch of colour for a legend."""
    from matplotlib.patches import Patch

    return Patch(color=color, alpha=alpha, lw=0, label=label)


def save(figure: Figure, path: Path) -> None:
    """Save a picture of a model as PNG."""
    figure.savefig(path, dpi=140)
