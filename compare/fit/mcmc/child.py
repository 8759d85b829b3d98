"""What a child process does first."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PARENT_DEATH_SIGNAL = 1
"""Linux's PR_SET_PDEATHSIG."""


def begin(parent: int) -> None:
    """Leave Ctrl-C to the parent, process number ``parent``, and end when it does, or has already."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before it could be asked to tell
        os._exit(1)
