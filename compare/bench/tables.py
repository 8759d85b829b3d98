"""The benchmark's tables: for a terminal, and in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from compare.bench.runner import WAYS

__all__ = ["markdown", "show"]

ABSENT = "-"
HEADERS = {
    "svi": (
        "fit", "cold s", "usual", "ratio", "warm s", "usual", "ratio", "gradients", "usual", "gap, nats", "usual",
        "converged", "MB", "usual",
    ),
    "nuts": (
        "fit", "cold s", "usual", "ratio", "warm s", "usual", "ratio", "ESS", "usual", "ESS/s", "usual", "ratio",
        "converged", "MB", "usual",
    ),
}  # fmt: skip
TITLES = {
    "svi": "Guides: the zoo's fit beside the library's SVI with Adam 0.01, {steps:,} steps",
    "nuts": "NUTS: the zoo's run beside the library's MCMC(NUTS), 4 chains of 500 + 1,000",
}
NOTE = (
    "Medians of {repeats} fits with different seeds, made in turn in one process (cold: of {cold_repeats}, each in a "
    "fresh process, imports and compilation included). Ratios are the usual way's over the zoo's; of ESS a second the "
    "zoo's over the usual way's. What a library compiles anew in every run is in its seconds. A gap is "
    "the distance to the best member of the family, ± its error."
)


def format_seconds(value: float | None) -> str:
    """Seconds in two or three digits."""
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


def cells(row: dict[str, Any]) -> list[str]:
    """One row of a table, as its headers say."""

    def pair(key: str, form: Callable[[Any], str]) -> list[str]:
        return [form(row["median"][way].get(key)) for way in WAYS]

    texts = [f"{row['library']}-{row['guide'] or 'nuts'}"]
    for key in ("cold", "warm"):
        texts += [*pair(key, format_seconds), format_ratio(row["ratio"][key])]
    if row["method"] == "svi":
        texts += pair("gradients", format_int) + pair("gap", format_gap)
    else:
        texts += pair("ess", format_int) + pair("ess_per_second", format_int)
        texts.append(format_ratio(row["ratio"]["ess_per_second"]))
    converged = row["zoo"].get("converged", [])
    texts.append(f"{sum(converged)}/{len(converged)}" if converged else ABSENT)
    return texts + pair("memory", format_int)


def remarks(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The rows that did not succeed, a line each."""
    return [
        f"{row['model']} {row['library']}-{row['guide'] or 'nuts'} {row['status']}: {row['reason']}"
        for row in rows
        if row["status"] != "done"
    ]


def describe_setting(summary: dict[str, Any]) -> str:
    """The machine and the libraries, in one line."""
    versions = ", ".join(f"{name} {version}" for name, version in summary["versions"].items())
    return f"{summary['machine']['processor']}, {summary['machine']['cores']} cores; {versions}"


def show(summary: dict[str, Any], console: Console) -> None:
    """Print the tables, one a model and method."""
    rows, settings = summary["rows"], summary["settings"]
    console.print(Text(describe_setting(summary), style="dim"))
    for method, title in TITLES.items():
        chosen = [row for row in rows if row["method"] == method]
        if not chosen:
            continue
        console.print()
        console.print(Text(title.format(**settings), style="bold"))
        for model in dict.fromkeys(row["model"] for row in chosen):
            table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
            for number, header in enumerate((model, *HEADERS[method][1:])):
                table.add_column(Text(header), justify="right" if number else "left", no_wrap=True)
            for row in chosen:
                if row["model"] == model:
                    table.add_row(*map(Text, cells(row)))
            console.print()
            console.print(Padding(table, (0, 0, 0, 2), expand=False))
    console.print()
    for line in (*remarks(rows), NOTE.format(**settings)):
        console.print(Text(line, style="dim"))


def markdown(summary: dict[str, Any]) -> str:
    """The same as Markdown, one table a method."""
    rows, settings, lines = summary["rows"], summary["settings"], []
    for method, title in TITLES.items():
        chosen = [row for row in rows if row["method"] == method]
        if not chosen:
            continue
        headers = ("model", *HEADERS[method])
        lines += [f"**{title.format(**settings)}**", "", f"| {' | '.join(headers)} |"]
        lines.append(f"| --- | --- |{' ---: |' * (len(headers) - 2)}")
        lines += [f"| {' | '.join((row['model'], *cells(row)))} |" for row in chosen] + [""]
    lines += [f"{line}\n" for line in (*remarks(rows), NOTE.format(**settings), describe_setting(summary))]
    return "\n".join(lines)
