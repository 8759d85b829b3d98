"""Simulation-based calibration: is a fit right on average over data that the model itself generates?

    python -m compare coin --calibrate 1000

Latents are drawn from the prior and a data set from each; every fit of the comparison is made on every data set, and
the true values are ranked among its draws (`compare.calibration.ranks`). The exact posterior and NUTS must pass. An
approximation may fail, and then the ranks say how: too narrow, too wide, off.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from compare.cache.keys import versions
from compare.calibration.judge import FAMILYWISE, judge, measure
from compare.calibration.ranks import LEVELS, Ranked, find_quantities, rank
from compare.comparison import Job, Request
from compare.execute.dispatch import describe_loss
from compare.execute.processes import Workers
from compare.execute.progress import Progress, silent
from compare.messages import one_line
from compare.pipeline import PACKAGES, make_fits, with_network
from compare.plan import family_of, plan, trainings
from compare.registry import first_installed
from compare.summary import Verdict, to_json
from compare.user_model import trace
from models.contract import Simulated

__all__ = ["LEAST", "Calibration", "calibrate"]

LEAST = 50
"""Data sets below which the ranks say next to nothing."""


@dataclass(frozen=True)
class Calibration:
    """A calibration.

    Attributes:
        request: The request, with the data whose size and constants all data sets share.
        ranks: The ranks of the fits that succeeded, by name.
        quantities: The names of the quantities that are ranked.
        summary: What ``calibration.json`` holds.
    """

    request: Request
    ranks: Mapping[str, Ranked]
    quantities: list[str]
    summary: dict[str, Any]

    @property
    def trees(self) -> dict[str, xr.DataTree]:
        """The ranks of each fit in ArviZ's form: group ``prior_sbc``, a variable a quantity, one draw a data set."""
        return {name: self.tree_of(ranked) for name, ranked in self.ranks.items()}

    def tree_of(self, ranked: Ranked) -> xr.DataTree:
        coordinates = {"chain": [0], "draw": ranked.sets}
        columns = {
            name: (("chain", "draw"), pit[None]) for name, pit in zip(self.quantities, ranked.pit.T, strict=True)
        }
        return xr.DataTree.from_dict({"prior_sbc": xr.Dataset(columns, coordinates)})


class Outcome(NamedTuple):
    """The ranks of a fit, or why there are none, and the seconds it took; all None for a skipped fit."""

    ranked: Ranked | None = None
    error: str | None = None
    seconds: float | None = None


def calibrate(
    request: Request,
    count: int = 1000,
    helpers: Workers | None = None,
    progress: Progress = silent,
) -> Calibration:
    """Calibrate every fit of a request over ``count`` data sets drawn from the prior.

    Raises:
        ValueError: the model cannot draw data, or the data sets are too few.
    """
    if count < LEAST:
        raise ValueError(f"calibration over {count} data sets says next to nothing: give {LEAST} data sets or more")
    model, helpers, start = request.model, helpers or Workers(), time.perf_counter()
    if model.simulate is None:
        raise ValueError(f"--calibrate: {model.name} has no way to draw data from its prior")
    data = train_network(request, helpers, progress)
    request = replace(request, data=data, draws=False)  # draws that a user brought are of other data
    simulated = model.simulate(data, np.random.default_rng([request.seed, 7]), count)
    is_known = model.exact(simulated.data[0]) is not None
    jobs = [job for job in plan(request) if job.method not in ("exact", "reference") or is_known]
    outcomes = rank_all(jobs, simulated, helpers, progress)
    layout = trace(model.name, simulated.data[0], first_installed(request.libraries))
    quantities = find_quantities(layout, simulated.plate)
    exact = outcomes.get("exact", Outcome()).ranked
    summary = {
        "schema": 1,
        "model": model.name,
        "seed": request.seed,
        "data": data.describe(),
        "data_sets": count,
        "band": 1 - FAMILYWISE,
        "quantities": quantities,
        "versions": versions(PACKAGES),
        "fits": {
            job.name: summarise(job, outcomes.get(job.name, Outcome()), quantities, exact, theory(request, job))
            for job in jobs
        },
        "seconds": time.perf_counter() - start,
    }
    ranks = {name: outcome.ranked for name, outcome in outcomes.items() if outcome.ranked}
    return Calibration(request, ranks, quantities, summary)


def train_network(request: Request, helpers: Workers, progress: Progress) -> Any:
    """The data with a trained network, where the model has one that is not given."""
    first = replace(request, libraries=request.libraries[:1], guides=request.guides[:1])
    return with_network(request.model, request.data, make_fits(trainings(first), helpers, progress))


def rank_all(jobs: Sequence[Job], simulated: Simulated, helpers: Workers, progress: Progress) -> dict[str, Outcome]:
    """The outcome of each job that is not skipped."""
    todo = [job for job in jobs if job.reason is None]
    futures: dict[str, Future] = {}
    for job in todo:
        if job.library in helpers.libraries and not job.is_brought:
            futures[job.name] = helpers.libraries[job.library].submit(try_rank, job, simulated)
    outcomes: dict[str, Outcome] = {}
    for job in sorted(todo, key=lambda job: job.name in futures):  # this process's first
        try:
            if job.name in futures:
                outcomes[job.name] = futures[job.name].result()
            else:
                outcomes[job.name] = try_rank(job, simulated)
        except Exception as error:  # a helper that died
            outcomes[job.name] = Outcome(error=describe_loss(error), seconds=0.0)
        progress(f"{len(outcomes)} of {len(todo)}: {job.name}")
    return outcomes


def try_rank(job: Job, simulated: Simulated) -> Outcome:
    """The outcome of one job: a task for a helper."""
    start = time.perf_counter()
    try:
        ranked = rank(job, simulated, with_draws=job.method == "exact")
    except Exception as error:
        return Outcome(error=one_line(error, bare=True), seconds=time.perf_counter() - start)
    return Outcome(ranked, seconds=time.perf_counter() - start)


def theory(request: Request, job: Job) -> dict[float, Mapping[str, float]]:
    """What a formula says of the coverage of each level's intervals, by quantity."""
    coverage, family = request.model.coverage, family_of(request.model, request.data, job)
    if coverage is None or family is None:
        return {}
    return {level: coverage(request.data, family, level) or {} for level in LEVELS}


def summarise(
    job: Job,
    outcome: Outcome,
    quantities: list[str],
    exact: Ranked | None,
    theory: Mapping[float, Mapping[str, float]],
) -> dict[str, Any]:
    """One fit's part of the JSON; what is not known is null."""
    ranked = outcome.ranked
    status = "done" if ranked else "skipped" if job.reason is not None else "failed"
    reason = outcome.error if job.reason is None else job.reason
    measured = measure(ranked, quantities, exact, theory) if ranked else None
    if ranked and measured:
        verdict = judge(measured, ranked)
    else:
        began = "Skipped" if status == "skipped" else "It failed"
        verdict = Verdict(status, f"{began}: {reason}.")
    return {
        "library": job.library,
        "guide": job.guide,
        "method": job.method,
        "status": status,
        "reason": reason,
        "seconds": outcome.seconds,
        "data_sets": len(ranked.pit) if ranked else 0,
        "failed": len(ranked.failed) if ranked else None,
        "converged": ranked.converged if ranked else None,
        "diagnostics": {name: getattr(ranked, name, None) for name in ("r_hat", "ess", "divergences")},
        "quantities": measured,
        "verdict": to_json(verdict),
    }
