"""Which pictures a comparison has, their captions, and drawing them, beside this process where one is offered."""

import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from compare.comparison import Comparison
from compare.messages import one_line
from compare.report.tables.elements import finished, optimised, sampled

CAPTIONS = {
    "posterior": "Every fit's posterior (lines; Pyro's are dashed) over the true one (grey). Densities of draws "
    "wiggle a little; a fit that is narrower or shifted as a whole is wrong.",
    "elbo": "ELBO against gradient evaluations, with a band of two Monte Carlo errors either side. No fit can cross "
    "the log evidence (black), nor stay above the best member of its family (dotted). Where the evidence is not known, "
    "the highest ELBO stands in its place. A triangle that points down is an upper limit, for a distance within two "
    "errors of zero. For coordinate ascent an update counts as one evaluation.",
    "forest": "Medians with 50% and 95% intervals of every fit, element by element. An exact posterior's intervals are "
    "its own; the others come from draws.",
    "trace": "The NUTS chains, draw by draw. They should look alike and not drift; ticks below mark divergences.",
    "rank": "Ranks of each NUTS chain's draws among those of all chains. Chains that explore the same distribution "
    "stay within the grey band (95%).",
}

PLOTS = tuple(CAPTIONS)
"""The names of the plots that every model gets, where they apply."""


class Drawn(NamedTuple):
    """The pictures that were drawn, with their captions, and a note on each that could not be."""

    pictures: list[tuple[Path, str]]
    notes: list[str]


class Drawing(NamedTuple):
    """A picture that applies: its name, its caption, and the function that saves it."""

    name: str
    caption: str
    draw: Callable[[Path], None]


def applicable(comparison: Comparison) -> list[Drawing]:
    """The pictures that apply. Modules that draw are imported only when a picture is drawn."""

    def plot(name: str, module: str, path: Path) -> None:
        getattr(import_module(f"compare.report.plots.{module}"), name)(comparison, path)

    trees = finished(comparison)
    shown = {
        "posterior": ("posteriors", trees),
        "elbo": ("elbo", optimised(comparison)),
        "forest": ("posteriors", trees),
        "trace": ("chains", sampled(comparison)),
        "rank": ("chains", sampled(comparison)),
    }
    drawings = [
        Drawing(name, CAPTIONS[name], partial(plot, name, module)) for name, (module, fits) in shown.items() if fits
    ]
    for picture in comparison.model.pictures:
        if picture.applies is None or picture.applies(comparison.data):
            draw = partial(picture.draw, trees, comparison.data, comparison.truth)
            drawings.append(Drawing(picture.name, picture.caption, draw))
    return drawings


def prepare() -> None:
    """Import what the pictures need."""
    for module in ("posteriors", "chains"):
        import_module(f"compare.report.plots.{module}")


def draw_one(comparison: Comparison, name: str, folder: str) -> str | None:
    """Draw one picture into a folder. Returns what went wrong, None if nothing did.

    Raises:
        OSError: there is no room for it, which is not the picture's fault.
    """
    from models.plotting import style

    draw = next(drawing.draw for drawing in applicable(comparison) if drawing.name == name)
    try:
        with style():
            draw(Path(folder) / f"{name}.png")
    except OSError:
        raise
    except Exception as error:
        return f"{name}.png could not be drawn: {one_line(error)}"
    return None


@contextmanager
def drawing(comparison: Comparison, folder: Path, plot_executor: Executor | None) -> Iterator[Callable[[], Drawn]]:
    """Have the pictures drawn into a folder, beside this process if there is an executor.

    Call what is yielded to get them. Those that the executor has not begun by then are drawn here, the last first.
    """
    captions = {name: caption for name, caption, _ in applicable(comparison)}
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as scratch:
        futures = {}
        if plot_executor:
            futures = {name: plot_executor.submit(draw_one, comparison, name, scratch) for name in captions}

        def result(name: str) -> str | None:
            if name not in futures or futures[name].cancel():
                return draw_one(comparison, name, scratch)
            try:
                return futures[name].result()
            except Exception:  # an executor that cannot be sent the comparison, or died of it, is not needed
                return draw_one(comparison, name, scratch)

        def collect() -> Drawn:
            idle = [name for name in reversed(captions) if name in futures and not futures[name].done()]
            errors = {name: result(name) for name in [*idle, *(name for name in captions if name not in idle)]}
            pictures = [(folder / f"{name}.png", caption) for name, caption in captions.items() if not errors[name]]
            for path, _ in pictures:
                os.replace(Path(scratch) / path.name, path)
            return Drawn(pictures, [error for name in captions if (error := errors[name])])

        yield collect
