"""What the user sees of a comparison: the table, the plots, the page and the files."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import IO, TYPE_CHECKING

from compare.atomic import atomic_folder, remove_leftovers
from compare.measure.held_out import weights
from compare.report import files
from compare.report.files import save_draws, save_text
from compare.report.tables.elements import finished, optimised, sampled

if TYPE_CHECKING:
    from rich.console import Console

    from compare.comparison import Comparison
    from models.contract import Model

__all__ = ["PLOTS", "possible", "prepare", "show", "text", "write"]

Drawn = list[tuple[Path, str]]

PLOTS = ("posterior", "elbo", "forest", "trace", "rank")
"""The names of the plots that every model gets, where they apply."""

CAPTIONS = {
    "posterior": "Every fit's posterior (lines; Pyro's are dashed) over the true one (grey). Densities of draws "
    "wiggle a little; a fit that is narrower or shifted as a whole is wrong.",
    "elbo": "ELBO against gradient evaluations, with a band of two Monte Carlo errors either side. No fit can cross "
    "the log evidence (black), nor stay above the best member of its family (dotted); where the evidence is not known "
    "the highest ELBO stands in its place. A triangle that "
    "points down is an upper limit: the distance cannot be told from zero. For coordinate ascent an update "
    "counts as one evaluation.",
    "forest": "Medians with 50% and 95% intervals of every fit, element by element. An exact posterior's are its own, "
    "the others from their draws.",
    "trace": "The NUTS chains, draw by draw. They should look alike and wander nowhere; ticks below mark divergences.",
    "rank": "Ranks of each NUTS chain's draws among those of all chains. Lines within the grey band (95%) are what "
    "chains that explore the same distribution give.",
}


def pictures(comparison: Comparison) -> Iterator[tuple[str, str, Callable[[Path], None]]]:
    """Name, caption and drawing function of each picture that applies; what draws is imported when it is called."""

    def by(module: str, function: str) -> Callable[[Path], None]:
        return lambda path: getattr(import_module(f"compare.report.{module}"), function)(comparison, path)

    trees = finished(comparison)
    if trees:
        yield "posterior", CAPTIONS["posterior"], by("plots.posteriors", "posterior")
    if optimised(comparison):
        yield "elbo", CAPTIONS["elbo"], by("plots.elbo", "draw")
    if trees:
        yield "forest", CAPTIONS["forest"], by("plots.posteriors", "forest")
    if sampled(comparison):
        yield "trace", CAPTIONS["trace"], by("plots.posteriors", "trace")
        yield "rank", CAPTIONS["rank"], by("plots.posteriors", "rank")
    for one in comparison.model.pictures:
        if one.applies is None or one.applies(comparison.data):
            draw = one.draw
            yield one.name, one.caption, lambda path, draw=draw: draw(trees, comparison.data, comparison.truth, path)


def prepare() -> None:
    """Import what the pictures need."""
    import compare.report.plots.posteriors  # noqa: F401


def sketch(comparison: Comparison, name: str, folder: str) -> str | None:
    """Draw one picture into a folder; what went wrong, None if nothing did.

    Raises:
        OSError: there is no room for it; that is no matter of the picture.
    """
    from models.plotting import style

    make = next(make for other, _, make in pictures(comparison) if other == name)
    try:
        with style():
            make(Path(folder) / f"{name}.png")
    except OSError:
        raise
    except Exception as error:
        line = " ".join(f"{type(error).__name__}: {error}".split())
        return f"{name}.png could not be drawn: {line[:200]}"
    return None


@contextmanager
def drawing(comparison: Comparison, folder: Path, plot_executor: Executor | None) -> Iterator[Callable[[], Drawn]]:
    """Have the pictures drawn, beside this process if there is a plot_executor; call what is yielded to get them.

    Those that the plot_executor has not begun by then are drawn here, the last first. One that fails is left out and
    noted in the summary, but for want of room on the disk.
    """
    captions = {name: caption for name, caption, _ in pictures(comparison)}
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as scratch:
        asked = {name: plot_executor.submit(sketch, comparison, name, scratch) for name in captions if plot_executor}

        def result(name: str) -> str | None:
            if name not in asked or asked[name].cancel():
                return sketch(comparison, name, scratch)
            try:
                return asked[name].result()
            except Exception:  # who cannot be sent the comparison, or did not survive it, is not needed
                return sketch(comparison, name, scratch)

        def collect() -> Drawn:
            idle = [name for name in reversed(captions) if name in asked and not asked[name].done()]
            wrong = {name: result(name) for name in [*idle, *(name for name in captions if name not in idle)]}
            notes = comparison.summary.setdefault("notes", [])
            notes += [wrong[name] for name in captions if wrong[name] and wrong[name] not in notes]
            drawn = [(folder / f"{name}.png", caption) for name, caption in captions.items() if not wrong[name]]
            for path, _ in drawn:
                os.replace(Path(scratch) / path.name, path)
            return drawn

        yield collect


def save_networks(comparison: Comparison, folder: Path) -> list[Path]:
    """Save each network that was learnt, as ``network-FIT.npz``."""
    model, saved = comparison.model, []
    for name, fit in comparison.trainings.items():
        if fit.tree is not None:
            saved.append(folder / f"network-{name}.npz")
            model.amortization.save(model.amortization.with_decoder(comparison.data, weights(fit)), saved[-1])
    return saved


def write(comparison: Comparison, folder: Path | str, plot_executor: Executor | None = None) -> list[Path]:
    """Write the summary, the draws, the plots and the page to a folder: all of them, each whole, or none.

    ``plot_executor`` draws the plots beside this process. Files that an earlier run left there and that this one does
    not make are removed. Returns the files written, the page last.

    Raises:
        OSError: they cannot be written; what an earlier run left there is as it was.
    """
    folder = Path(folder)
    with atomic_folder(folder) as temporary:
        with drawing(comparison, temporary, plot_executor) as collect:
            from compare.report.html.page import page

            about = {
                "model": comparison.model.name,
                "seed": comparison.request.seed,
                "data": comparison.data.describe(),
            }
            draws = save_draws(finished(comparison), temporary / "draws.nc", about)
            drawn = collect()
        networks = save_networks(comparison, temporary)
        summary = save_text(files.as_json(comparison.summary), temporary / "summary.json")
        html = save_text(page(comparison, drawn), temporary / "report.html")
        made = [summary, draws, *networks, *(path for path, _ in drawn), html]
        for path in made:
            path.stat()  # the folder may have been removed while it was written to
    written = [folder / path.name for path in made]
    for path in (path for pattern in (*possible(comparison.model), "failure.json") for path in folder.glob(pattern)):
        if path not in written:
            path.unlink(missing_ok=True)
    remove_leftovers(folder)
    return written


def possible(model: Model) -> list[str]:
    """The names, or patterns of names, of the files that some comparisons of this model have and others have not."""
    return [*(f"{name}.png" for name in (*PLOTS, *(one.name for one in model.pictures))), "network-*.npz"]


def text(comparison: Comparison, console: Console, verbose: bool = False) -> str:
    """What `show` prints, as this console would have it, but for the files."""
    from compare.report.tables.terminal import show as print_table

    with console.capture() as captured:
        print_table(comparison, console)
    return captured.get()


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
    from compare.report.tables.terminal import console_for
    from compare.report.tables.terminal import show as print_table

    print_table(comparison, console_for(file), list(paths) or ([Path(folder)] if folder is not None else []))
