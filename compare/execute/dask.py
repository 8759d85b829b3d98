"""A Dask cluster as a place to make fits.

Dask tries a task again on another worker when the one that had it dies, up to its own limit (the configuration's
``distributed.scheduler.allowed-failures``), and gives back one result a task.
"""

from __future__ import annotations

import hashlib
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from typing import Any

from compare import user_model
from compare.cache.keys import own_sources
from compare.comparison import Fit, Job
from compare.fit import run_each

__all__ = ["TIMEOUT", "Cluster", "cluster"]

TIMEOUT = 5.0
"""Seconds within which a scheduler must answer."""

ONE_AT_A_TIME = threading.Lock()
"""Neither library can do two things in one process at once, and a worker may have several threads."""


class Cluster(Executor):
    """The workers of a Dask client; ``n_slots`` is how many tasks they do at a time."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.executor = client.get_executor(pure=False)

    @property
    def n_slots(self) -> int:
        return max(1, len(self.client.scheduler_info(n_workers=-1)["workers"]))

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future:
        """Have a function called by one of the workers; of `run_each` the fits come back without their jobs."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sending large graph")  # data are sent with their tasks
            if function is run_each:
                (jobs,) = arguments
                return self.executor.submit(*task(jobs), **named)
            return self.executor.submit(alone, function, *arguments, **named)


def task(jobs: Sequence[Job]) -> tuple[Any, ...]:
    """What is sent to a worker: a function and its arguments."""
    if user_model.knows(jobs[0].model):
        return (make_own, *by_value(jobs))
    return make, list(jobs)


def alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function while this worker does nothing else."""
    with ONE_AT_A_TIME:
        return function(*arguments)


def make(jobs: Sequence[Job]) -> list[Fit]:
    """Make fits in a worker. They leave their jobs behind, which the one who asked for them has."""
    return [replace(fit, job=None) for fit in alone(run_each, jobs)]


def by_value(jobs: Sequence[Job]) -> tuple[str, str, bytes]:
    """Jobs on a user's model, for workers that do not have its code: the code and its data, pickled by value.

    Returns:
        A name that tells this model from all others, its library, and the pickle.
    """
    import cloudpickle

    mine = user_model.find(jobs[0].model)
    modules = [sys.modules[name] for name in own_sources(mine.function)]
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        model = cloudpickle.dumps((mine.function, mine.exact))
        content = cloudpickle.dumps((mine.function, mine.exact, list(jobs)))
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)
    return f"own-{hashlib.sha256(model).hexdigest()}", mine.library, content


def make_own(name: str, library: str, content: bytes) -> list[Fit]:
    """`make` for a user's model that came with the jobs."""
    import cloudpickle

    with ONE_AT_A_TIME:
        import_module(f"compare.user_model.in_{library}")  # float64, before the model's own arrays are made
        function, exact, jobs = cloudpickle.loads(content)
        if not user_model.knows(name):
            user_model.register(function, library, exact, name)
    return make([replace(job, model=name) for job in jobs])


@contextmanager
def cluster(address: str) -> Iterator[Cluster]:
    """The cluster of the scheduler at an address, such as ``tcp://10.0.0.1:8786``.

    Raises:
        ValueError: Dask is not installed, or no scheduler answers there.
    """
    try:
        from dask.distributed import Client
    except ImportError:
        raise ValueError("--scheduler needs the extra cluster: pip install 'posterior-zoo[cluster]'") from None
    for name in ("distributed", "distributed.client"):  # what goes wrong is said by the fits that it befalls
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        client = Client(address, timeout=TIMEOUT, set_as_default=False)
    except Exception as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise ValueError(
            f"--scheduler {address}: no Dask scheduler answers ({reason}); start one with: dask scheduler"
        ) from None
    with client:
        if not client.scheduler_info(n_workers=-1)["workers"]:
            line = f"compare: the scheduler at {address} has no workers yet; start one with: dask worker {address}"
            print(line, file=sys.stderr)
        yield Cluster(client)
