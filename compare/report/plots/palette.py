"""One look a fit in every plot: a colour for its family, a line style for its library. The exact is black.

The colours are Okabe and Ito's, which colour-blind readers can tell apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compare.comparison import Fit

__all__ = ["EXACT", "GREY", "Look", "coloured", "family", "looks", "style"]

EXACT = "#000000"
GREY = "#777777"
KNOWN = {
    "exact": EXACT,
    "reference": EXACT,
    "mean_field": "#0072B2",
    "full_rank": "#E69F00",
    "nuts": "#009E73",
    "coordinate_ascent": "#CC79A7",
    "conjugate": "#D55E00",
    "markov": "#56B4E9",
    "mixture": "#CC79A7",
    "flow": "#D55E00",
    "matrix_normal": "#882255",
    "hypernetwork": "#8B5A2B",
}
SPARE = ("#117733", "#332288", "#999933", "#AA4499", "#661100", "#6699CC")
LINES = {"numpyro": "-", "pyro": "--", None: "-"}

RC = {
    "font.size": 10,
    "font.family": "DejaVu Sans",
    "axes.titlesize": 11,
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
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "figure.constrained_layout.use": False,
}


@dataclass(frozen=True)
class Look:
    """A colour and a line style."""

    colour: str
    line: str


def family(fit: Fit) -> str:
    """What a fit's colour stands for: its guide, or its method where it has none."""
    return fit.job.guide or fit.job.method


def coloured(families: Iterable[str]) -> dict[str, str]:
    """The colour of each family, those that are not known here included."""
    strange = sorted(set(families) - set(KNOWN))
    return KNOWN | {name: SPARE[i % len(SPARE)] for i, name in enumerate(strange)}


def looks(fits: Iterable[tuple[str, Fit]]) -> dict[str, Look]:
    """A look for each fit, the same in every plot and, for the families known here, in every report."""
    fits = list(fits)
    colours = coloured(family(fit) for _, fit in fits)
    found = {}
    for name, fit in fits:
        variant = name.removeprefix(f"{fit.job.library}-") != family(fit)
        found[name] = Look(colours[family(fit)], ":" if variant else LINES.get(fit.job.library, "-."))
    return found


def style() -> AbstractContextManager[None]:
    """Matplotlib's settings for a report, for the length of a ``with``."""
    import matplotlib as mpl

    return mpl.rc_context(RC)
