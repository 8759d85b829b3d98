"""Progress of the fits: on standard error, and only where that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["show_progress"]


@contextmanager
def show_progress() -> Iterator[Callable[[str], None]]:
    """Yield a function that shows a line of progress."""
    if not sys.stderr.isatty():
        yield lambda line: None
        return
    from rich.console import Console

    with Console(stderr=True).status("fitting ...") as status:
        yield lambda line: status.update(f"fitting ... {line}")
