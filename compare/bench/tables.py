"""The benchmark's tables: for a terminal, and in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from rich.console import Console
from rich.text import Text

from compare.bench.runner import WAYS
from compare.report.tables.table import Column, Row, Table
from compare.report.terminal import heading, print_table

ABSENT = "-"
TITLES = {
    "svi": "Guides: the zoo's fit beside the library's SVI with Adam 0.01, {steps:,} steps",
    "nuts": "NUTS: the zoo's run beside the library's MCMC(NUTS), 4 chains of 500 + 1,000",
}
NOTE = (
    "Medians of {repeats} fits with different seeds, made in turn in one process (cold: of {cold_repeats}, each in a "
    "fresh process, imports and compilation included). Ratios are the baseline's over the zoo's; of ESS a second the "
    "zoo's over the baseline's. What a library compiles anew in every run is in its seconds. A gap is "
    "the distance to the best member of the family, ± its error."
)


def format_seconds(value: float | None) -> str:
    if value is None:
        return ABSENT
    return f"{value:.1f}" if value >= 9.95 else f"{value:.2g}" if value < 0.0995 else f"{value:.2f}"


def format_int(value: float | None) -> str:
    return ABSENT if value is None else f"{value:,.0f}"


def format_ratio(value: float | None) -> str:
    return ABSENT if value is None else f"{value:,.0f}×" if value >= 9.95 else f"{value:.1f}×"


def format_gap(gap: dict[str, float] | None) -> str:
    """A gap in two digits with its error in one."""
    if gap is None or gap["value"] is None or gap["mcse"] is None:
        return ABSENT
    return f"{format_digits(gap['value'], 2)} ±{format_digits(gap['mcse'], 1)}"


def format_digits(value: float, digits: int) -> str:
    mantissa, mark, power = f"{value:.{digits}g}".partition("e")
    return f"{mantissa}e{int(power)}" if mark else mantissa


class Measure(NamedTuple):
    """What is measured of both ways: its key in a row, the header of the zoo's column, its form, and its table."""

    key: str
    header: str
    form: Callable[[Any], str]
    group: str
    has_ratio: bool = False


SECONDS = tuple(Measure(key, f"{key} s", format_seconds, "seconds", has_ratio=True) for key in ("cold", "warm"))
MEASURES = {
    "svi": (
        *SECONDS,
        Measure("gradients", "gradients", format_int, "work"),
        Measure("gap", "gap, nats", format_gap, "work"),
    ),
    "nuts": (
        *SECONDS,
        Measure("ess", "ESS", format_int, "work"),
        Measure("ess_per_second", "ESS/s", format_int, "work", has_ratio=True),
    ),
}
MEMORY = Measure("memory", "MB", format_int, "work")


def columns(method: str, first: str = "fit") -> tuple[Column, ...]:
    """The columns of a method's table; ``first`` is the header of the fits' names."""

    def of(measure: Measure) -> list[Column]:
        pair = [
            Column(measure.key, measure.header, measure.group),
            Column(f"{measure.key} baseline", "baseline", measure.group),
        ]
        return pair + [Column(f"{measure.key} ratio", "ratio", measure.group)] * measure.has_ratio

    compared = [column for measure in MEASURES[method] for column in of(measure)]
    return (Column("fit", first, is_text=True), *compared, Column("converged", "converged", "work"), *of(MEMORY))


def cells(row: Mapping[str, Any]) -> dict[str, str]:
    """One row's texts by column."""
    texts = {"fit": f"{row['library']}-{row['guide'] or 'nuts'}"}
    for measure in (*MEASURES[row["method"]], MEMORY):
        for key, way in zip((measure.key, f"{measure.key} baseline"), WAYS, strict=True):
            texts[key] = measure.form(row["median"][way].get(measure.key))
        if measure.has_ratio:
            texts[f"{measure.key} ratio"] = format_ratio(row["ratio"][measure.key])
    converged = row["zoo"].get("converged", [])
    return texts | {"converged": f"{sum(converged)}/{len(converged)}" if converged else ABSENT}


def remarks(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The rows that did not succeed, a line each."""
    return [
        f"{row['model']} {row['library']}-{row['guide'] or 'nuts'} {row['status']}: {row['reason']}"
        for row in rows
        if row["status"] != "done"
    ]


def describe_setting(summary: Mapping[str, Any]) -> str:
    """The machine and the libraries, in one line."""
    versions = ", ".join(f"{name} {version}" for name, version in summary["versions"].items())
    return f"{summary['machine']['processor']}, {summary['machine']['cores']} cores; {versions}"


def by_method(summary: Mapping[str, Any]) -> list[tuple[str, str, list[dict[str, Any]]]]:
    """Each method that has rows, its title and its rows."""
    rows = {method: [row for row in summary["rows"] if row["method"] == method] for method in TITLES}
    return [(method, TITLES[method].format(**summary["settings"]), rows[method]) for method in TITLES if rows[method]]


def show(summary: Mapping[str, Any], console: Console) -> None:
    """Print the tables, one a model and method."""
    console.print(Text(describe_setting(summary), style="dim"))
    for method, title, rows in by_method(summary):
        heading(console, title)
        for model in dict.fromkeys(row["model"] for row in rows):
            lines = [Row("", "", cells(row)) for row in rows if row["model"] == model]
            console.print()
            print_table(console, Table(model, columns(method, model), lines))
    console.print()
    for line in (*remarks(summary["rows"]), NOTE.format(**summary["settings"])):
        console.print(Text(line, style="dim"))


def markdown(summary: Mapping[str, Any]) -> str:
    """The same as Markdown, one table a method."""
    lines = []
    for method, title, rows in by_method(summary):
        shown = columns(method)
        lines += [f"**{title}**", "", f"| model | {' | '.join(column.header for column in shown)} |"]
        lines.append(f"| --- | --- |{' ---: |' * (len(shown) - 1)}")
        for row in rows:
            texts = cells(row)
            lines.append(f"| {row['model']} | {' | '.join(texts[column.key] for column in shown)} |")
        lines.append("")
    notes = (*remarks(summary["rows"]), NOTE.format(**summary["settings"]), describe_setting(summary))
    return "\n".join([*lines, *(f"{line}\n" for line in notes)])
