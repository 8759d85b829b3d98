"""The ways to get a posterior, and what each of them ends in.

A `Job` says what to fit; `run` finds the file that does it, by method and library, and returns a `Fit`; `run_many`
does so for many seeds or data sets at once. What crosses between libraries, processes and machines is a Job one way
and a Fit the other: NumPy and xarray only.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

import xarray as xr

from compare.comparison import Drawn, Fit, Job
from compare.fit.threads import one_thread

__all__ = ["draw_many", "fit_seed", "run", "run_each", "run_many"]

PACKAGES = {"svi": "svi", "nuts": "mcmc", "reference": "mcmc", "amortised": "amortized", "training": "amortized"}
"""Where the files of a method stand; the others' stand here."""


def draw_many(jobs: Sequence[Job], count: int) -> list[Drawn | Exception]:
    """About ``count`` nearly independent draws of each job's posterior, vectorised over the data sets.

    The jobs differ in their data alone. What goes wrong with one of them stands in its place.
    """
    with one_thread():
        return maker(jobs[0]).draw_many(jobs, count)


def run(job: Job) -> Fit:
    """Make one fit. What goes wrong inside it is reported in the fit, never raised."""
    if job.reason is not None:
        return Fit(job, "skipped", job.reason)
    start = time.perf_counter()
    try:
        fit = maker(job).fit
        with one_thread():
            made = fit(job)
    except Exception as error:
        made = error
    return ended(job, made, time.perf_counter() - start)


def run_each(jobs: Sequence[Job]) -> list[Fit]:
    """Make fits one by one: a task for someone else."""
    return [run(job) for job in jobs]


def run_many(jobs: Sequence[Job]) -> list[Fit]:
    """Make many fits: those of one model, library and guide in one vectorised call, the others one by one.

    Data of the same shape can share a call; so can seeds. The seconds of a call are divided among its fits, and the
    budget is that of the call.
    """
    groups: dict[tuple, list[int]] = {}
    for number, job in enumerate(jobs):
        alone = job.reason is not None or job.method != "svi"
        groups.setdefault((number,) if alone else (job.model, job.library, job.guide, job.options), []).append(number)
    fits: dict[int, Fit] = {}
    for numbers in groups.values():
        if len(numbers) == 1:
            fits[numbers[0]] = run(jobs[numbers[0]])
            continue
        group = [jobs[number] for number in numbers]
        start = time.perf_counter()
        try:
            fit_many = maker(group[0]).fit_many
            with one_thread():
                made = fit_many(group)
        except Exception as error:
            made = [error] * len(group)
        seconds = (time.perf_counter() - start) / len(group)
        fits |= {number: ended(jobs[number], one, seconds) for number, one in zip(numbers, made, strict=True)}
    return [fits[number] for number in range(len(jobs))]


def maker(job: Job) -> ModuleType:
    """The file that makes such fits."""
    place = f"{PACKAGES[job.method]}.{job.method}" if job.method in PACKAGES else job.method
    return import_module(f"compare.fit.{place}" if job.library is None else f"compare.fit.{place}_{job.library}")


def ended(job: Job, made: tuple[xr.DataTree, int] | Exception, seconds: float) -> Fit:
    """What was made, or what went wrong, as a fit.

    Raises:
        KeyboardInterrupt: Ctrl-C came while a library was calling back into Python, and it made an error of it.
    """
    if isinstance(made, Exception):
        if "KeyboardInterrupt" in str(made):
            raise KeyboardInterrupt from made
        line = " ".join(str(made).split()) or type(made).__name__
        return Fit(job, "failed", line[:300], seconds=seconds)
    return Fit(job, "done", None, seconds, made[1], made[0])


def fit_seed(job: Job) -> int:
    """The fit's own seed: from the comparison's seed and the fit's name, so that no two fits share their draws."""
    return zlib.crc32(f"{job.seed} {job.name}".encode())
