"""The tables of a calibration as text, shared by the terminal and the page."""

from __future__ import annotations

from typing import Any

from compare.calibration.judge import widest
from compare.calibration.ranks import LEVELS
from compare.report.tables.ledger import FIT
from compare.report.tables.numbers import ABSENT, counted, measured, plain, printable
from compare.report.tables.table import Column, Row, Table

__all__ = ["chains", "every", "overview"]

NAMES = tuple(f"{level:.0%}".rstrip("%") for level in LEVELS)

FEW = 2
"""Quantities that the overview lists one by one; of more, the one that speaks loudest."""

COLUMNS = (
    FIT,
    Column("quantity", "quantity", "", "What was ranked; of many the one furthest from uniform.", True),
    *(
        Column(name, f"{name}%", "coverage", f"How often the central {name}% interval holds the true value.")
        for name in NAMES
    ),
    *(
        Column(f"truth{name}", f"{name}% by truth", "coverage", "The exact posterior's probability of these intervals.")
        for name in NAMES
    ),
    Column(
        "theory", "theory", "coverage", "What a formula says of the best member of the family, for the same levels."
    ),
    Column("bias", "bias (sd)", "ranks", "Mean of (true value - posterior mean) / posterior sd; 0 is right."),
    Column("spread", "spread", "ranks", "Sd of the ranks over that of uniform ones; above 1 the fit is too narrow."),
    Column("outside", "outside band", "ranks", "How far the ranks' ECDF leaves its simultaneous band, at most."),
    Column("verdict", "verdict", "ranks", "The verdict on the fit.", True),
)


def cells(fit: str, name: str, numbers: dict[str, Any], word: str) -> dict[str, str]:
    """One quantity of one fit."""
    coverage = numbers["coverage"]
    theory = [coverage[level]["theory"] for level in NAMES]
    texts = {
        "fit": printable(fit),
        "quantity": printable(name),
        "theory": ABSENT if None in theory else " ".join(plain(value, 3) for value in theory),
        "bias": measured(numbers["bias"]["value"], numbers["bias"]["mcse"], sign=True),
        "spread": measured(numbers["spread"]["value"], numbers["spread"]["mcse"]),
        "outside": plain(numbers["outside"], 3) if numbers["outside"] else "no",
        "verdict": word,
    }
    for level in NAMES:
        given = coverage[level]["given_truth"]
        texts[level] = measured(coverage[level]["value"], coverage[level]["mcse"])
        texts[f"truth{level}"] = measured(given["value"], given["mcse"]) if given else ABSENT
    return texts


def blank(fit: str, word: str) -> dict[str, str]:
    return {column.key: ABSENT for column in COLUMNS} | {"fit": printable(fit), "verdict": word}


def table(summary: dict[str, Any], chosen: Any) -> Table:
    """The fits with those of their quantities that ``chosen`` names."""
    rows: list[Row] = []
    for fit, calibration in summary["fits"].items():
        word, quantities = calibration["verdict"]["word"], calibration["quantities"]
        if not quantities:
            rows.append(Row(fit, word, blank(fit, word)))
            continue
        for place, name in enumerate(chosen(quantities)):
            shown = cells(fit, name, quantities[name], word)
            rows.append(Row(fit, word, shown if place == 0 else shown | {"fit": "", "verdict": ""}))
    title = f"How often intervals hold the true value ({', '.join(NAMES)}%), and the ranks"
    return Table(title, COLUMNS, rows, n_keys=2).without_empty_columns()


def overview(summary: dict[str, Any]) -> Table:
    """Each fit: its quantities if they are few, else the one that speaks loudest."""
    latents = [name for name in summary["quantities"]][: FEW + 1]
    few = len(summary["quantities"]) <= len(latents)
    return table(summary, (lambda quantities: list(quantities)) if few else (lambda quantities: [widest(quantities)]))


def every(summary: dict[str, Any]) -> Table:
    """Each quantity of each fit."""
    return table(summary, list)


def chains(summary: dict[str, Any]) -> Table:
    """How each fit was made: how many data sets, and whether the optimiser or the chains arrived."""
    columns = (
        FIT,
        Column("sets", "data sets", "", "Data sets ranked."),
        Column("failed", "failed", "", "Data sets on which it failed."),
        Column("converged", "converged", "", "Data sets on which the optimiser arrived."),
        Column("rhat", "R-hat", "", "The largest of any data set and quantity."),
        Column("ess", "ESS", "", "The smallest, bulk or tail, of any data set and quantity."),
        Column("divergences", "divergences", "", "Transitions that diverged, over all data sets."),
        Column("seconds", "seconds", "", "For all data sets together."),
    )
    rows = []
    for fit, calibration in summary["fits"].items():
        diagnostics = calibration["diagnostics"]
        shown = {
            "fit": printable(fit),
            "sets": counted(calibration["data_sets"]),
            "failed": counted(calibration["failed"]),
            "converged": counted(calibration["converged"]),
            "rhat": plain(diagnostics["r_hat"], 3),
            "ess": counted(diagnostics["ess"]),
            "divergences": counted(diagnostics["divergences"]),
            "seconds": plain(calibration["seconds"], 1),
        }
        rows.append(Row(fit, calibration["verdict"]["word"], shown))
    return Table("How the fits were made", columns, rows)
