"""Who works beside this process: other processes here, or a cluster."""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.context import BaseContext
from typing import Any

from compare import user_model
from compare.fit.mcmc.child import begin

__all__ = ["Lasting", "Workers", "workers"]


@dataclass(frozen=True)
class Workers:
    """The executor of each library that does not work in this process, and one that may draw the pictures.

    ``n_slots`` is how many tasks they can be at work on at a time.
    """

    libraries: dict[str, Executor] = field(default_factory=dict)
    plot_executor: Executor | None = None
    n_slots: int = 1


class Lasting(Executor):
    """Processes in whose place others come when one of them dies. What they were doing then is lost, and said so."""

    def __init__(self, processes: int, context: BaseContext) -> None:
        self.processes, self.context = processes, context
        self.pool = self.renewed()

    def renewed(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self.processes, self.context, initializer=begin, initargs=(os.getpid(), user_model.references())
        )

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future:
        """Have a function called in one of the processes."""
        try:
            return self.pool.submit(function, *arguments, **named)
        except BrokenExecutor:
            self.pool.shutdown(wait=False)
            self.pool = self.renewed()
            return self.pool.submit(function, *arguments, **named)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes."""
        self.pool.shutdown(wait, cancel_futures=cancel_futures)
        if wait and self.context.get_start_method() == "spawn":
            # The semaphores of what was spawned go with the last reference; Python complains of those that outlive it.
            del self.pool
            gc.collect()


@contextmanager
def workers(libraries: Sequence[str], processes: int | None = None, scheduler: str | None = None) -> Iterator[Workers]:
    """Those who help with these libraries.

    The first library works in this process and each other one in a process of its own, so that neither waits for
    the other to be imported, and what all need is not imported once more than it must be. Of more ``processes`` than
    libraries each library gets its share, and this one only waits; one is this process alone. ``scheduler`` is the
    address of a Dask scheduler: all libraries work there.

    Raises:
        ValueError: a scheduler is asked for and Dask is not installed, or no scheduler answers.
    """
    if scheduler:
        from compare.execute.dask import cluster

        with cluster(scheduler) as executor:
            yield Workers(dict.fromkeys(libraries, executor), n_slots=executor.n_slots)
        return
    shares = share(list(dict.fromkeys(libraries)), processes)
    # A forked process has what this one has imported. Not where a library already runs threads: that may deadlock.
    forkable = sys.platform == "linux" and not {"jax", "torch"} & set(sys.modules)
    context = multiprocessing.get_context("fork" if forkable else "spawn")
    pools: dict[str, Executor] = {library: Lasting(count, context) for library, count in shares.items()}
    try:
        yield Workers(pools, next(reversed(pools.values()), None), max(1, sum(shares.values())))
    except BaseException:
        for process in multiprocessing.active_children():
            process.kill()
        for pool in pools.values():
            pool.shutdown(wait=False, cancel_futures=True)
        raise
    for pool in pools.values():
        pool.shutdown()


def share(libraries: Sequence[str], processes: int | None) -> dict[str, int]:
    """How many processes beside this one each library gets."""
    if processes is None or processes == len(libraries) > 1:
        return dict.fromkeys(libraries[1:], 1)
    if processes < max(2, len(libraries)):
        return dict.fromkeys(libraries[1:processes], 1)
    return {
        library: processes // len(libraries) + (place < processes % len(libraries))
        for place, library in enumerate(libraries)
    }
