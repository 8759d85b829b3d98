"""The console of a report, a terminal or a pipe, and the lines that name the files."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.text import Text

PIPED = 140  # columns of text where there is no terminal to ask


def console_for(file: IO[str] | None = None) -> Console:
    """A console for ``file`` (standard output): the terminal's own width and colours, or plain text in a pipe."""
    file = sys.stdout if file is None else file
    if not getattr(file, "isatty", lambda: False)():
        if hasattr(file, "reconfigure"):
            file.reconfigure(errors="replace")
        return Console(file=file, width=PIPED, no_color=True, force_terminal=False, highlight=False)
    return Console(file=file, highlight=False)


def name_files(files: Sequence[Path], console: Console) -> None:
    """Say where the files of a report are, a line a folder."""
    if files:
        console.print()
    for folder in dict.fromkeys(Path(file).parent for file in files):
        names = ", ".join(Path(file).name for file in files if Path(file).parent == folder)
        console.print(Text(f"{folder}: {names}"), soft_wrap=True)
