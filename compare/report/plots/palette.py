"""How each fit is drawn: a colour for its family, a line style for its library. The truth is black."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.plotting import LINES, family_colors

if TYPE_CHECKING:
    from compare.comparison import Fit

__all__ = ["Look", "family", "looks"]


@dataclass(frozen=True)
class Look:
    """A colour and a line style."""

    color: str
    line: str


def family(fit: Fit) -> str:
    """The family that a fit's colour stands for: its guide, or its method where it has none."""
    return fit.job.guide or fit.job.method


def looks(fits: Iterable[tuple[str, Fit]]) -> dict[str, Look]:
    """A look for each fit, the same in every plot. Variants of a family are dotted."""
    fits = list(fits)
    colors = family_colors(family(fit) for _, fit in fits)
    by_name = {}
    for name, fit in fits:
        is_variant = name.removeprefix(f"{fit.job.library}-") != family(fit)
        by_name[name] = Look(colors[family(fit)], ":" if is_variant else LINES.get(fit.job.library, "-"))
    return by_name
