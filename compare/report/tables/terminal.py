"""The comparison on a terminal, or in a pipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from compare.report.console import console_for, name_files
from compare.report.tables import held_out, rows
from compare.report.tables.numbers import printable
from compare.report.tables.rows import LEDGER, Column, Row, Rows

if TYPE_CHECKING:
    from compare.comparison import Comparison

__all__ = ["console_for", "show"]

STYLES = {
    "exact": "bold",
    "agrees": "green",
    "narrow": "yellow",
    "wide": "yellow",
    "off": "red",
    "not converged": "red",
    "unreliable": "red",
    "skipped": "dim",
    "failed": "bold red",
}
LEFT = ("fit", "variable", "verdict", "term")


def build(columns: Sequence[Column], body: Sequence[Row]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    for column in columns:
        table.add_column(Text(column.header), justify="left" if column.key in LEFT else "right", no_wrap=True)
    for row in body:
        table.add_row(
            *(Text(row.cells[c.key], style=STYLES.get(row.word, "") if c.key == "verdict" else "") for c in columns)
        )
    return table


def fits_in(console: Console, table: Table) -> bool:
    return console.measure(table, options=console.options.update(width=10_000)).maximum <= console.width - 2


def fold(columns: Sequence[Column], body: Sequence[Row], console: Console, keys: int = 1) -> list[list[Column]]:
    """The columns in as few tables as the width allows, each led by the first ``keys`` columns.

    One table if it fits; else one for each group of columns; a group that is still too wide is broken evenly.
    """
    if fits_in(console, build(columns, body)):
        return [list(columns)]
    lead, blocks = list(columns[:keys]), []
    for name in dict.fromkeys(c.group for c in columns[keys:]):
        group = [c for c in columns[keys:] if c.group == name]
        for tables in range(1, len(group) + 1):
            size = -(-len(group) // tables)
            parts = [[*lead, *group[i : i + size]] for i in range(0, len(group), size)]
            if size == 1 or all(fits_in(console, build(part, body)) for part in parts):
                break
        blocks += parts
    return blocks


def say(console: Console, text: str | Text, indent: int = 0, style: str = "") -> None:
    """Print text, wrapped; what runs over is indented by two more."""
    text = Text(text, style=style) if isinstance(text, str) else text
    for i, line in enumerate(text.wrap(console, max(console.width - indent - 2, 20))):
        line.rstrip()
        console.print(Text(" " * (indent + 2 * (i > 0))) + line)


def section(console: Console, title: str, content: Rows, keys: int = 1) -> None:
    console.print()
    say(console, title, style="bold")
    for i, block in enumerate(fold(content.columns, content.rows, console, keys)):
        if i:
            console.print()
        console.print(Padding(build(block, content.rows), (0, 0, 0, 2), expand=False))
    for remark in content.remarks:
        say(console, remark, 2, "dim")


def transposed(content: Rows) -> Rows:
    """Terms down, fits across: the way accounts are read."""
    headers = {key: header for key, header, _ in LEDGER}
    terms = [c.key for c in content.columns if c.key != "fit"]
    names = [Column(row.fit, printable(row.fit), "ledger", "") for row in content.rows]
    columns = (Column("term", "nats", "", ""), *names)
    body = [Row(t, "", {"term": headers[t], **{row.fit: row.cells[t] for row in content.rows}}) for t in terms]
    return Rows(columns, body, content.remarks)


def heading(comparison: Comparison, console: Console) -> None:
    model, summary = comparison.model, comparison.summary
    say(console, Text.assemble((printable(model.name), "bold"), f": {printable(model.title)}"))
    data = ", ".join(f"{key} {rows.fact(value)}" for key, value in comparison.data.describe().items())
    say(console, f"data: {data}; seed {comparison.request.seed}", 2)
    evidence = summary["log_evidence"]
    error = f" ±{evidence['mcse']:.1g}" if evidence.get("mcse") else ""
    tolerance = getattr(comparison.truth, "tolerance", 0.0)
    within = f", to {tolerance:.1g}" if tolerance else ""
    if evidence["value"] is None:
        say(console, f"log evidence: {printable(evidence['method'])}", 2)
    else:
        say(console, f"log evidence: {evidence['value']:.4f}{error} nats ({printable(evidence['method'])}{within})", 2)
    lines, rest = rows.facts(comparison)
    for name, line in lines.items():
        say(console, f"{comparison.truth_name} about {name}: {line}", 2)
    if rest:
        say(console, "also: " + "; ".join(f"{key} {value}" for key, value in rest.items()), 2)


def show(comparison: Comparison, console: Console, files: Sequence[Path] = ()) -> None:
    """Print it all: the truth, every fit against it, the ledgers, the verdicts, the claims of the text and of
    others, the files."""
    heading(comparison, console)
    section(console, f"Every fit against the {comparison.truth_name}", rows.fits(comparison))
    elements = rows.estimates(comparison)
    if elements is not None:
        section(console, "Element by element", elements, keys=2)
    related = rows.correlations(comparison)
    if related is not None:
        section(console, "Correlations", related)
    predictions = rows.predictions(comparison)
    if predictions is not None:
        section(console, "Held-out predictions", predictions)
    ledgers = rows.ledgers(comparison)
    if ledgers is not None:
        section(console, "The ledger: what each step of the approximation cost", transposed(ledgers))
        say(console, "ELBO = data fit - complexity", 2, "dim")
        if comparison.summary["log_evidence"]["value"] is not None:
            parts = "family gap + amortisation gap + optimisation gap"
            say(console, f"log evidence - ELBO = evidence gap = {parts}", 2, "dim")
    for title, content in (
        ("The test set: what each guide costs", held_out.guides(comparison)),
        ("The networks by held-out evidence", held_out.networks(comparison)),
    ):
        if content is not None:
            section(console, title, content)
    console.print()
    say(console, "Verdicts", style="bold")
    for name, word, sentence in rows.verdicts(comparison):
        say(console, Text.assemble(name, ": ", (word, STYLES.get(word, "")), f". {sentence}" if sentence else ""), 2)
    claimed = rows.claims(comparison)
    if claimed:
        console.print()
        say(console, "What the founding text says", style="bold")
        for agrees, claim, truth in claimed:
            mark = ("✓ right", "green") if agrees else ("✗ wrong", "red")
            say(console, Text.assemble(mark, f": {claim}; true: {truth}"), 2)
    told = rows.published(comparison.summary)
    if told:
        console.print()
        say(console, "Against numbers that others published", style="bold")
        say(console, f"{rows.tally(told)}. All of them, with their sources, are in report.html.", 2)
        for one in told:
            if one["kind"] == "no":
                words = f": {one['claim']} ({one['source']}); published: {one['published']}; ours: {one['ours']}"
                say(console, Text.assemble((one["word"], "red"), words), 2)
    for note in comparison.summary.get("notes") or []:
        say(console, f"note: {printable(note)}", 2)
    name_files(files, console)
