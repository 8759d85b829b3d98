"""Ranks of the true values among a posterior's draws, data set by data set.

If latents are drawn from the prior and data from them, the rank of the true value among independent draws from the
exact posterior is uniform (Talts et al. 2018, Validating Bayesian inference algorithms with simulation-based
calibration, theorem 1). So is that of any quantity of latents and data; the log likelihood is one that also notices a
posterior that ignores the data (Modrak et al. 2023, Simulation-based calibration checking for Bayesian
computation: the choice of test quantities shapes sensitivity).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from compare import registry, user_model
from compare.comparison import Drawn, Job, Layout
from compare.fit import draw_many
from compare.fit.density import derive, log_densities
from models.contract import Latents, Simulated

__all__ = ["ENDS", "LEVELS", "LIKELIHOOD", "Ranked", "find_quantities", "pits", "rank"]

LEVELS = (0.5, 0.8, 0.95)
"""The central intervals whose coverage is counted."""

ENDS = tuple(sorted((1 + sign * level) / 2 for level in LEVELS for sign in (-1, 1)))
"""The probabilities of the quantiles at which they end."""

LIKELIHOOD = "log likelihood"
"""The quantity that depends on latents and data."""

N_DRAWS, N_THINNED = 1000, 100
"""Draws a data set: independent ones, and those that Markov chains are thinned to."""


@dataclass(frozen=True)
class Ranked:
    """The ranks of one fit over many data sets.

    Attributes:
        pit: The true value's rank among the draws as a number between 0 and 1, ties broken at random: uniform if the
            posterior is right. Shape (data sets, quantities), as `scores`.
        scores: (true value - mean) / sd.
        ends: The quantiles at `ENDS`, shape (data sets, quantities, 6); the true value lies between two of a right
            posterior's with just the probability that their names say.
        sets: The numbers of the data sets.
        failed: Why the other data sets are left out, by number.
        converged: The number of data sets on which the optimiser converged; None where there is none.
        r_hat: The largest R-hat of any data set and quantity; None without chains.
        ess: The smallest effective sample size, likewise.
        divergences: The divergent transitions over all data sets, likewise.
        draws: The draws, shape (data sets, draws, quantities), where they were asked for.
    """

    pit: np.ndarray
    scores: np.ndarray
    ends: np.ndarray
    sets: np.ndarray
    failed: dict[int, str]
    converged: int | None = None
    r_hat: float | None = None
    ess: float | None = None
    divergences: int | None = None
    draws: np.ndarray | None = None


def find_quantities(layout: Layout, plate: bool) -> list[str]:
    """The names of the quantities: the reported elements and the log likelihood; of a plate one observation's."""
    names = [layout.label(site, index[plate:]) for site, index in layout.reported_elements]
    return [*dict.fromkeys(names), *([] if plate else [LIKELIHOOD])]


def values(job: Job, latents: Latents, likelihood: bool) -> np.ndarray:
    """The quantities of draws of the latents, shape (count, quantities)."""
    known: dict[str, Any] = {**latents, **derive(job, latents)}
    columns = [known[site][:, *index] for site, index in job.layout.reported_elements]
    if likelihood:
        columns.append(log_densities(job, latents)[1])
    return np.stack(columns, axis=1)


def truths(jobs: Sequence[Job], simulated: Simulated) -> np.ndarray:
    """The quantities of the true latents, shape (data sets, quantities)."""
    if simulated.plate:
        latents = {site: value[None] for site, value in simulated.latents.items()}
        return values(jobs[0], latents, False).reshape(len(next(iter(simulated.latents.values()))), -1)
    rows = []
    for number, job in enumerate(jobs):
        latents = {site: value[[number]] for site, value in simulated.latents.items()}
        rows.append(values(job, latents, True))
    return np.concatenate(rows)


def rank(job: Job, simulated: Simulated, with_draws: bool = False) -> Ranked:
    """Draw from the job's posterior of every data set, and rank the true values.

    Raises:
        RuntimeError: it failed on every data set.
    """
    layout = user_model.trace(
        job.model, simulated.data[0], registry.fitting_library(job)
    )  # the same for all but what is observed
    jobs = [replace(job, data=data, layout=layout) for data in simulated.data]
    results = draw_many(jobs, N_THINNED if job.method == "nuts" else N_DRAWS)
    failed = {number: str(result) for number, result in enumerate(results) if isinstance(result, Exception)}
    done = {number: result for number, result in enumerate(results) if isinstance(result, Drawn)}
    if not done:
        raise RuntimeError(next(iter(failed.values())))
    truth = truths(jobs, simulated)
    if simulated.plate:
        latents = done[0].latents
        every = values(jobs[0], latents, False)
        draws, sets = every.reshape(len(every), len(truth), -1).swapaxes(0, 1), np.arange(len(truth))
    else:
        draws = np.stack([values(jobs[n], result.latents, True) for n, result in done.items()])
        sets = np.array(list(done))
    converged = combine(done, "converged", sum)
    return Ranked(
        pit=pits(draws, truth[sets], np.random.default_rng([job.fit_seed, 9])),
        scores=scores(draws, truth[sets]),
        ends=np.moveaxis(np.quantile(draws, ENDS, axis=1, method="weibull"), 0, -1),
        sets=sets,
        failed=failed,
        converged=None if converged is None else int(converged) * len(sets) // len(done),  # of a plate, all or none
        r_hat=combine(done, "r_hat", max),
        ess=combine(done, "ess", min),
        divergences=combine(done, "divergences", sum),
        draws=draws if with_draws else None,
    )


def combine(done: Mapping[int, Drawn], name: str, reduce: Callable[[Iterable[Any]], Any]) -> Any:
    """One number for a diagnostic of all data sets; None where there is none."""
    diagnostics = [getattr(result, name) for result in done.values()]
    return None if diagnostics[0] is None else reduce(diagnostics)


def pits(draws: np.ndarray, truth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(rank + u) / (draws + 1), u uniform: exactly uniform for any number of draws, if the posterior is right.

    ``draws`` has shape (data sets, draws, quantities), ``truth`` (data sets, quantities).
    """
    below = np.sum(draws < truth[:, None], axis=1)
    ties = np.sum(draws == truth[:, None], axis=1)
    return (below + rng.random(truth.shape) * (ties + 1)) / (draws.shape[1] + 1)


def scores(draws: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(true value - mean) / sd, shape (data sets, quantities); 0 for a quantity that cannot vary."""
    varies = np.ptp(draws, axis=1) > 0  # rounding gives the sd of equal draws another value than 0
    sd = np.where(varies, draws.std(axis=1, ddof=1), 1.0)
    return np.where(varies, (truth - draws.mean(axis=1)) / sd, 0.0)
