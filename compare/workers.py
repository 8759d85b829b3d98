"""Who works beside this process: one process a library, or a cluster."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from compare.fits.child import begin

__all__ = ["Workers", "workers"]


@dataclass(frozen=True)
class Workers:
    """The executor of each library that does not work in this process, and one that may draw the pictures."""

    libraries: dict[str, Executor] = field(default_factory=dict)
    draughtsman: Executor | None = None


@contextmanager
def workers(libraries: Sequence[str], cluster: str | None = None) -> Iterator[Workers]:
    """Those who help with these libraries.

    The first library works in this process and each other one in a process of its own, so that neither waits for
    the other to be imported, and what all need is not imported once more than it must be. ``cluster`` is the address
    of a Dask scheduler: all libraries work there.

    Raises:
        ValueError: a cluster is asked for and Dask is not installed.
    """
    if cluster:
        try:
            from dask.distributed import Client
        except ImportError:
            raise ValueError("--cluster needs the extra cluster: pip install 'posterior-zoo[cluster]'") from None
        with Client(cluster) as client:
            yield Workers(dict.fromkeys(libraries, client.get_executor()))
        return
    # A forked process has what this one has imported. Not where a library already runs threads: that may deadlock.
    forkable = sys.platform == "linux" and not {"jax", "torch"} & set(sys.modules)
    context = multiprocessing.get_context("fork" if forkable else "spawn")
    pools: dict[str, Executor] = {
        library: ProcessPoolExecutor(1, mp_context=context, initializer=begin, initargs=(os.getpid(),))
        for library in list(dict.fromkeys(libraries))[1:]
    }
    try:
        yield Workers(pools, next(reversed(pools.values()), None))
    except BaseException:
        for process in multiprocessing.active_children():
            process.kill()
        for pool in pools.values():
            pool.shutdown(wait=False, cancel_futures=True)
        raise
    for pool in pools.values():
        pool.shutdown()
