"""Pages out of templates, with one style: colours for light and dark, of which text and drawings stand out."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from compare.report.html.contrast import visible
from models.plotting import family_colors

__all__ = ["CARDS", "embedded", "render"]

CARDS = {"light": "#ffffff", "dark": "#1c1f23"}
"""What drawings stand on in each scheme."""


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
