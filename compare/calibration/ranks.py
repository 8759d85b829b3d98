"""Where the true values stand among a posterior's draws, data set by data set.

If latents are drawn from the prior and data from them, the rank of the true value among independent draws from the
exact posterior is uniform (Talts et al. 2018, Validating Bayesian inference algorithms with simulation-based
calibration, theorem 1). So is that of any quantity of latents and data; the log likelihood is one that also notices a
posterior that has not listened to the data (Modrak et al. 2023, Simulation-based calibration checking for Bayesian
computation: the choice of test quantities shapes sensitivity).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from compare import registry
from compare.comparison import Drawn, Job
from compare.fit import draw_many, fit_seed
from compare.fit.tree import derive
from models.contract import Latents, Simulated, element

__all__ = ["ENDS", "LEVELS", "LIKELIHOOD", "Ranked", "names", "ranked", "values"]

LEVELS = (0.5, 0.8, 0.95)
"""The central intervals whose coverage is counted."""

ENDS = tuple(sorted((1 + sign * level) / 2 for level in LEVELS for sign in (-1, 1)))
"""The probabilities of the quantiles at which they end."""

LIKELIHOOD = "log likelihood"
"""The quantity that is neither a latent nor derived from them alone."""

DRAWS, THINNED = 1000, 100
"""Draws a data set: independent ones, and those that Markov chains are thinned to."""


@dataclass(frozen=True)
class Ranked:
    """What one way to get a posterior says of many data sets; arrays have shape (data sets, quantities).

    ``pit`` is the true value's rank among the draws as a number between 0 and 1, ties broken at random: uniform if the
    posterior is right. ``scores`` are (true value - mean) / sd. ``ends`` are the quantiles at `ENDS`, shape (data sets,
    quantities, 6), such that between two of them lies in expectation just the probability that their names say.
    ``draws`` are kept of the exact posterior alone, shape (data sets, draws, quantities). ``failed`` says why some data
    sets, by number, are not among these; ``converged`` of how many of them the optimiser arrived.
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


def names(data: Any, plate: bool, likelihood: bool) -> list[str]:
    """The quantities: the reported elements (of one observation, where there is a plate), and the log likelihood."""
    found = [element(site, index[1:] if plate else index) for site, index in data.reported()]
    return [*dict.fromkeys(found), *([LIKELIHOOD] if likelihood else [])]


def has_likelihood(model: Any, simulated: Simulated) -> bool:
    """Whether the log likelihood of latents can be had without a library."""
    one = {site: value[:1] for site, value in simulated.latents.items()}
    data = simulated.data[0]
    return not simulated.plate and (bool(pointwise(model, data, one)) or model.exact(data) is not None)


def values(model: Any, data: Any, latents: Latents, likelihood: bool) -> np.ndarray:
    """The quantities of draws of the latents, shape (count, quantities)."""
    known = {**latents, **derive(model, data, latents)}
    found = [known[site][(slice(None), *index)] for site, index in data.reported()]
    if likelihood:
        parts = pointwise(model, data, latents)
        exact = None if parts else model.exact(data)
        found.append(sum(part.sum(axis=1) for part in parts.values()) if parts else exact.log_likelihood(latents))
    return np.stack(found, axis=1)


def pointwise(model: Any, data: Any, latents: Latents) -> dict[str, np.ndarray]:
    """The log likelihood of each observation by site, where the model offers it."""
    return model.prediction.pointwise(data, latents) if model.prediction and model.prediction.pointwise else {}


def truths(model: Any, simulated: Simulated, likelihood: bool) -> np.ndarray:
    """The quantities of the true latents, shape (data sets, quantities)."""
    if simulated.plate:
        (data,), latents = simulated.data, {site: value[None] for site, value in simulated.latents.items()}
        return values(model, data, latents, False).reshape(len(next(iter(simulated.latents.values()))), -1)
    each = [
        {site: value[[number]] for site, value in simulated.latents.items()} for number in range(len(simulated.data))
    ]
    pairs = zip(simulated.data, each, strict=True)
    return np.concatenate([values(model, data, latents, likelihood) for data, latents in pairs])


def ranked(job: Job, simulated: Simulated, likelihood: bool, keep: bool = False) -> Ranked:
    """Draw from the job's posterior of every data set, and rank the true values; ``keep`` the draws."""
    model, jobs = registry.load(job.model), [replace(job, data=one) for one in simulated.data]
    drawn = draw_many(jobs, THINNED if job.method == "nuts" else DRAWS)
    truth = truths(model, simulated, likelihood)
    failed = {number: str(one) for number, one in enumerate(drawn) if isinstance(one, Exception)}
    done = {number: one for number, one in enumerate(drawn) if isinstance(one, Drawn)}
    if not done:
        raise RuntimeError(next(iter(failed.values())))
    if simulated.plate:
        (one,) = done.values()
        wide = values(model, jobs[0].data, one.latents, False).reshape(len(one.latents[site_of(one)]), len(truth), -1)
        draws, sets = wide.swapaxes(0, 1), np.arange(len(truth))
    else:
        draws = np.stack([values(model, jobs[number].data, one.latents, likelihood) for number, one in done.items()])
        sets = np.array(list(done))
    told = list(done.values())
    return Ranked(
        pit=pits(draws, truth[sets], np.random.default_rng([fit_seed(job), 9])),
        scores=scores(draws, truth[sets]),
        ends=np.moveaxis(np.quantile(draws, ENDS, axis=1, method="weibull"), 0, -1),
        sets=sets,
        failed=failed,
        converged=None
        if told[0].converged is None
        else sum(bool(one.converged) for one in told) * len(sets) // len(told),
        r_hat=worst(told, "r_hat", max),
        ess=worst(told, "ess", min),
        divergences=worst(told, "divergences", lambda counts: sum(counts)),
        draws=draws if keep else None,
    )


def site_of(one: Drawn) -> str:
    return next(iter(one.latents))


def worst(told: Sequence[Drawn], name: str, which: Any) -> Any:
    """The worst of a diagnostic, None where there is none."""
    found = [getattr(one, name) for one in told]
    return None if found[0] is None else which(found)


def pits(draws: np.ndarray, truth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(rank + u) / (draws + 1), u uniform: exactly uniform for any number of draws, if the posterior is right.

    ``draws`` has shape (data sets, draws, quantities), ``truth`` (data sets, quantities).
    """
    below = np.sum(draws < truth[:, None], axis=1)
    ties = np.sum(draws == truth[:, None], axis=1)
    return (below + rng.random(truth.shape) * (ties + 1)) / (draws.shape[1] + 1)


def scores(draws: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(true value - mean) / sd, shape (data sets, quantities); 0 for a quantity that cannot vary."""
    sd = draws.std(axis=1, ddof=1)
    return np.where(sd > 0, (truth - draws.mean(axis=1)) / np.where(sd > 0, sd, 1.0), 0.0)
