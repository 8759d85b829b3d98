"""A calibration's table in the terminal, and its files."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.text import Text

from compare.atomic import atomic_file
from compare.calibration import Calibration, pictures, rows
from compare.report.files import as_json, save_text
from compare.report.html.page import embedded
from compare.report.html.template import render
from compare.report.tables.terminal import STYLES, say, section

__all__ = ["show", "write"]

CHAINS = "How the fits were made"


def show(calibration: Calibration, console: Console) -> None:
    """Print the table and the verdicts."""
    summary, levels = calibration.summary, ", ".join(rows.NAMES)
    model = (calibration.request.model.name, "bold")
    say(console, Text.assemble(model, f": calibrated over {summary['data_sets']:,} data sets"))
    data = ", ".join(f"{key} {value}" for key, value in summary["data"].items())
    say(console, f"drawn from the prior, of the size and with the constants of: {data}; seed {summary['seed']}", 2)
    title = f"How often intervals hold the true value ({levels}%), and the ranks"
    section(console, title, rows.overview(summary), keys=2)
    section(console, CHAINS, rows.chains(summary))
    console.print()
    say(console, "Verdicts", style="bold")
    for name, word, sentence in verdicts(calibration):
        say(console, Text.assemble(name, ": ", (word, STYLES.get(word, "")), f". {sentence}"), 2)


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
        tables={"Coverage and ranks": rows.every(summary), CHAINS: rows.chains(summary)},
        verdicts=verdicts(calibration),
        pictures=[(path.stem, embedded(path), caption) for path, caption in plots],
        left=("fit", "quantity", "verdict"),
        command=command,
    )
    paths = [save_text(as_json(summary), folder / "calibration.json"), *(path for path, _ in plots)]
    return [*paths, save_text(page, folder / "calibration.html")]
