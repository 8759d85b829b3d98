"""Errors of a command: one line on standard error, and an exit status."""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from compare.atomic import WriteError
from compare.messages import one_line

LONGEST = 1000
"""Characters beyond which an error's message is cut in its middle."""


def exit_status(command: Callable[[], int]) -> int:
    """Run a command; the exit status: its own, 1 it failed, 2 bad arguments or data, 130 interrupted."""
    unraisable, sys.unraisablehook = sys.unraisablehook, repeat_interrupt
    logging.getLogger("jax._src.callback").setLevel(logging.CRITICAL)  # what it logs, a Ctrl-C too, is raised as well
    try:
        return command()
    except ValueError as error:
        return complain(one_line(error, LONGEST, bare=True), 2)
    except KeyboardInterrupt:
        return complain("interrupted; nothing half-written is left", 130)
    except WriteError as error:
        return complain(one_line(error, LONGEST, bare=True), 1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        return complain(f"the comparison could not be made: {one_line(error, LONGEST, bare=True)}", 1)
    finally:
        sys.unraisablehook = unraisable


def complain(message: str, status: int) -> int:
    print(f"compare: {message}", file=sys.stderr)
    return status


def repeat_interrupt(lost: sys.UnraisableHookArgs) -> None:
    """Repeat a Ctrl-C that came during a callback that cannot raise; jax has one at every garbage collection."""
    if lost.exc_type is KeyboardInterrupt:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(lost)


@contextmanager
def hold_interrupts() -> Iterator[None]:
    """Let a Ctrl-C wait until the end of the block: jaxlib's first import calls back from C++, where it would abort."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, frame: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if held:
        raise KeyboardInterrupt


def check_text(arguments: Sequence[str]) -> None:
    """Check that all arguments are text, which the summary and the page can repeat.

    Raises:
        ValueError: one is not, as the name of a file may be.
    """
    for argument in arguments:
        if "\0" in argument or any("\ud800" <= letter <= "\udfff" for letter in argument):
            raise ValueError(f"the argument {argument!a} is not text in UTF-8; where it names a file, rename that")


def check_writable(folder: Path) -> None:
    """Check before any work that a folder can be written; nothing is left behind.

    Raises:
        ValueError: it cannot.
    """
    existing = folder
    try:
        while not existing.exists() and existing != existing.parent:
            existing = existing.parent
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise ValueError(f"--out {folder}: cannot be written ({error.strerror}); name a folder that can") from None


def leave(status: int) -> NoReturn:
    """End at once: taking the libraries down would take a second, or wait for what an interrupted one still does."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # the reader is gone
            status = status or 1
    os._exit(status)
