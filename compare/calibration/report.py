"""A calibration's tables, on the terminal and on its page, and its files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from compare.atomic import atomic_file
from compare.calibration import Calibration, pictures
from compare.calibration.judge import widest
from compare.calibration.ranks import LEVELS
from compare.report.files import as_json, save_draws, save_text
from compare.report.html.template import embedded, render
from compare.report.tables.ledger import FIT
from compare.report.tables.numbers import ABSENT, counted, measured, plain, printable
from compare.report.tables.table import Column, Row, Table
from compare.report.terminal import STYLES, heading, print_table, print_text

__all__ = ["show", "write"]


NAMES = tuple(f"{level:.0%}".rstrip("%") for level in LEVELS)

FEW = 2
"""Quantities up to which the overview lists each; of more, the one furthest from uniform."""

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


def cells(fit: str, name: str, numbers: Mapping[str, Any], word: str) -> dict[str, str]:
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


def table(summary: Mapping[str, Any], chosen: Callable[[Mapping[str, Any]], list[str]]) -> Table:
    """The fits with those of their quantities that ``chosen`` names."""
    rows: list[Row] = []
    for fit, calibration in summary["fits"].items():
        word, quantities = calibration["verdict"]["word"], calibration["quantities"]
        if not quantities:
            absent = {column.key: ABSENT for column in COLUMNS}
            rows.append(Row(fit, word, absent | {"fit": printable(fit), "verdict": word}))
        for place, name in enumerate(chosen(quantities) if quantities else ()):
            shown = cells(fit, name, quantities[name], word)
            rows.append(Row(fit, word, shown if place == 0 else shown | {"fit": "", "verdict": ""}))
    title = f"How often intervals hold the true value ({', '.join(NAMES)}%), and the ranks"
    return Table(title, COLUMNS, rows, n_keys=2).without_empty_columns()


def overview(summary: Mapping[str, Any]) -> Table:
    """Each fit: its quantities if they are few, else the one furthest from uniform."""
    return table(summary, list if len(summary["quantities"]) <= FEW + 1 else lambda quantities: [widest(quantities)])


def chains(summary: Mapping[str, Any]) -> Table:
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


def show(calibration: Calibration, console: Console) -> None:
    """Print the table and the verdicts."""
    summary = calibration.summary
    model = (calibration.request.model.name, "bold")
    print_text(console, Text.assemble(model, f": calibrated over {summary['data_sets']:,} data sets"))
    data = ", ".join(f"{key} {value}" for key, value in summary["data"].items())
    print_text(
        console, f"drawn from the prior, of the size and with the constants of: {data}; seed {summary['seed']}", 2
    )
    for table in (overview(summary), chains(summary)):
        heading(console, table.title)
        print_table(console, table)
    heading(console, "Verdicts")
    for name, word, sentence in verdicts(calibration):
        print_text(console, Text.assemble(name, ": ", (word, STYLES.get(word, "")), f". {sentence}"), 2)


def verdicts(calibration: Calibration) -> list[tuple[str, str, str]]:
    fits = calibration.summary["fits"].items()
    return [(name, fit["verdict"]["word"], fit["verdict"]["sentence"]) for name, fit in fits]


def write(calibration: Calibration, folder: Path, command: str) -> list[Path]:
    """Write calibration.json, the ranks, the two pictures and calibration.html, each completely or not at all."""
    plots: list[tuple[Path, str]] = []
    for name, picture in pictures.PICTURES.items() if calibration.ranks else ():
        with atomic_file(folder / f"{name}.png") as temporary:
            picture(calibration, temporary)
        plots.append((folder / f"{name}.png", pictures.CAPTIONS[name]))
    summary = calibration.summary
    page = render(
        "calibration.html.jinja",
        model=calibration.request.model,
        summary=summary,
        data={key: str(value) for key, value in summary["data"].items()},
        tables=[table(summary, list), chains(summary)],
        verdicts=verdicts(calibration),
        pictures=[(path.stem, embedded(path), caption) for path, caption in plots],
        command=command,
    )
    paths = [save_text(as_json(summary), folder / "calibration.json"), *(path for path, _ in plots)]
    if calibration.ranks:
        known = {key: summary[key] for key in ("model", "seed", "data_sets")}
        paths.append(save_draws(calibration.trees, folder / "ranks.nc", known))
    return [*paths, save_text(page, folder / "calibration.html")]
