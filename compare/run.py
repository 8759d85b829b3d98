"""Runs a plan, here or on a cluster, and keeps what it made."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from compare.fits import Fit, Job, run
from compare.fits.options import Options
from compare.plan import plan
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
    fits: dict[str, Fit] = {}
    with executors({job.library for job in jobs if job.library and not job.reason}, cluster) as pools:
        futures: dict[Future, Job] = {}
        for job in jobs:
            if job.library and not job.reason:
                futures[pools[job.library].submit(run, job)] = job
        from compare.measures import measure  # imported while the fits are on their way
        from compare.verdict import judge

        exact = model.exact(data)
        wanted = {job.guide for job in jobs if job.guide} | {
            updates.family for updates in model.coordinate_ascent(data).values()
        }
        best = {family: model.best(data, family) for family in sorted(wanted)}
        for job in jobs:
            if not job.library or job.reason:
                fits[job.name] = run(job)
                progress(f"{job.name}: {fits[job.name].status}")
        for future in as_completed(futures):
            fit = future.result()
            fits[fit.job.name] = fit
            progress(f"{fit.job.name}: {fit.status}")
    comparison = Comparison(model, data, seed, exact, best, {job.name: fits[job.name] for job in jobs}, options)
    family_gaps = {name: exact.log_evidence - one.elbo for name, one in best.items() if one is not None}
    updates = model.coordinate_ascent(data)
    summaries = {}
    for name, fit in comparison.fits.items():
        family = fit.job.guide or (updates[name].family if name in updates else None)
        try:
            measured = measure(fit, exact, best.get(family) if family else None)
        except Exception as error:  # numbers that cannot be measured must not cost the other fits theirs
            fit = comparison.fits[name] = replace(fit, status="failed", reason=f"not measured: {error}", tree=None)
            measured = measure(fit, exact, None)
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


def notes(data: Any, jobs: Sequence[Job]) -> list[str]:
    """What a reader should know about the plan as a whole."""
    size = sum(int(_product(shape)) for shape in data.shapes().values())
    gaussian = [name for name in ("mean_field", "full_rank", "markov") if any(job.guide == name for job in jobs)]
    if size == 1 and len(gaussian) > 1:
        return [
            f"On one latent {' and '.join(gaussian)} are the same family: one Gaussian on the unconstrained latent."
        ]
    return []


def _product(shape: tuple[int, ...]) -> int:
    total = 1
    for length in shape:
        total *= length
    return total


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
def executors(libraries: set[str], cluster: str | None) -> Iterator[dict[str, Executor]]:
    """One executor a library: a fresh process each, so that neither waits for the other to be imported."""
    if cluster:
        from dask.distributed import Client

        with Client(cluster) as client:
            yield dict.fromkeys(libraries, client.get_executor())
        return
    context = multiprocessing.get_context("spawn")
    pools = {
        library: ProcessPoolExecutor(1, mp_context=context, initializer=_ignore_interrupts)
        for library in sorted(libraries)
    }
    try:
        yield pools
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        for pool in pools.values():
            pool.shutdown(wait=False, cancel_futures=True)


def _ignore_interrupts() -> None:
    """Ctrl-C is the parent's to handle; it ends its children."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
