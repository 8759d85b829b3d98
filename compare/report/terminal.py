"""The comparison on a terminal or in a pipe: the verdicts, the table of fits, and everything else on request."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from compare.comparison import Comparison
from compare.report.console import name_files
from compare.report.tables import claims, diagnostics, estimates, predictive, scores
from compare.report.tables.numbers import printable, value
from compare.report.tables.table import Table

STYLES = {
    "exact": "bold",
    "agrees": "green",
    "undecided": "cyan",
    "narrow": "yellow",
    "wide": "yellow",
    "off": "red",
    "not converged": "red",
    "unreliable": "red",
    "skipped": "dim",
    "failed": "bold red",
}

IMPORTANT = (
    "variable",
    "error",
    "ratio",
    "loss",
    "against",
    "gap",
    "seconds",
    "mean",
    "sd",
    "khat",
    "rhat",
    "elbo",
    "ess",
)
"""Columns of the table of fits, the most important first; the short report prints those that fit."""


def build(table: Table) -> RichTable:
    rich = RichTable(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    for column in table.columns:
        rich.add_column(Text(column.header), justify="left" if column.is_text else "right", no_wrap=True)
    for row in table.rows:
        style = STYLES.get(row.word, "")
        rich.add_row(*(Text(row.cells[c.key], style=style if c.key == "verdict" else "") for c in table.columns))
    return rich


def is_narrow_enough(console: Console, table: Table) -> bool:
    """Whether no line of a table is longer than the console is wide."""
    return console.measure(build(table), options=console.options.update(width=10_000)).maximum <= console.width - 2


def fold(table: Table, console: Console) -> Iterator[Table]:
    """The table in as few parts as the width allows, each led by the columns that name its rows.

    One part if it fits; else one for each group of columns; a group that is still too wide is broken evenly.
    """
    if is_narrow_enough(console, table):
        yield table
        return
    keys, others = table.columns[: table.n_keys], table.columns[table.n_keys :]
    for name in dict.fromkeys(column.group for column in others):
        group = [column for column in others if column.group == name]
        for count in range(1, len(group) + 1):
            size = -(-len(group) // count)
            parts = [replace(table, columns=(*keys, *group[i : i + size])) for i in range(0, len(group), size)]
            if size == 1 or all(is_narrow_enough(console, part) for part in parts):
                break
        yield from parts


def shorten(table: Table, console: Console) -> Table:
    """The table with those of the `IMPORTANT` columns that fit beside each other."""
    chosen = ["fit"]
    for key in IMPORTANT:
        wider = [*chosen, key]
        if is_narrow_enough(console, table.select(wider)):
            chosen = wider
    remarks = tuple(remark for remark in table.remarks if "intervals" not in remark)
    return replace(table.select(chosen), remarks=remarks)


def print_text(console: Console, text: str | Text, indent: int = 0, style: str = "") -> None:
    """Print text, wrapped; continued lines are indented by two more."""
    text = Text(text, style=style) if isinstance(text, str) else text
    for i, line in enumerate(text.wrap(console, max(console.width - indent - 2, 20))):
        line.rstrip()
        console.print(Text(" " * (indent + 2 * (i > 0))) + line)


def heading(console: Console, title: str) -> None:
    console.print()
    print_text(console, title, style="bold")


def print_table(console: Console, table: Table) -> None:
    """Print a table without its heading, and its remarks."""
    for i, part in enumerate(fold(table, console)):
        if i:
            console.print()
        console.print(Padding(build(part), (0, 0, 0, 2), expand=False))
    for remark in table.remarks:
        print_text(console, remark, 2, "dim")


def first_clauses(sentence: str, width: int) -> str:
    """As many clauses of a verdict's sentence as fit into a line; none where even the first does not fit."""
    if len(sentence) <= width:
        return sentence
    ends = [match.start() for match in re.finditer(r"[.;:,] ", sentence[: width + 1])]
    closed = [end for end in ends if sentence.count("(", 0, end) == sentence.count(")", 0, end)]
    return sentence[: closed[-1]] if closed else ""


