"""Leave the user's process as it was: whatever a call from Python changes for its own work is put back when it ends."""

from __future__ import annotations

import random
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any

import numpy as np


@contextmanager
def undisturbed(*libraries: str) -> Iterator[None]:
    """A block in float64 with these libraries, after which the process is as before, however the block ends.

    That is what the libraries keep for the whole process (see ``process_numpyro`` and ``process_pyro``), the random
    states of Python and NumPy, NumPy's error handling, warning filters and Matplotlib's settings.
    """
    states = random.getstate(), np.random.get_state(), np.geterr()
    settings: dict[str, Any] = dict(plot_settings())
    with warnings.catch_warnings(), ExitStack() as stack:
        for library in libraries:
            stack.enter_context(import_module(f"compare.user_model.process_{library}").undisturbed())
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])
            np.seterr(**states[2])
            dict.update(plot_settings(), settings)  # as they were, without Matplotlib's checks and side effects


def plot_settings() -> dict[str, Any]:
    """Matplotlib's settings; empty where it is not imported."""
    matplotlib = sys.modules.get("matplotlib")
    return getattr(matplotlib, "rcParams", {})
