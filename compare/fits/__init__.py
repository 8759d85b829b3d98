"""The ways to get a posterior, and what each of them ends in.

A `Job` says what to fit; `run` finds the file that does it, by method and library, and returns a `Fit`. What
crosses between libraries, processes and machines is a Job one way and a Fit the other: NumPy and xarray only.
"""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import xarray as xr

__all__ = ["Fit", "Job", "fit_seed", "run"]


@dataclass(frozen=True)
class Job:
    """One fit to be made.

    ``method`` is ``svi``, ``nuts``, ``exact`` or ``coordinate_ascent``; ``library`` and ``guide`` are None where the
    method has none. ``reason`` says why the fit is skipped, None if it is not.
    """

    name: str
    model: str
    data: Any
    method: str
    library: str | None = None
    guide: str | None = None
    seed: int = 0
    options: Any = None
    reason: str | None = None


@dataclass
class Fit:
    """A posterior in ArviZ's schema, and what it cost.

    ``tree`` has the groups ``posterior``, ``sample_stats`` (``log_joint``, ``log_prior``, and ``log_guide`` where there
    is a guide), ``observed_data``, and ``optimisation`` where something was optimised: ``elbo`` and ``elbo_mcse`` over
    dimension ``step``, and in its attributes where it ended: ``elbo``, ``elbo_mcse``, ``gap``, ``gap_mcse``,
    ``tolerance``, ``converged``, ``reason``. It is None unless ``status`` is ``done``. ``gradients`` counts gradient
    evaluations of the log joint.
    """

    job: Job
    status: str
    reason: str | None = None
    seconds: float | None = None
    gradients: int | None = None
    tree: xr.DataTree | None = field(default=None, repr=False)


def run(job: Job) -> Fit:
    """Make one fit. What goes wrong inside it is reported in the fit, never raised."""
    if job.reason is not None:
        return Fit(job, "skipped", job.reason)
    name = job.method if job.library is None else f"{job.method}_{job.library}"
    start = time.perf_counter()
    try:
        tree, gradients = import_module(f"compare.fits.{name}").fit(job)
    except Exception as error:
        line = " ".join(str(error).split()) or type(error).__name__
        return Fit(job, "failed", line[:300], seconds=time.perf_counter() - start)
    return Fit(job, "done", None, time.perf_counter() - start, gradients, tree)


def fit_seed(job: Job) -> int:
    """The fit's own seed: from the comparison's seed and the fit's name, so that no two fits share their draws."""
    return zlib.crc32(f"{job.seed} {job.name}".encode())
