"""What a child process does first."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress

from compare import user_model

__all__ = ["begin"]

PARENT_DEATH_SIGNAL = 1
"""Linux's PR_SET_PDEATHSIG."""


def begin(parent: int, references: Sequence[str] = ()) -> None:
    """Leave Ctrl-C to the parent, process number ``parent``, and end when it does, were it only just begun.

    The users' models at these references are read, as their data may hold objects that are defined beside them. What
    is wrong with one is said by its fit.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before it could be asked to tell
        os._exit(1)
    for reference in references:
        with suppress(Exception):
            user_model.find(reference)
