"""Fits as tasks for others: who gets which, and what happens when one of them dies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Future, as_completed
from dataclasses import replace

from compare.comparison import Fit, Job
from compare.execute.processes import Workers
from compare.fit import run_each

__all__ = ["SMALL", "TRIES", "batches", "spread"]

SMALL = 100
"""Jobs up to which each is a task of its own."""

TURNS = 16
"""Tasks that each helper gets of more jobs than that: so few that a task's cost is shared by many fits, and so many
that the last to finish is not waited for long, and little is lost with a worker that dies."""

TRIES = 3
"""How often a fit is tried whose process dies."""


def batches(jobs: Sequence[Job], n_slots: int) -> list[list[Job]]:
    """The jobs in tasks, each of one model and library."""
    size = 1 if len(jobs) <= SMALL else max(1, len(jobs) // (TURNS * n_slots))
    alike: dict[tuple[str, str | None], list[Job]] = {}
    for job in jobs:
        alike.setdefault((job.model, job.library), []).append(job)
    return [group[begin : begin + size] for group in alike.values() for begin in range(0, len(group), size)]


def spread(jobs: Sequence[Job], helpers: Workers, save: Callable[[Fit], None]) -> Iterator[Fit]:
    """Hand the jobs out now; yield each fit once, as they are done.

    ``save`` is called with each fit as soon as it is here, whether or not anyone has asked for it yet. What is lost
    with a process that dies is tried again by itself, and in the end is a failed fit.
    """
    waiting: dict[Future, list[Job]] = {}
    for batch in batches(jobs, helpers.n_slots):
        future = helpers.libraries[batch[0].library].submit(run_each, batch)
        waiting[future] = batch
        future.add_done_callback(lambda future, batch=batch: arrived(future, batch, save))
    return gather(waiting, helpers, save)


def arrived(future: Future, batch: Sequence[Job], save: Callable[[Fit], None]) -> None:
    """Save what came back, if anything did."""
    if not future.cancelled() and future.exception() is None:
        for fit in with_jobs(future.result(), batch):
            save(fit)


def with_jobs(fits: Sequence[Fit], batch: Sequence[Job]) -> Sequence[Fit]:
    """The fits of a batch, each with its own job, which may have been left behind where it was made."""
    return [replace(fit, job=job) for fit, job in zip(fits, batch, strict=True)]


def gather(waiting: dict[Future, list[Job]], helpers: Workers, save: Callable[[Fit], None]) -> Iterator[Fit]:
    """The fits as they are done, those that were lost last."""
    lost: list[Job] = []
    for future in as_completed(waiting):
        batch = waiting[future]
        try:
            yield from with_jobs(future.result(), batch)
        except BrokenExecutor:
            lost += batch
        except Exception as error:
            yield from (Fit(job, "failed", because(error)) for job in batch)
    for job in lost:
        fit = again(job, helpers)
        save(fit)
        yield fit


def again(job: Job, helpers: Workers) -> Fit:
    """A fit that was lost with its process, or with another's, alone in a new one."""
    for _ in range(TRIES - 1):
        try:
            (fit,) = with_jobs(helpers.libraries[job.library].submit(run_each, [job]).result(), [job])
            return fit
        except BrokenExecutor:
            continue
    return Fit(job, "failed", f"its process ended unexpectedly, {TRIES} times")


def because(error: Exception) -> str:
    """Why a fit did not come back, in one line."""
    if isinstance(error, CancelledError):
        return "it did not come back: the scheduler is gone"
    return f"it did not come back: {type(error).__name__}: {' '.join(str(error).split())}"[:300]
