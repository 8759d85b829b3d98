"""What the user sees of a comparison: the table, the plots, the page and the files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from compare.report import files
from compare.report.elements import finished
from compare.report.files import save_draws, save_text, whole

if TYPE_CHECKING:
    from compare.run import Comparison

__all__ = ["PLOTS", "show", "write"]

PLOTS = ("posterior", "elbo", "forest", "trace", "rank")
"""The names of the plots that every model gets, where they apply."""

CAPTIONS = {
    "posterior": "Every fit's posterior (lines; Pyro's are dashed) over the exact one (grey). Densities of draws "
    "wiggle a little; a fit that is narrower or shifted as a whole is wrong.",
    "elbo": "ELBO against gradient evaluations, with a band of two Monte Carlo errors either side. No fit can cross "
    "the log evidence (black), nor stay above the best member of its family (dotted). A triangle that "
    "points down is an upper limit: the distance cannot be told from zero. For coordinate ascent an update "
    "counts as one evaluation.",
    "forest": "Medians with 50% and 95% intervals of every fit, element by element. The exact one's are its own, "
    "the others from their draws.",
    "trace": "The NUTS chains, draw by draw. They should look alike and wander nowhere; ticks below mark divergences.",
    "rank": "Ranks of each NUTS chain's draws among those of all chains. Lines within the grey band (95%) are what "
    "chains that explore the same distribution give.",
}


def pictures(comparison: Comparison) -> Iterator[tuple[str, str, Callable[[Path], None]]]:
    """Name, caption and drawing function of each picture that applies."""
    from compare.report import elbo, plots

    trees = finished(comparison)
    if trees:
        yield "posterior", CAPTIONS["posterior"], lambda path: plots.posterior(comparison, path)
    if elbo.applies(comparison):
        yield "elbo", CAPTIONS["elbo"], lambda path: elbo.draw(comparison, path)
    if trees:
        yield "forest", CAPTIONS["forest"], lambda path: plots.forest(comparison, path)
    if plots.sampled(comparison):
        yield "trace", CAPTIONS["trace"], lambda path: plots.trace(comparison, path)
        yield "rank", CAPTIONS["rank"], lambda path: plots.rank(comparison, path)
    for one in comparison.model.pictures:
        if one.applies(comparison.data):
            draw = one.draw
            yield one.name, one.caption, lambda path, draw=draw: draw(trees, comparison.data, comparison.exact, path)


def draw(comparison: Comparison, folder: Path) -> list[tuple[Path, str]]:
    """Draw every picture; one that fails is left out and noted in the summary. Returns paths and captions."""
    from compare.report.palette import style

    drawn: list[tuple[Path, str]] = []
    notes = comparison.summary.setdefault("notes", [])
    for name, caption, make in pictures(comparison):
        path = folder / f"{name}.png"
        try:
            with style(), whole(path) as temporary:
                make(temporary)
        except Exception as error:
            line = " ".join(f"{type(error).__name__}: {error}".split())
            note = f"{path.name} could not be drawn: {line[:200]}"
            if note not in notes:
                notes.append(note)
        else:
            drawn.append((path, caption))
    current = {path.name for path, _ in drawn}
    for name in (*PLOTS, *(one.name for one in comparison.model.pictures)):
        if f"{name}.png" not in current:
            (folder / f"{name}.png").unlink(missing_ok=True)
    return drawn


def write(comparison: Comparison, folder: Path | str) -> list[Path]:
    """Write the summary, the draws, the plots and the page to a folder, each file whole or not at all.

    Plots that an earlier run left there and that this one does not make are removed. Returns the files written,
    the page last.
    """
    from compare.report.page import page

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    drawn = draw(comparison, folder)
    summary = save_text(files.as_json(comparison.summary), folder / "summary.json")
    about = {"model": comparison.model.name, "seed": comparison.seed, "data": comparison.data.describe()}
    draws = save_draws(finished(comparison), folder / "draws.nc", about)
    html = save_text(page(comparison, drawn), folder / "report.html")
    return [summary, draws, *(path for path, _ in drawn), html]


def show(
    comparison: Comparison,
    folder: Path | str | None = None,
    paths: Sequence[Path] = (),
    as_json: bool = False,
    file: IO[str] | None = None,
) -> None:
    """Print the comparison and where its files are; with ``as_json`` the summary and nothing else.

    ``file`` is standard output by default. Without ``paths``, the files in ``folder`` go unnamed.
    """
    file = sys.stdout if file is None else file
    if as_json:
        file.write(files.as_json(comparison.summary))
        file.flush()
        return
    from compare.report.table import console_for
    from compare.report.table import show as print_table

    print_table(comparison, console_for(file), list(paths) or ([Path(folder)] if folder is not None else []))
