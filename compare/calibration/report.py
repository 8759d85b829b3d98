"""A calibration's table in the terminal, and its files."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.text import Text

from compare.atomic import atomic_file
from compare.calibration import Calibration, pictures, rows
from compare.report.files import as_json, save_text
from compare.report.html.template import embedded, render
from compare.report.terminal import STYLES, heading, print_table, print_text

__all__ = ["show", "write"]


def show(calibration: Calibration, console: Console) -> None:
    """Print the table and the verdicts."""
    summary = calibration.summary
    model = (calibration.request.model.name, "bold")
    print_text(console, Text.assemble(model, f": calibrated over {summary['data_sets']:,} data sets"))
    data = ", ".join(f"{key} {value}" for key, value in summary["data"].items())
    print_text(
        console, f"drawn from the prior, of the size and with the constants of: {data}; seed {summary['seed']}", 2
    )
    for table in (rows.overview(summary), rows.chains(summary)):
        heading(console, table.title)
        print_table(console, table)
    heading(console, "Verdicts")
    for name, word, sentence in verdicts(calibration):
        print_text(console, Text.assemble(name, ": ", (word, STYLES.get(word, "")), f". {sentence}"), 2)


def verdicts(calibration: Calibration) -> list[tuple[str, str, str]]:
    """Each fit's name, word and sentence."""
    fits = calibration.summary["fits"].items()
    return [(name, fit["verdict"]["word"], fit["verdict"]["sentence"]) for name, fit in fits]


def write(calibration: Calibration, folder: Path, command: str) -> list[Path]:
    """Write calibration.json, the two pictures and calibration.html, each completely or not at all."""
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
        tables=[rows.every(summary), rows.chains(summary)],
        verdicts=verdicts(calibration),
        pictures=[(path.stem, embedded(path), caption) for path, caption in plots],
        command=command,
    )
    paths = [save_text(as_json(summary), folder / "calibration.json"), *(path for path, _ in plots)]
    return [*paths, save_text(page, folder / "calibration.html")]
