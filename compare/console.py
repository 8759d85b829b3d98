"""Where the table is printed: a terminal, or a pipe."""

from __future__ import annotations

import sys
from typing import IO

from rich.console import Console

__all__ = ["PIPED", "console_for"]

PIPED = 140
"""Columns of text where there is no terminal to ask."""


def console_for(file: IO[str] | None = None) -> Console:
    """A console for ``file`` (standard output): the terminal's own width and colours, or plain text in a pipe."""
    file = sys.stdout if file is None else file
    if not getattr(file, "isatty", lambda: False)():
        if hasattr(file, "reconfigure"):
            file.reconfigure(errors="replace")
        return Console(file=file, width=PIPED, no_color=True, force_terminal=False, highlight=False)
    return Console(file=file, highlight=False)
