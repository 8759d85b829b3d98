"""The numbers of a comparison as a data frame: one row a fit and quantity, every error in a column of its own."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from compare.comparison import Comparison
from compare.report.tables.estimates import word
from compare.summary import Diagnostics, Estimate, FitSummary, VariableSummary

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["tidy"]

OF_QUANTITY = {entry.metadata.get("key", entry.name): entry.name for entry in dataclasses.fields(VariableSummary)}
"""The columns of a quantity, and what they are called in its summary."""

OF_CHAINS = ("r_hat", "ess_bulk", "ess_tail", "divergences", "khat")
OF_LEDGER = ("elbo", "evidence_gap", "family_gap")


def tidy(comparison: Comparison) -> pd.DataFrame:
    """Columns ``fit``, ``quantity``, those of `VariableSummary` (named as in ``summary.json``), and what is said of the
    fit as a whole; NaN where a number is not known."""
    import pandas as pd

    rows = [row for name, summary in comparison.summaries.items() for row in rows_of(name, summary)]
    return pd.DataFrame(rows)


def rows_of(name: str, summary: FitSummary) -> Iterator[dict[str, Any]]:
    """A row for each quantity of a fit."""
    estimated = summary.optimisation.gap if summary.optimisation else None
    gaps: dict[str, Estimate | None] = {term: getattr(summary.ledger, term) for term in OF_LEDGER}
    whole_fit: dict[str, Any] = {}
    for term, estimate in (gaps | {"optimisation_gap": estimated}).items():
        whole_fit[term] = number(estimate.value if estimate else None)
        whole_fit[f"mcse_{term}"] = number(estimate.mcse if estimate else None)
    diagnostics: Diagnostics = summary.diagnostics
    whole_fit |= {key: number(getattr(diagnostics, key)) for key in OF_CHAINS}
    whole_fit |= {"seconds": number(summary.seconds), "verdict": word(summary)}
    for quantity, variable in summary.variables.items():
        numbers = {column: number(getattr(variable, key)) for column, key in OF_QUANTITY.items()}
        yield {"fit": name, "quantity": quantity, **numbers, **whole_fit}


def number(value: float | None) -> float:
    return math.nan if value is None else float(value)
