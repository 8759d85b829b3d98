"""Progress of the fits: on standard error, and only where that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Progress(Protocol):
    """Shows what is being done, and how far all of it is."""

    def __call__(self, line: str, done: int = 0, total: int | None = None) -> None:
        """Show a line, and a bar that is full where ``done`` is ``total``; without a total its length is not known."""


def silent(line: str, done: int = 0, total: int | None = None) -> None:
    """Show nothing."""


@contextmanager
def show_progress() -> Iterator[Progress]:
    """Yield a `Progress`: a bar, the seconds so far, and the line."""
    if not sys.stderr.isatty():
        yield silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (SpinnerColumn(), BarColumn(20), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("beginning", total=None)

        def show(line: str, done: int = 0, total: int | None = None) -> None:
            bar.update(task, description=line, completed=done)
            shown = bar.tasks[0]
            shown.total, shown.finished_time = total, None  # update ignores None; the clock goes on at a full bar

        yield show
