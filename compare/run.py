"""Runs a plan, here or on a cluster, and keeps what it made."""

from __future__ import annotations

import math
import multiprocessing
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from compare.fits import Fit, Job, run
from compare.fits.options import Options
from compare.measures import measure
from compare.plan import plan
from compare.verdict import judge
from models.contract import Best, Exact, Model

__all__ = ["Comparison", "compare"]

PACKAGES = ("numpyro", "jax", "pyro-ppl", "torch", "arviz_stats", "arviz_plots", "numpy", "scipy", "xarray")


@dataclass
class Comparison:
    """A model, its data, the truth, and every fit measured against it."""

    model: Model
    data: Any
    seed: int
    exact: Exact
    best: dict[str, Best | None]
    fits: dict[str, Fit]
    options: Options
    summary: dict[str, Any] = field(default_factory=dict)


def compare(
    model: Model,
    data: Any,
    libraries: Sequence[str] = ("numpyro", "pyro"),
    families: Sequence[str] | None = None,
    nuts: bool = True,
    options: Options | None = None,
    seed: int = 0,
    cluster: str | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Comparison:
    """Make every fit of the plan and measure it. A fit that fails is in the result as failed.

    ``cluster`` is the address of a Dask scheduler; without it each library works in one process here.
    """
    options = options or Options()
    start = time.perf_counter()
    jobs = plan(model, data, libraries, families, nuts, options, seed)
    fits = make(jobs, cluster, progress)
    exact = model.exact(data)
    updates = model.coordinate_ascent(data)
    family_of = {job.name: updates[job.name].family if job.name in updates else job.guide for job in jobs}
    best = {family: model.best(data, family) for family in sorted({name for name in family_of.values() if name})}
    comparison = Comparison(model, data, seed, exact, best, fits, options)
    family_gaps = {name: exact.log_evidence - one.elbo for name, one in best.items() if one is not None}
    summaries = {}
    for name in fits:
        measured = measured_or_failed(fits, name, exact, best.get(family_of[name]))
        measured["verdict"] = judge(measured, options, family_gaps)
        summaries[name] = measured
    comparison.summary = {
        "schema": 1,
        "model": model.name,
        "seed": seed,
        "data": data.describe(),
        "versions": versions(),
        "log_evidence": {"value": exact.log_evidence, "mcse": 0.0, "method": exact.method},
        "fits": summaries,
        "text": [
            {"claim": claim.claim, "truth": claim.truth, "agrees": bool(claim.agrees)} for claim in model.claims(data)
        ],
        "facts": exact.facts(),
        "notes": notes(data, jobs),
        "seconds": time.perf_counter() - start,
    }
    return comparison


def make(jobs: Sequence[Job], cluster: str | None, progress: Callable[[str], None]) -> dict[str, Fit]:
    """Make every fit, in the order of the jobs.

    The first library works in this process and each other one in a process of its own, so that neither waits for
    the other to be imported, and what all need is not imported once more than it must be.
    """
    fits: dict[str, Fit] = {}

    def keep(fit: Fit) -> None:
        fits[fit.job.name] = fit
        progress(f"{len(fits)} of {len(jobs)}: {fit.job.name} {fit.status}")

    wanted = [job for job in jobs if job.reason is None and job.library]
    libraries = list(dict.fromkeys(job.library for job in wanted))
    elsewhere = libraries if cluster else libraries[1:]
    with executors(elsewhere, cluster) as pools:
        futures = {pools[job.library].submit(run, job): job for job in wanted if job.library in elsewhere}
        for future in list(futures)[-1:]:
            future.add_done_callback(prepare_report)
        for job in jobs:
            if job not in futures.values():
                keep(run(job))
        for future in as_completed(futures):
            try:
                keep(future.result())
            except BrokenExecutor:
                keep(Fit(futures[future], "failed", "its process ended unexpectedly"))
    return {job.name: fits[job.name] for job in jobs}


def prepare_report(_: Future) -> None:
    """Import what the report needs while a processor has nothing better to do."""
    import compare.report.plots  # noqa: F401


def measured_or_failed(fits: dict[str, Fit], name: str, exact: Exact, best: Best | None) -> dict[str, Any]:
    """The fit's measures. Numbers that cannot be measured make it a failed fit, and cost no other fit theirs."""
    try:
        return measure(fits[name], exact, best)
    except Exception as error:
        fits[name] = replace(fits[name], status="failed", reason=f"it could not be measured: {error}", tree=None)
        return measure(fits[name], exact, None)


def notes(data: Any, jobs: Sequence[Job]) -> list[str]:
    """What a reader should know about the plan as a whole."""
    size = sum(math.prod(shape) for shape in data.shapes().values())
    gaussian = [name for name in ("mean_field", "full_rank", "markov") if any(job.guide == name for job in jobs)]
    if size == 1 and len(gaussian) > 1:
        return [f"On one latent {' and '.join(gaussian)} are the same family: one Gaussian on the unconstrained latent"]
    return []


def versions() -> dict[str, str]:
    """The versions of the packages that made the numbers; those that are installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@contextmanager
def executors(libraries: Sequence[str], cluster: str | None) -> Iterator[dict[str, Executor]]:
    """One executor a library: a fresh process each, so that neither waits for the other to be imported."""
    if cluster:
        try:
            from dask.distributed import Client
        except ImportError:
            raise ValueError("--cluster needs the extra cluster: pip install 'posterior-zoo[cluster]'") from None
        with Client(cluster) as client:
            yield dict.fromkeys(libraries, client.get_executor())
        return
    # A forked process has what this one has imported. Not where a library already runs threads: that may deadlock.
    forkable = sys.platform == "linux" and not {"jax", "torch"} & set(sys.modules)
    context = multiprocessing.get_context("fork" if forkable else "spawn")
    pools = {
        library: ProcessPoolExecutor(1, mp_context=context, initializer=_ignore_interrupts) for library in libraries
    }
    try:
        yield pools
    except BaseException:
        for process in multiprocessing.active_children():
            process.kill()
        for pool in pools.values():
            pool.shutdown(wait=False, cancel_futures=True)
        raise
    for pool in pools.values():
        pool.shutdown()


def _ignore_interrupts() -> None:
    """Ctrl-C is the parent's to handle; it ends its children."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
