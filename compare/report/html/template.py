"""Pages from templates in one style, with colours for light and dark from which text and drawings stand out."""

import base64
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jinja2
from PIL import ImageColor

from models.plotting import family_colors

CARDS = {"light": "#ffffff", "dark": "#1c1f23"}  # what drawings stand on in each scheme


def channels(color: str) -> list[float]:
    """Red, green and blue, from 0 to 1."""
    return [channel / 255 for channel in ImageColor.getrgb(color)]


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


def embedded(path: Path) -> str:
    """A PNG as a data URI."""
    return "data:image/png;base64," + base64.b64encode(Path(path).read_bytes()).decode("ascii")


def render(template: str, families: Iterable[str] = (), **context: Any) -> str:
    """A page. Everything that is filled in is escaped. The families' colours stand out from each scheme's card."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("compare.report", "html"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    chosen = list(families)
    known = family_colors(chosen)
    schemes = {scheme: {name: visible(known[name], card) for name in chosen} for scheme, card in CARDS.items()}
    return environment.get_template(template).render(cards=CARDS, schemes=schemes, **context)
