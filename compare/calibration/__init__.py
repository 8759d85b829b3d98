"""Simulation-based calibration: is a way to get a posterior right on average over data that the model itself makes?

    python -m compare coin --calibrate 1000

Latents are drawn from the prior and a data set from each; every fit of the comparison is made on every data set, and
the true values are ranked among its draws (`compare.calibration.ranks`). The exact posterior and NUTS must pass. An
approximation may fail, and then the ranks say how: too narrow, too wide, off.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from compare.cache.keys import versions
from compare.calibration.judge import FAMILYWISE, judge, measure
from compare.calibration.ranks import LEVELS, Ranked, has_likelihood, names, ranked
from compare.comparison import Job, Request
from compare.execute.processes import Workers
from compare.options import Options
from compare.pipeline import PACKAGES, make_fits, with_network
from compare.plan import family_of, plan, trainings
from models.contract import Model, Simulated

__all__ = ["LEAST", "Calibration", "calibrate"]

LEAST = 50
"""Data sets below which the ranks say next to nothing."""


@dataclass(frozen=True)
class Calibration:
    """Many data sets, and what each way to get a posterior says of them.

    ``ranks`` holds those that were done, ``jobs`` all of the plan; ``summary`` is what is written as JSON.
    """

    model: Model
    data: Any
    seed: int
    count: int
    jobs: dict[str, Job]
    ranks: dict[str, Ranked]
    names: list[str]
    summary: dict[str, Any] = field(default_factory=dict)


def calibrate(
    model: Model,
    data: Any,
    libraries: Sequence[str] = ("numpyro", "pyro"),
    families: Sequence[str] | None = None,
    nuts: bool = True,
    options: Options | None = None,
    seed: int = 0,
    count: int = 1000,
    helpers: Workers | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Calibration:
    """Calibrate every fit of the plan over ``count`` data sets drawn from the prior; one that fails is reported so.

    Raises:
        ValueError: the model cannot draw data, or the data sets are too few.
    """
    if count < LEAST:
        raise ValueError(f"--calibrate {count}: give {LEAST} data sets or more")
    if model.simulate is None:
        raise ValueError(f"--calibrate: {model.name} has no way to draw data from its prior")
    helpers, start = helpers or Workers(), time.perf_counter()
    request = Request(model, data, libraries, families, nuts, options, seed)
    first = replace(request, libraries=request.libraries[:1], guides=request.guides[:1])
    data = with_network(model, data, make_fits(trainings(first), helpers, progress))
    simulated = model.simulate(data, np.random.default_rng([seed, 7]), count)
    jobs = plan(replace(request, data=data))
    jobs = [
        job for job in jobs if job.method != "reference" and (job.method != "exact" or model.exact(data) is not None)
    ]
    likelihood = has_likelihood(model, simulated)
    quantities = names(simulated.data[0], simulated.plate, likelihood)
    done = rank_all(jobs, simulated, likelihood, helpers, progress)
    exact = done.get("exact", (None, 0.0))[0]
    summaries: dict[str, dict[str, Any]] = {}
    for job in jobs:
        found, seconds = done.get(job.name, (None, None))
        theory = {level: coverage(model, data, job, level) for level in LEVELS}
        summaries[job.name] = summary(job, found, seconds, quantities, exact, theory)
    calibration = Calibration(
        model,
        data,
        seed,
        count,
        {job.name: job for job in jobs},
        {name: found for name, (found, _) in done.items() if isinstance(found, Ranked)},
        quantities,
    )
    calibration.summary.update(
        {
            "schema": 1,
            "model": model.name,
            "seed": seed,
            "data": data.describe(),
            "data_sets": count,
            "band": 1 - FAMILYWISE,
            "quantities": quantities,
            "versions": versions(PACKAGES),
            "fits": summaries,
            "seconds": time.perf_counter() - start,
        }
    )
    return calibration


def rank_all(
    jobs: Sequence[Job], simulated: Simulated, likelihood: bool, helpers: Workers, progress: Callable[[str], None]
) -> dict[str, tuple[Ranked | str, float]]:
    """The ranks of each job, or why there are none, and the seconds it took; those that are skipped are left out."""
    asked: dict[str, Future] = {}
    todo = [job for job in jobs if job.reason is None]
    for job in todo:
        if job.library in helpers.libraries:
            asked[job.name] = helpers.libraries[job.library].submit(timed, job, simulated, likelihood)
    done: dict[str, tuple[Ranked | str, float]] = {}
    for job in [*(one for one in todo if one.name not in asked), *(one for one in todo if one.name in asked)]:
        try:
            done[job.name] = asked[job.name].result() if job.name in asked else timed(job, simulated, likelihood)
        except Exception as error:  # a helper that died
            done[job.name] = (
                f"it did not come back: {type(error).__name__}: {' '.join(str(error).split())}"[:300],
                0.0,
            )
        progress(f"{len(done)} of {len(todo)}: {job.name}")
    return done


def timed(job: Job, simulated: Simulated, likelihood: bool) -> tuple[Ranked | str, float]:
    """The ranks of one job or why there are none, and the seconds it took: a task for someone else."""
    start = time.perf_counter()
    try:
        found: Ranked | str = ranked(job, simulated, likelihood, keep=job.method == "exact")
    except Exception as error:
        found = (" ".join(str(error).split()) or type(error).__name__)[:300]
    return found, time.perf_counter() - start


def coverage(model: Model, data: Any, job: Job, level: float) -> dict[str, float]:
    """By theory, how often the fit's central intervals hold the true value, by element; empty where none is known."""
    family = family_of(model, data, job)
    return (model.coverage(data, family, level) if model.coverage and family else None) or {}


def summary(
    job: Job,
    found: Ranked | str | None,
    seconds: float | None,
    quantities: list[str],
    exact: Ranked | str | None,
    theory: Mapping[float, Mapping[str, float]],
) -> dict[str, Any]:
    """One fit's part of the JSON: every key, null where nothing is known."""
    done = isinstance(found, Ranked)
    reason = None if done else job.reason if job.reason is not None else found
    status = "done" if done else "skipped" if job.reason is not None else "failed"
    measured = measure(found, quantities, exact if isinstance(exact, Ranked) else None, theory) if done else None
    began = {"skipped": "Not attempted", "failed": "It failed"}
    verdict = judge(measured, found) if done else {"word": status, "sentence": f"{began[status]}: {reason}."}
    return {
        "library": job.library,
        "guide": job.guide,
        "method": job.method,
        "status": status,
        "reason": reason,
        "seconds": seconds,
        "data_sets": len(found.pit) if done else 0,
        "failed": len(found.failed) if done else None,
        "converged": found.converged if done else None,
        "diagnostics": {name: getattr(found, name) if done else None for name in ("r_hat", "ess", "divergences")},
        "quantities": measured,
        "verdict": verdict,
    }
