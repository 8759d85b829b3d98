"""The programs behind a comparison, coloured for the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from compare.show import TITLES, program

if TYPE_CHECKING:
    from compare.run import Comparison

__all__ = ["code"]


def code(comparison: Comparison) -> dict[str, Any]:
    """The guide, and its program in each library of the comparison; or why there is none."""
    jobs = [fit.job for fit in comparison.fits.values()]
    families = [job.guide for job in jobs if job.guide]
    libraries = list(dict.fromkeys(job.library for job in jobs if job.library and job.guide))
    found, reasons = [], []
    for library in libraries:
        try:
            text = program(comparison.model, comparison.data, library, families[0], comparison.options, comparison.seed)
        except ValueError as error:
            reasons.append(f"No program in {TITLES[library]}: {error}")
            continue
        lines = highlight(text, PythonLexer(), HtmlFormatter(nowrap=True))
        found.append((TITLES[library], Markup(lines)))
    return {"guide": families[0] if families else None, "programs": found, "reason": reasons}
