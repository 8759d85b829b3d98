"""``python -m compare coin --calibrate 1000``: make the calibration, print its table, write its files."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compare.atomic import atomic_file
from compare.calibration import Calibration, calibrate, rows
from compare.calibration.rows import NAMES
from compare.execute.processes import workers
from compare.report.files import as_json, save_text
from compare.report.html.page import embedded
from compare.report.html.template import render
from compare.report.tables.terminal import STYLES, say, section

if TYPE_CHECKING:
    from rich.console import Console

    from compare.options import Options
    from models.contract import Model

__all__ = ["FOLDER", "make", "show", "write"]

FOLDER = "calibration"
"""The folder beside a comparison's files."""


def make(
    model: Model,
    data: Any,
    asked: tuple[list[str], list[str] | None, bool, Options, int],
    count: int,
    processes: int | None = None,
    scheduler: str | None = None,
) -> Calibration:
    """The calibration that a command line asks for.

    Raises:
        ValueError: as `calibrate`.
    """
    from compare.execute import progress

    with progress.show() as tell, workers(asked[0], processes, scheduler) as helpers:
        return calibrate(model, data, *asked, count=count, helpers=helpers, progress=tell)


def show(calibration: Calibration, console: Console) -> None:
    """Print the table and the verdicts."""
    from rich.text import Text

    summary = calibration.summary
    say(
        console,
        Text.assemble((calibration.model.name, "bold"), f": calibrated over {summary['data_sets']:,} data sets"),
    )
    described = ", ".join(f"{key} {value}" for key, value in summary["data"].items())
    say(
        console, f"drawn from the prior, of the size and with the constants of: {described}; seed {calibration.seed}", 2
    )
    section(
        console,
        f"How often intervals hold the true value ({', '.join(NAMES)}%), and the ranks",
        rows.overview(summary),
        2,
    )
    section(console, "How the fits were got", rows.chains(summary))
    console.print()
    say(console, "Verdicts", style="bold")
    for name, one in summary["fits"].items():
        word, sentence = one["verdict"]["word"], one["verdict"]["sentence"]
        say(console, Text.assemble(name, ": ", (word, STYLES.get(word, "")), f". {sentence}"), 2)


def write(calibration: Calibration, folder: Path, arguments: Sequence[str]) -> list[Path]:
    """Write calibration.json, the two pictures and calibration.html, each whole or not at all."""
    from compare.calibration import pictures

    drawn: list[tuple[Path, str]] = []
    if calibration.ranks:
        for name, picture in (("ranks", pictures.ranks), ("coverage", pictures.coverage)):
            with atomic_file(folder / f"{name}.png") as temporary:
                picture(calibration, temporary)
            drawn.append((folder / f"{name}.png", pictures.CAPTIONS[name]))
    summary = calibration.summary
    page = render(
        "calibration.html.jinja",
        model=calibration.model,
        summary=summary,
        data={key: str(value) for key, value in summary["data"].items()},
        tables={
            "Coverage and ranks": rows.every(summary),
            "How the fits were got": rows.chains(summary),
        },
        verdicts=[(name, one["verdict"]["word"], one["verdict"]["sentence"]) for name, one in summary["fits"].items()],
        pictures=[(path.stem, embedded(path), caption) for path, caption in drawn],
        left=("fit", "quantity", "verdict"),
        command=shlex.join(["python", "-m", "compare", *arguments]),
    )
    paths = [save_text(as_json(summary), folder / "calibration.json"), *(path for path, _ in drawn)]
    return [*paths, save_text(page, folder / "calibration.html")]
