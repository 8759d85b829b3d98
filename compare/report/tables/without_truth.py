"""What could be said of each guide if its posterior were not known, beside what is known of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compare.report.tables.numbers import ABSENT, measured, plain, printable
from compare.report.tables.rows import Column, Row, Rows

if TYPE_CHECKING:
    from compare.comparison import Comparison

__all__ = ["unaided"]

COLUMNS: tuple[Column, ...] = (
    Column("fit", "fit", "", "The way this posterior was got."),
    Column("without", "without the truth", "", "The verdict that rests on the guide's own draws and on NUTS."),
    Column("verdict", "with it", "", "The verdict that knows the posterior."),
    Column("by", "by", "", "What the first rests on."),
    Column("error", "error (sd)", "", "Estimated: mean minus true mean, in sds, where it is furthest off."),
    Column("ratio", "sd ratio", "", "Estimated: sd over the true one, where it is furthest from 1."),
    Column("evidence", "evidence by its draws", "", "Log evidence by importance sampling, in nats; at least the ELBO."),
    Column("khat", "k-hat", "", "Pareto tail of the importance weights; up to 0.7 they can be trusted."),
)


def unaided(comparison: Comparison) -> Rows | None:
    """The table; None where no guide was fitted."""
    rows = []
    for fit, one in comparison.summary["fits"].items():
        found = one["without_truth"]
        if found is None:
            continue
        error, ratio, evidence = (found[key] or {} for key in ("mean_error", "sd_ratio", "evidence"))
        cells = {
            "fit": printable(fit),
            "without": found["word"],
            "verdict": one["verdict"]["word"],
            "by": found["by"] or ABSENT,
            "error": measured(error.get("value"), error.get("mcse"), sign=True),
            "ratio": measured(ratio.get("value"), ratio.get("mcse")),
            "evidence": measured(evidence.get("value"), evidence.get("mcse")),
            "khat": plain(found["khat"], 2),
        }
        rows.append(Row(fit, one["verdict"]["word"], cells))
    return Rows(COLUMNS, rows) if rows else None
