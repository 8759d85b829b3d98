"""Executors for the fits: other processes on this machine, or a cluster."""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing.context import BaseContext
from typing import Any

from compare import user_model
from compare.fit.mcmc.child import begin
from compare.fit.tree import N_CHAINS

REFERENCE = {"numpyro": 1, "pyro": N_CHAINS}
"""Processors that a long reference takes: Pyro's chains have a process each."""


@dataclass(frozen=True)
class Workers:
    """Who works beside this process.

    Attributes:
        libraries: The executor of each library that does not work in this process.
        beside: Where the other fits of the only library are made while this process makes a long reference.
        plot_executor: An executor that may draw the plots.
        n_slots: The number of tasks that can run at a time.
    """

    libraries: dict[str, Executor] = field(default_factory=dict)
    beside: Executor | None = None
    plot_executor: Executor | None = None
    n_slots: int = 1


class RestartingPool(Executor):
    """A process pool that starts with its first task, and anew after a process dies; tasks that were running then fail
    with `BrokenExecutor`.

    Unlike loky's, its processes can be forked, so that they share what this process has imported.
    """

    def __init__(self, n_processes: int, context: BaseContext) -> None:
        self.n_processes, self.context = n_processes, context
        self.pool: ProcessPoolExecutor | None = None

    def start(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self.n_processes,
            self.context,
            initializer=begin_with_models,
            initargs=(os.getpid(), user_model.references()),
        )

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **keywords: Any) -> Future:
        """Call a function in one of the processes."""
        self.pool = self.pool or self.start()
        try:
            return self.pool.submit(function, *arguments, **keywords)
        except BrokenExecutor:
            self.pool.shutdown(wait=False)
            self.pool = self.start()
            return self.pool.submit(function, *arguments, **keywords)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        if self.pool is None:
            return
        self.pool.shutdown(wait, cancel_futures=cancel_futures)
        if wait and self.context.get_start_method() == "spawn":
            # Semaphores of spawned processes must be freed before Python's resource tracker complains of them.
            self.pool = None
            gc.collect()


def begin_with_models(parent: int, references: Sequence[str]) -> None:
    """Begin, and load the users' models at these references: their data may hold objects defined beside them.

    What is wrong with a model is said by its fit.
    """
    begin(parent)
    for reference in references:
        with suppress(Exception):
            user_model.find(reference)


@contextmanager
def workers(
    libraries: Sequence[str], n_processes: int | None = None, scheduler: str | None = None
) -> Iterator[Workers]:
    """Start the processes for some libraries, and end them at the end.

    By default the first library works in this process and each other one in a process of its own, so that none waits
    for another to be imported. Of one library alone, fits need not wait for a long reference where there is a
    processor for them: a second process makes them beside it.

    Args:
        libraries: The libraries that are needed.
        n_processes: All processes, this one included; with more than there are libraries, this one only waits.
        scheduler: The address of a Dask scheduler, where all libraries then work.

    Raises:
        ValueError: Dask is not installed, or no scheduler answers at the address.
    """
    if scheduler:
        from compare.execute.dask import cluster

        with cluster(scheduler) as executor:
            yield Workers(dict.fromkeys(libraries, executor), n_slots=executor.n_slots)
        return
    # Forking shares this process's imports, but may deadlock once a library has started threads.
    can_fork = sys.platform == "linux" and not {"jax", "torch"} & set(sys.modules)
    context = multiprocessing.get_context("fork" if can_fork else "spawn")
    counts = share_processes(list(dict.fromkeys(libraries)), n_processes)
    pools: dict[str, Executor] = {library: RestartingPool(count, context) for library, count in counts.items()}
    is_alone = n_processes is None and len(set(libraries)) == 1
    has_room = n_processors() > sum(REFERENCE.get(library, 1) for library in set(libraries))
    beside = RestartingPool(1, multiprocessing.get_context("spawn")) if is_alone and has_room else None
    for library, pool in pools.items():  # the processes begin now, before this one imports a library
        pool.submit(import_module, f"compare.fit.svi.objective_{library}")
    try:
        yield Workers(pools, beside, next(reversed(pools.values()), None), max(1, sum(counts.values())))
    except BaseException:
        for process in multiprocessing.active_children():
            process.kill()
        for pool in pools.values():
            pool.shutdown(wait=False, cancel_futures=True)
        raise
    for pool in (*pools.values(), *([beside] if beside else [])):
        pool.shutdown()


def n_processors() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def share_processes(libraries: Sequence[str], n_processes: int | None) -> dict[str, int]:
    """The number of processes beside this one for each library."""
    if n_processes is None or n_processes == len(libraries) > 1:
        return dict.fromkeys(libraries[1:], 1)
    if n_processes < max(2, len(libraries)):
        return dict.fromkeys(libraries[1:n_processes], 1)
    each, remainder = divmod(n_processes, len(libraries))
    return {library: each + (number < remainder) for number, library in enumerate(libraries)}
