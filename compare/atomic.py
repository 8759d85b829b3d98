"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["Unwritten", "clear", "leftovers", "together", "whole", "writing"]

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


class Unwritten(OSError):
    """What was made cannot be written; the message says where, why, and what to do."""


@contextmanager
def writing(what: Path | str, remedy: str = "make room there, or name another folder with --out") -> Iterator[None]:
    """Say of an error of the disk what could not be written.

    Raises:
        Unwritten: there was one.
    """
    try:
        yield
    except (BrokenPipeError, Unwritten):
        raise
    except OSError as error:
        raise Unwritten(f"{what} cannot be written ({error.strerror or error}); {remedy}") from error


@contextmanager
def together(folder: Path) -> Iterator[Path]:
    """A temporary folder in ``folder``; at the end all its files take their places there, or none does.

    If anything goes wrong it is removed, and so is ``folder`` itself, with those above it, where it was not there
    before and is empty.
    """
    folder = Path(folder)
    new = [one for one in (folder, *folder.parents) if not one.exists()]
    temporary = folder / f".files.{os.getpid()}"
    try:
        temporary.mkdir(parents=True)
        yield temporary
        for path in temporary.iterdir():
            if path.is_file():
                os.replace(path, folder / path.name)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        with suppress(OSError):
            for one in new:
                one.rmdir()
        raise
    shutil.rmtree(temporary, ignore_errors=True)


def clear(folder: Path) -> None:
    """Remove what processes that are gone have left half-written in a folder, if it can be."""
    for path in leftovers(folder):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        with suppress(OSError):
            path.unlink(missing_ok=True)


def leftovers(folder: Path) -> list[Path]:
    """The temporary files and folders in a folder whose process is no longer there to finish or remove them."""
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