def print_verdicts(comparison: Comparison, console: Console, verbose: bool) -> None:
    """Print a line a fit: its name, the verdict's word, and the sentence, or as much of it as fits."""
    verdicts = claims.verdicts(comparison)
    names, words = (max(len(entry[part]) for entry in verdicts) for part in (0, 1))
    for name, word, sentence in verdicts:
        start = Text.assemble(name.ljust(names), "  ", (word.ljust(words), STYLES.get(word, "")), "  ")
        reason = sentence if verbose else first_clauses(sentence, console.width - 4 - len(start))
        print_text(console, start + Text(reason), 2)


def print_truth(comparison: Comparison, console: Console, most: int) -> None:
    """Print the data, the log evidence and what is known of the true posterior."""
    data = ", ".join(f"{key} {value(content)}" for key, content in comparison.data.describe().items())
    print_text(console, f"data: {data}; seed {comparison.request.seed}", 2)
    number, method = claims.evidence(comparison)
    print_text(console, f"log evidence: {f'{number} nats ({method})' if number else method}", 2)
    for name, line in claims.truth(comparison, most).items():
        print_text(console, f"{comparison.truth_name} about {name}: {line}", 2)


def print_claims(comparison: Comparison, console: Console) -> None:
    claimed, cited = claims.claims(comparison.claims), claims.published(comparison.published)
    if claimed:
        heading(console, "What the founding text says")
        print_text(console, claims.FOUNDING_TEXT, 2, "dim")
    for entry in claimed:
        mark = ("✓ right", "green") if entry.agrees else ("✗ wrong", "red")
        print_text(console, Text.assemble(mark, f": {entry.claim}; true: {entry.truth}"), 2)
    if cited:
        heading(console, "Against numbers that others published")
        print_text(console, f"{claims.tally(cited)}. All of them, with their sources, are in report.html.", 2)
    for claim in cited:
        if claim.kind == "no":
            words = f": {claim.claim} ({claim.source}); published: {claim.published}; ours: {claim.ours}"
            print_text(console, Text.assemble((claim.word, "red"), words), 2)


def print_tallies(comparison: Comparison, console: Console) -> None:
    """Print how many claims are right, in a line each, and where the rest is."""
    claimed, cited = claims.claims(comparison.claims), claims.published(comparison.published)
    if claimed:
        print_text(console, f"The tutorial that this zoo began from: {claims.claims_tally(claimed)}.", 2)
    if any(claim.kind != "untold" for claim in cited):
        print_text(console, f"Numbers that others published: {claims.tally(cited)}.", 2)
    print_text(
        console, "With --verbose: verdicts in full, the ledger, diagnostics, claims and their sources.", 2, "dim"
    )


def show(comparison: Comparison, console: Console, files: Sequence[Path] = (), verbose: bool = False) -> None:
    """Print the verdicts, then the table of fits; with ``verbose`` everything else too; then where the files are."""
    name, title = printable(comparison.model.name), printable(comparison.model.title)
    print_text(console, Text.assemble((name, "bold"), f": {title}"))
    print_verdicts(comparison, console, verbose)
    table = estimates.fits(comparison)
    heading(console, table.title)
    print_truth(comparison, console, 4 if verbose else 2)
    extra = claims.extra(comparison)
    if verbose and extra:
        print_text(console, "also: " + "; ".join(f"{key} {text}" for key, text in extra.items()), 2)
    console.print()
    print_table(console, table if verbose else shorten(table.without_empty_columns(), console))
    if verbose:
        last = diagnostics.unaided(comparison), diagnostics.cost(comparison), predictive.checks(comparison)
        for part in filter(None, (*scores.details(comparison), *last)):
            heading(console, part.title)
            print_table(console, part)
        print_claims(comparison, console)
    console.print()
    if comparison.model_check and comparison.model_check.sentence:
        print_text(console, printable(comparison.model_check.sentence), 2, "red")
    for note in comparison.notes:
        print_text(console, f"note: {printable(note)}", 2)
    if not verbose:
        print_tallies(comparison, console)
    name_files(files, console)
