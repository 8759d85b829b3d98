"""Pages out of templates, with one style: colours for light and dark, of which text and drawings stand out."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from models.plotting import family_colors

__all__ = ["CARDS", "embedded", "ratio", "render", "visible"]

CARDS = {"light": "#ffffff", "dark": "#1c1f23"}
"""What drawings stand on in each scheme."""


def channels(color: str) -> tuple[float, float, float]:
    """Red, green and blue of ``#rgb`` or ``#rrggbb``, from 0 to 1."""
    digits = color.removeprefix("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    red, green, blue = (int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4))
    return red, green, blue


def luminance(color: str) -> float:
    """Relative luminance, from 0 (black) to 1 (white)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels(color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def ratio(first: str, second: str) -> float:
    """The contrast of two colours by WCAG 2.2, from 1 to 21. Text needs 4.5, drawings 3."""
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def visible(color: str, background: str, least: float = 3.0) -> str:
    """The colour, mixed with as much black or white as it takes to stand out from a background."""
    end = 0.0 if luminance(background) > 0.18 else 1.0
    for part in range(21):
        mixed = [c + (end - c) * part / 20 for c in channels(color)]
        candidate = "#" + "".join(f"{round(255 * c):02x}" for c in mixed)
        if ratio(candidate, background) >= least:
            break
    return candidate


def colours(families: Iterable[str], scheme: str) -> dict[str, str]:
    """Each family's colour in the plots, as far from the card as a drawing must be."""
    known = family_colors(families)
    return {family: visible(known[family], CARDS[scheme]) for family in families}


def embedded(path: Path) -> str:
    """A PNG as a data URI."""
    return "data:image/png;base64," + base64.b64encode(Path(path).read_bytes()).decode("ascii")


def source(name: str) -> str | None:
    """A template's text by its file's name, None if there is none."""
    path = files(__package__).joinpath(name)
    return path.read_text(encoding="utf-8") if path.is_file() else None


def render(template: str, families: Iterable[str] = (), **context: Any) -> str:
    """A page. Everything that is filled in is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(source),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    chosen = list(families)
    schemes = {scheme: colours(chosen, scheme) for scheme in CARDS}
    return environment.get_template(template).render(cards=CARDS, schemes=schemes, **context)
