"""What the user sees of a comparison: the report on the terminal, the plots, the page and the files."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

from compare.atomic import atomic_folder, remove_leftovers
from compare.comparison import Comparison
from compare.measure.held_out import weights
from compare.report import files
from compare.report.files import save_draws, save_text
from compare.report.pictures import PLOTS, drawing, prepare
from compare.report.tables.elements import finished
from models.contract import Model

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["PLOTS", "possible", "prepare", "show", "text", "write"]


def save_networks(comparison: Comparison, folder: Path) -> list[Path]:
    """Save each network that was trained, as ``network-FIT.npz``."""
    paths: list[Path] = []
    amortization = comparison.model.amortization
    for name, fit in comparison.trainings.items():
        if amortization and fit.tree is not None:
            paths.append(folder / f"network-{name}.npz")
            amortization.save(amortization.with_decoder(comparison.data, weights(fit)), paths[-1])
    return paths


def write(
    comparison: Comparison, folder: Path | str, plot_executor: Executor | None = None
) -> tuple[Comparison, list[Path]]:
    """Write the summary, the draws, the plots and the page to a folder: all of them, each completely, or none.

    Files that an earlier run left there, and that this one does not make, are removed.

    Args:
        comparison: The comparison.
        folder: Where to; it is made where it is missing.
        plot_executor: What draws the plots beside this process.

    Returns:
        The comparison, with a note on each picture that could not be drawn.
        The files, the page last.

    Raises:
        OSError: they cannot be written; what an earlier run left there is as it was.
    """
    folder = Path(folder)
    with atomic_folder(folder) as temporary:
        with drawing(comparison, temporary, plot_executor) as collect:
            from compare.report.html.page import page

            about = {
                "model": comparison.model.name, "seed": comparison.request.seed, "data": comparison.data.describe(),
            }  # fmt: skip
            draws = save_draws(finished(comparison), temporary / "draws.nc", about)
            pictures, notes = collect()
        comparison = replace(comparison, notes=(*comparison.notes, *notes))
        networks = save_networks(comparison, temporary)
        summary = save_text(files.as_json(comparison.summary), temporary / "summary.json")
        html = save_text(page(comparison, pictures), temporary / "report.html")
        paths = [summary, draws, *networks, *(path for path, _ in pictures), html]
        for path in paths:
            path.stat()  # the folder may have been removed while it was written to
    written = [folder / path.name for path in paths]
    for path in (path for pattern in (*possible(comparison.model), "failure.json") for path in folder.glob(pattern)):
        if path not in written:
            path.unlink(missing_ok=True)
    remove_leftovers(folder)
    return comparison, written


def possible(model: Model) -> list[str]:
    """Patterns of the names of files that only some comparisons of this model have."""
    return [*(f"{name}.png" for name in (*PLOTS, *(picture.name for picture in model.pictures))), "network-*.npz"]


def text(comparison: Comparison, console: Console, verbose: bool = False) -> str:
    """What `show` prints on this console, without the files."""
    from compare.report.terminal import show as print_report

    with console.capture() as captured:
        print_report(comparison, console, verbose=verbose)
    return captured.get()


def show(
    comparison: Comparison,
    folder: Path | str | None = None,
    paths: Sequence[Path] = (),
    as_json: bool = False,
    file: IO[str] | None = None,
    verbose: bool = False,
) -> None:
    """Print the comparison and where its files are.

    Args:
        comparison: The comparison.
        folder: Where its files are; named where ``paths`` are not given.
        paths: Its files.
        as_json: Whether to print the summary and nothing else.
        file: Where to; standard output by default.
        verbose: Whether to print everything rather than the verdicts and the table of fits.
    """
    file = sys.stdout if file is None else file
    if as_json:
        file.write(files.as_json(comparison.summary))
        file.flush()
        return
    from compare.report.console import console_for
    from compare.report.terminal import show as print_report

    places = list(paths) or ([Path(folder)] if folder is not None else [])
    print_report(comparison, console_for(file), places, verbose)
