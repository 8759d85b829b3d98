"""A Dask cluster as an executor for the fits.

When a worker dies Dask repeats its tasks on another one, up to ``distributed.scheduler.allowed-failures`` times.
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
from compare.cache.keys import user_sources
from compare.comparison import Fit, Job
from compare.fit import run_each
from compare.messages import one_line

TIMEOUT = 5.0
"""Seconds within which a scheduler must answer."""

ONE_AT_A_TIME = threading.Lock()
"""A worker may have several threads, but neither library is safe to use from two at once."""


class Cluster(Executor):
    """The workers of a Dask client."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.executor = client.get_executor(pure=False)

    @property
    def n_slots(self) -> int:
        return max(1, len(self.client.scheduler_info(n_workers=-1)["workers"]))

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **keywords: Any) -> Future:
        """Call a function on a worker; the fits of `run_each` come back without their jobs."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sending large graph")  # data travel with their tasks
            if function is run_each:
                (jobs,) = arguments
                return self.executor.submit(*task(jobs), **keywords)
            return self.executor.submit(run_alone, function, *arguments, **keywords)


def task(jobs: Sequence[Job]) -> tuple[Any, ...]:
    if user_model.knows(jobs[0].model):
        return (run_user_jobs, *pickle_by_value(jobs))
    return run_jobs, list(jobs)


def run_alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function while no other thread of this worker does."""
    with ONE_AT_A_TIME:
        return function(*arguments)


def run_jobs(jobs: Sequence[Job]) -> list[Fit]:
    """Run jobs on a worker; the fits leave out their jobs, which the sender has."""
    return [replace(fit, job=None) for fit in run_alone(run_each, jobs)]


def pickle_by_value(jobs: Sequence[Job]) -> tuple[str, str, bytes]:
    """Pickle jobs on a user's model together with its code, which the workers do not have.

    Returns:
        A name unique to this model, its library, and the pickle.
    """
    import cloudpickle

    user = user_model.find(jobs[0].model)
    modules = [sys.modules[name] for name in user_sources(user.function)]
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        model = cloudpickle.dumps((user.function, user.exact))
        content = cloudpickle.dumps((user.function, user.exact, list(jobs)))
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)
    return f"own-{hashlib.sha256(model).hexdigest()}", user.library, content


def run_user_jobs(name: str, library: str, content: bytes) -> list[Fit]:
    """`run_jobs` for a user's model whose code came with the jobs."""
    import cloudpickle

    with ONE_AT_A_TIME:
        import_module(f"compare.user_model.in_{library}")  # sets float64 before the model's own arrays are made
        function, exact, jobs = cloudpickle.loads(content)
        if not user_model.knows(name):
            user_model.register(function, library, exact, name)
    return run_jobs([replace(job, model=name) for job in jobs])


@contextmanager
def cluster(address: str) -> Iterator[Cluster]:
    """Connect to the scheduler at an address, such as ``tcp://10.0.0.1:8786``.

    Raises:
        ValueError: Dask is not installed, or no scheduler answers there.
    """
    try:
        from dask.distributed import Client
    except ImportError:
        raise ValueError("--scheduler needs the extra cluster: pip install 'posterior-zoo[cluster]'") from None
    for name in ("distributed", "distributed.client"):  # the fits that are lost report the errors
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        client = Client(address, timeout=TIMEOUT, set_as_default=False)
    except Exception as error:
        raise ValueError(
            f"--scheduler {address}: no Dask scheduler answers ({one_line(error)}); start one with: dask scheduler"
        ) from None
    with client:
        if not client.scheduler_info(n_workers=-1)["workers"]:
            line = f"compare: the scheduler at {address} has no workers yet; start one with: dask worker {address}"
            print(line, file=sys.stderr)
        yield Cluster(client)
