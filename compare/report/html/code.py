"""The programs behind a comparison, coloured for the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from compare.export import METHOD, program, twin
from compare.registry import TITLES

if TYPE_CHECKING:
    from compare.comparison import Comparison

__all__ = ["code"]


def code(comparison: Comparison) -> dict[str, Any]:
    """The first guide's program in each library of the comparison; the model's file where there is none, and why."""
    jobs = [fit.job for fit in comparison.fits.values()]
    guides = [job for job in jobs if job.guide and job.method == METHOD]
    libraries = list(dict.fromkeys(job.library for job in jobs if job.library))
    try:
        if not guides:
            raise ValueError("no guide was fitted by SVI")
        texts = [program(comparison.model, replace(guides[0], library=library)) for library in libraries]
        return {"guide": guides[0].guide, "programs": highlighted(libraries, texts), "reason": None}
    except ValueError as error:
        reason = str(error)
    try:
        texts = [twin(comparison.model, library) for library in libraries]
    except ValueError:
        texts, libraries = [], []
    return {"guide": None, "programs": highlighted(libraries, texts), "reason": reason}


def highlighted(libraries: Sequence[str], texts: Sequence[str]) -> list[tuple[str, Markup]]:
    """The library's title and its program, with its words marked."""
    return [
        (TITLES[library], Markup(highlight(text, PythonLexer(), HtmlFormatter(nowrap=True))))
        for library, text in zip(libraries, texts, strict=True)
    ]
