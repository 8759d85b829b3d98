"""Files that are written completely or not at all."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TEMPORARY = re.compile(r"\..+\.(\d+)(\.\w+)?")
"""A temporary file's name; the number is the process that writes it."""


class WriteError(OSError):
    """A result cannot be written; the message says where, why, and what to do."""


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path that replaces ``path`` at the end, or is removed after an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder whose files all move to ``folder`` at the end, or none of them after an error.

    After an error ``folder`` and its parents are removed too, where they are new and empty.
    """
    folder = Path(folder)
    created = [path for path in (folder, *folder.parents) if not path.exists()]
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
            for path in created:
                path.rmdir()
        raise
    shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def explain_write_errors(
    target: Path | str, remedy: str = "make room there, or name another folder with --out"
) -> Iterator[None]:
    """Turn a disk error into one that names the target and the remedy.

    Raises:
        WriteError: in place of any `OSError` but that of a closed pipe.
    """
    try:
        yield
    except (BrokenPipeError, WriteError):
        raise
    except OSError as error:
        raise WriteError(f"{target} cannot be written ({error.strerror or error}); {remedy}") from error


def find_leftovers(folder: Path) -> list[Path]:
    """The temporary files and folders of processes that have ended."""
    with suppress(OSError):
        matches = [(path, TEMPORARY.fullmatch(path.name)) for path in folder.iterdir()]
        return [path for path, match in matches if match and not is_alive(int(match[1]))]
    return []


def remove_leftovers(folder: Path) -> None:
    """Remove, where possible, what processes that have ended left half-written in a folder."""
    for path in find_leftovers(folder):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        with suppress(OSError):
            path.unlink(missing_ok=True)


def is_alive(process: int) -> bool:
    """Whether a process runs, or may run."""
    if os.name != "posix":  # elsewhere this signal ends the process
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
