"""Fits as tasks for other processes, repeated when a process dies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Future, as_completed
from dataclasses import replace
from functools import partial

from compare.comparison import Fit, Job
from compare.execute.processes import Workers
from compare.fit import run_each
from compare.messages import one_line

SMALL = 100
"""Up to this number of jobs, each job is a task of its own."""

TASKS_PER_SLOT = 16
"""Tasks a slot gets where there are more jobs: few share their overhead, many lose little when a worker dies."""

ATTEMPTS = 3
"""How often a fit is attempted whose process dies."""


def make_batches(jobs: Sequence[Job], n_slots: int) -> list[list[Job]]:
    """Group the jobs into tasks, each of one model and library."""
    size = 1 if len(jobs) <= SMALL else max(1, len(jobs) // (TASKS_PER_SLOT * n_slots))
    groups: dict[tuple[str, str | None], list[Job]] = {}
    for job in jobs:
        groups.setdefault((job.model, job.library), []).append(job)
    return [group[start : start + size] for group in groups.values() for start in range(0, len(group), size)]


def dispatch(jobs: Sequence[Job], helpers: Workers, save: Callable[[Fit], None]) -> Iterator[Fit]:
    """Submit all jobs at once, and yield each fit when it is done.

    ``save`` is called with each fit as soon as it arrives, even before it is asked for. A job whose process dies is
    repeated alone; after `ATTEMPTS` it is a failed fit.
    """
    batches: dict[Future, list[Job]] = {}
    for batch in make_batches(jobs, helpers.n_slots):
        future = submit(batch, helpers)
        batches[future] = batch
        future.add_done_callback(partial(save_batch, batch=batch, save=save))
    return collect(batches, helpers, save)


def submit(batch: Sequence[Job], helpers: Workers) -> Future:
    return helpers.libraries[batch[0].library or ""].submit(run_each, batch)


def save_batch(future: Future, batch: Sequence[Job], save: Callable[[Fit], None]) -> None:
    """Save a task's fits, if it succeeded."""
    if not future.cancelled() and future.exception() is None:
        for fit in attach_jobs(future.result(), batch):
            save(fit)


def attach_jobs(fits: Sequence[Fit], batch: Sequence[Job]) -> list[Fit]:
    """Give each fit its job, which a worker may have left out."""
    return [replace(fit, job=job) for fit, job in zip(fits, batch, strict=True)]


def collect(batches: dict[Future, list[Job]], helpers: Workers, save: Callable[[Fit], None]) -> Iterator[Fit]:
    """Yield the fits as they finish, and repeat those whose process died."""
    lost: list[Job] = []
    for future in as_completed(batches):
        try:
            yield from attach_jobs(future.result(), batches[future])
        except BrokenExecutor:
            lost += batches[future]
        except Exception as error:
            yield from (Fit(job, "failed", describe_loss(error)) for job in batches[future])
    for job in lost:
        fit = repeat(job, helpers)
        save(fit)
        yield fit


def repeat(job: Job, helpers: Workers) -> Fit:
    for _ in range(ATTEMPTS - 1):
        try:
            return attach_jobs(submit([job], helpers).result(), [job])[0]
        except BrokenExecutor:
            continue
    return Fit(job, "failed", f"its process ended unexpectedly, {ATTEMPTS} times")


def describe_loss(error: Exception) -> str:
    """Why a result did not come back, in one line."""
    if isinstance(error, CancelledError):
        return "it did not come back: the scheduler is gone"
    return f"it did not come back: {one_line(error)}"
