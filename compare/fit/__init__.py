"""The ways to get a posterior, and what each of them ends in.

A `Job` says what to fit; `run` finds the file that does it, by method and library, and returns a `Fit`; `run_many`
does so for many seeds or data sets at once. What crosses between libraries, processes and machines is a Job one way
and a Fit the other: NumPy and xarray only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from compare.comparison import Drawn, Fit, Job, TooSlow
from compare.fit.density import layout_of
from compare.fit.groups import with_groups
from compare.messages import one_line
from compare.summary import Status

WAYS = {
    "svi": ("svi.svi", "svi.objective"),
    "nuts": ("mcmc.nuts", "mcmc.nuts"),
    "reference": ("mcmc.reference", "mcmc.nuts"),
    "amortised": ("amortized.amortised", "amortized.amortised"),
    "training": ("amortized.amortised", "amortized.amortised"),
    "guide": ("svi.user_guide", "svi.user_guide"),
    "draws": ("draws", None),
    "exact": ("exact", None),
    "importance": ("exact", None),
    "coordinate_ascent": ("coordinate_ascent", None),
}
"""Each method's module, and how the names of the files begin that do for it what only a library can do."""

one_thread = partial(threadpool_limits, limits=1, user_api="blas")
"""NumPy's and SciPy's linear algebra in one thread: more would fight those of the library, and of the fits beside this
one, for the processors; and the last digits would depend on how many there are."""

beyond_numbers = partial(np.errstate, over="ignore", invalid="ignore")
"""Where a density vanishes or overflows the fit says so in its own words, without NumPy's warnings."""


def draw_many(jobs: Sequence[Job], count: int) -> list[Drawn | Exception]:
    """About ``count`` nearly independent draws of each job's posterior, vectorised over the data sets.

    The jobs differ in their data alone. What goes wrong with one of them stands in its place.
    """
    with one_thread():
        return maker(jobs[0], "draw_many")([traced(job) for job in jobs], count)


def run(job: Job) -> Fit:
    """Make one fit, its tree with all groups. What goes wrong inside it is reported in the fit, never raised."""
    if job.reason is not None:
        return Fit(job, "skipped", job.reason)
    (fit,) = timed([job], lambda jobs: [maker(jobs[0], "fit")(jobs[0])])
    if fit.tree is None:
        return fit
    with one_thread(), beyond_numbers():
        return replace(fit, tree=with_groups(fit.job, fit.tree))


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
        group = [jobs[number] for number in numbers]
        together = timed(group, lambda jobs: maker(jobs[0], "fit_many")(jobs)) if len(group) > 1 else [run(group[0])]
        fits |= dict(zip(numbers, together, strict=True))
    return [fits[number] for number in range(len(jobs))]


def timed(jobs: Sequence[Job], make: Callable[[Sequence[Job]], Sequence[Any]]) -> list[Fit]:
    """The fits that one call makes, each a tree and its gradient evaluations or an error.

    Raises:
        KeyboardInterrupt: Ctrl-C came while a library was calling back into Python, and it made an error of it.
    """
    start = time.perf_counter()
    try:
        jobs = [traced(job) for job in jobs]
        with one_thread(), beyond_numbers():
            results = make(jobs)
    except Exception as error:
        results = [error] * len(jobs)
    seconds, fits = (time.perf_counter() - start) / len(jobs), []
    for job, result in zip(jobs, results, strict=True):
        if not isinstance(result, Exception):
            fits.append(Fit(job, "done", None, seconds, result[1], result[0]))
            continue
        if "KeyboardInterrupt" in str(result):
            raise KeyboardInterrupt from result
        status: Status = "skipped" if isinstance(result, TooSlow) else "failed"
        fits.append(Fit(job, status, one_line(result, bare=True), seconds=seconds))
    return fits


def traced(job: Job) -> Job:
    """The job with its layout, which is found now where no plan has given it; a training needs none."""
    return job if job.layout or job.method == "training" else replace(job, layout=layout_of(job))


def maker(job: Job, function: str) -> Callable[..., Any]:
    """The method's function (``fit``, ``fit_many``, ``draw_many``), given the job's library."""
    module, library = WAYS[job.method]
    make = getattr(import_module(f"compare.fit.{module}"), function)
    return make if library is None else partial(make, import_module(f"compare.fit.{library}_{job.library}"))
