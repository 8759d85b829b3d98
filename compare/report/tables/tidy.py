"""The numbers of a comparison as a data frame: one row per fit and quantity, every error in a column of its own."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from compare.comparison import Comparison
from compare.report.tables.estimates import word
from compare.summary import LEDGER_TERMS, Diagnostics, Estimate, FitSummary, VariableSummary

if TYPE_CHECKING:
    import pandas as pd

OF_QUANTITY = {entry.metadata.get("key", entry.name): entry.name for entry in dataclasses.fields(VariableSummary)}
"""The columns of a quantity, and what they are called in its summary."""

DIAGNOSTICS = tuple(entry.name for entry in dataclasses.fields(Diagnostics))
"""The columns of a fit's diagnostics."""


def tidy(comparison: Comparison) -> pd.DataFrame:
    """The numbers of all fits.

    Columns: ``fit`` and ``quantity``; those of `VariableSummary`, named as in ``summary.json``; and, alike in all rows
    of a fit, the terms of its ledger in nats, each with its Monte Carlo error (``mcse_elbo``), the ``estimated_gap``
    that its optimiser left, the ``loss`` of acting on it, its diagnostics, its ``seconds`` and its ``verdict``. NaN
    where a number is not known.
    """
    import pandas as pd

    return pd.DataFrame([row for name, summary in comparison.summaries.items() for row in rows_of(name, summary)])


def rows_of(name: str, summary: FitSummary) -> Iterator[dict[str, Any]]:
    """A row for each quantity of a fit."""
    terms: dict[str, Estimate | None] = {term: getattr(summary.ledger, term) for term in LEDGER_TERMS}
    terms["estimated_gap"] = summary.optimisation.gap if summary.optimisation else None
    terms["loss"] = summary.decision
    alike: dict[str, Any] = {}
    for term, known in terms.items():
        alike |= {term: number(known.value if known else None), f"mcse_{term}": number(known.mcse if known else None)}
    alike |= {key: number(getattr(summary.diagnostics, key)) for key in DIAGNOSTICS}
    alike |= {"seconds": number(summary.seconds), "verdict": word(summary)}
    for quantity, variable in summary.variables.items():
        numbers = {column: number(getattr(variable, key)) for column, key in OF_QUANTITY.items()}
        yield {"fit": name, "quantity": quantity, **numbers, **alike}


def number(value: float | None) -> float:
    return math.nan if value is None else float(value)
