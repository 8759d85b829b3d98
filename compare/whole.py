"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["leftovers", "whole"]

TEMPORARY = re.compile(r"\..+\.(\d+)(\.\w+)?")


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place at the end, or is removed if anything goes wrong."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def leftovers(folder: Path) -> list[Path]:
    """The temporary files in a folder whose process is no longer there to finish or remove them."""
    found = []
    with suppress(OSError):
        for path in folder.iterdir():
            match = TEMPORARY.fullmatch(path.name)
            if match and not alive(int(match[1])):
                found.append(path)
    return found


def alive(process: int) -> bool:
    """Whether there is such a process, or may be."""
    if os.name != "posix":  # elsewhere to ask is to interrupt
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
