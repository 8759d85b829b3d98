"""Stochastic variational inference: fit the guide (`compare.fit.svi.fitter`), draw from it, weigh the draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import xarray as xr

import guides
from compare.comparison import Drawn, Job
from compare.fit import fit_seed
from compare.fit.svi.batch import Batch
from compare.fit.svi.draws import fresh
from compare.fit.svi.fitter import Fitter, rows, short
from compare.fit.svi.gap import Gap
from compare.fit.svi.protocol import Density, Objective
from compare.fit.svi.state import Outcome
from compare.fit.threads import one_thread
from compare.fit.tree import LONG, build, how_many, keep, pointwise, split
from compare.options import Options
from guides.contract import Parameters

__all__ = ["Outcome", "draw_many", "fit", "fit_many", "optimise", "optimise_many"]

Made = tuple[xr.DataTree, int] | Exception

TOGETHER, ROWS = 256, 256
"""Data sets whose guides are drawn from in one go, and draws of each: what is in memory at a time."""


def optimise(objective: Objective, data: Any, family: ModuleType, options: Options, seed: int) -> Outcome:
    """Fit the guide.

    Raises:
        FloatingPointError: the log joint is not finite where the guide starts.
    """
    (outcome,) = optimise_many(objective, [data], family, options, [seed])
    if outcome.failed:
        raise FloatingPointError(outcome.reason)
    return outcome


def optimise_many(
    objective: Objective, data: Sequence[Any], family: ModuleType, options: Options, seeds: Sequence[int]
) -> list[Outcome]:
    """Fit the guide to data sets of one shape, one seed each, all at once; fits with the same seed share their draws.

    The budget is that of all together. A fit that cannot begin is in the list as failed.
    """
    with one_thread():
        return Fitter(objective, data, family, options, seeds).run()


def fit(library: ModuleType, job: Job) -> tuple[xr.DataTree, int]:
    """Fit the job's guide to the job's model; the tree and the number of gradient evaluations.

    ``library`` is the file that speaks the job's library.
    """
    (made,) = fit_many(library, [job])
    if isinstance(made, Exception):
        raise made
    return made


def fit_many(library: ModuleType, jobs: Sequence[Job]) -> list[Made]:
    """The same for jobs that differ in data and seed alone, in one vectorised call where the data have one shape.

    What goes wrong with one of them stands in its place; it costs the others nothing.
    """
    made: dict[int, Made] = {}
    for static, members in alike(library, jobs):
        objective = library.prepare(jobs[0].model, jobs[0].guide, static)
        density = library.density(jobs[0].model, static)
        data = [one for _, one in members]
        ends = fit_guides([jobs[number] for number, _ in members], objective, data)
        for (number, one), end in zip(members, ends, strict=True):
            known = isinstance(end, Exception)
            made[number] = end if known else attempt(finish, jobs[number], end, objective, density, one)
    return [made[number] for number in range(len(jobs))]


def alike(library: ModuleType, jobs: Sequence[Job]) -> list[tuple[Any, list[tuple[int, Any]]]]:
    """The jobs' data in the library's form, in groups of one shape: the static arguments, and (job's number, data)."""
    groups: dict[tuple, list[tuple[int, Any]]] = {}
    for number, job in enumerate(jobs):
        data, static = library.split_arguments(job.data.arguments())
        shapes = tuple((name, tuple(value.shape)) for name, value in data.items())
        groups.setdefault((static, shapes), []).append((number, data))
    return [(static, members) for (static, _), members in groups.items()]


def draw_many(library: ModuleType, jobs: Sequence[Job], count: int) -> list[Drawn | Exception]:
    """So many draws from the guide of each job, all jobs of one model and guide, in one vectorised call.

    Data sets that coincide are fitted once; each has draws of its own.
    """
    made: dict[int, Drawn | Exception] = {}
    for static, members in alike(library, jobs):
        contents = {number: content(data) for number, data in members}
        first = {one: number for number, one in reversed(contents.items())}
        chosen = [(number, data) for number, data in members if first[contents[number]] == number]
        objective = library.prepare(jobs[0].model, jobs[0].guide, static)
        ends = fit_guides([jobs[number] for number, _ in chosen], objective, [data for _, data in chosen])
        ended = {number: end for (number, _), end in zip(chosen, ends, strict=True)}
        for begin in range(0, len(members), TOGETHER):
            piece = members[begin : begin + TOGETHER]
            outcomes = [ended[first[contents[number]]] for number, _ in piece]
            rng = np.random.default_rng([fit_seed(jobs[piece[0][0]]), 5, begin])
            for (number, _), drawn in zip(piece, draws_of(objective, piece, outcomes, rng, count), strict=True):
                made[number] = drawn
    return [made[number] for number in range(len(jobs))]


def content(data: Any) -> tuple:
    """What tells data of one shape apart."""
    return tuple(np.asarray(value).tobytes() for value in data.values())


def draws_of(
    objective: Objective,
    members: Sequence[tuple[int, Any]],
    outcomes: Sequence[Outcome | Exception],
    rng: np.random.Generator,
    count: int,
) -> list[Drawn | Exception]:
    """Draws from the guides where they ended, or why there are none."""
    failed = {
        place: end if isinstance(end, Exception) else FloatingPointError(end.reason)
        for place, end in enumerate(outcomes)
        if isinstance(end, Exception) or end.failed
    }
    which = np.array([place for place in range(len(members)) if place not in failed], dtype=int)
    found: dict[int, Drawn | Exception] = dict(failed)
    if which.size:
        batch = Batch(objective, [data for _, data in members])
        ended = [outcomes[place] for place in which]
        dimension = objective.dimension(ended[0].parameters, members[which[0]][1])
        parts = []
        for begin in range(0, count, ROWS):
            eps = rng.standard_normal((len(which), min(ROWS, count - begin), dimension))
            parts.append(batch.evaluate(which, [end.parameters for end in ended], list(eps)))
        for place, end, *pieces in zip(which, ended, *parts, strict=True):
            latents = {name: np.concatenate([one.latents[name] for one in pieces]) for name in pieces[0].latents}
            found[int(place)] = Drawn(latents, end.converged)
    return [found[place] for place in range(len(members))]


def fit_guides(jobs: Sequence[Job], objective: Objective, data: Sequence[Any]) -> list[Outcome | Exception]:
    """Where the fits of jobs with data of one shape end."""
    options, family = jobs[0].options or Options(), guides.load(jobs[0].guide)
    seeds = [fit_seed(job) for job in jobs]
    if options.optimiser == "adam":
        return [attempt(by_hand, objective, one, family, options, seed) for one, seed in zip(data, seeds, strict=True)]
    return optimise_many(objective, data, family, options, seeds)


def attempt(function: Callable[..., Any], *arguments: Any) -> Any:
    """What the function returns, or what it raises."""
    try:
        return function(*arguments)
    except Exception as error:
        return error


def finish(job: Job, outcome: Outcome, objective: Objective, density: Density, data: Any) -> tuple[xr.DataTree, int]:
    """Draw from the fitted guide and weigh each draw: the tree, and the gradient evaluations that the fit took.

    Raises:
        FloatingPointError: the log joint is not finite at the start.
    """
    if outcome.failed:
        raise FloatingPointError(outcome.reason)
    options, seed = job.options or Options(), fit_seed(job)
    rng = np.random.default_rng([seed, 1])
    dimension = objective.dimension(outcome.parameters, data)
    batch = rows(dimension)
    count = how_many(options.draws, dimension)
    pieces, labels = [], {}
    for _ in range(max(1, count // batch)):
        drawn = objective.evaluate(outcome.parameters, rng.standard_normal((batch, dimension)), data)
        log_prior, log_likelihood = density(drawn.latents, data)
        kept, labels = keep(drawn.latents, job.model, job.data)
        log_joint = log_prior + log_likelihood
        stats = {"log_prior": log_prior, "log_joint": log_joint, "log_guide": log_joint - drawn.log_ratio}
        pieces.append((kept, stats))
    kept, stats = (
        {name: np.concatenate([piece[part][name] for piece in pieces]) for name in pieces[0][part]} for part in (0, 1)
    )
    later = np.random.default_rng([seed, 2])
    unseen = [fresh(later, batch, dimension) for _ in range(8 if dimension <= LONG else 3)]
    elbo = np.array(
        [objective.evaluate(outcome.parameters, fresh(rng, batch, dimension), data).log_ratio.mean() for _ in range(16)]
    )
    tree = build(
        split(kept),
        split(stats),
        job.data.observed(),
        labels,
        climb(objective, data, outcome, elbo, unseen),
        {
            "elbo": elbo.mean(),
            "elbo_mcse": elbo.std(ddof=1) / np.sqrt(len(elbo)),
            "gap": outcome.gap.value,
            "gap_mcse": outcome.gap.mcse,
            "tolerance": options.tolerance,
            "converged": int(outcome.converged),
            "reason": outcome.reason or "",
            "optimiser": options.optimiser,
        },
        pointwise(kept, job.model, job.data),
    )
    return tree, outcome.gradients


def climb(
    objective: Objective, data: Any, outcome: Outcome, elbo: np.ndarray, batches: Sequence[np.ndarray], most: int = 15
) -> dict[str, np.ndarray]:
    """The ELBO along the way, with its error, at draws that the fit has not seen.

    Each step's is the last one's, which ``elbo`` holds estimates of, less what the step falls short of it by at
    common draws: near the end that difference has hardly any noise.
    """
    steps = len(outcome.history)
    chosen = np.unique(np.linspace(0, steps - 1, min(most, steps)).round().astype(int))

    def elbos(parameters: Parameters) -> np.ndarray:
        return np.array([objective.evaluate(parameters, draws, data).log_ratio.mean() for draws in batches])

    last = elbos(outcome.parameters)
    short = np.stack([elbos(outcome.history[step][1]) - last for step in chosen])
    return {
        "gradients": np.array([outcome.history[step][0] for step in chosen]),
        "elbo": elbo.mean() + short.mean(axis=1),
        "elbo_mcse": np.sqrt(elbo.var(ddof=1) / len(elbo) + short.var(axis=1, ddof=1) / len(batches)),
    }


def by_hand(objective: Objective, data: Any, family: ModuleType, options: Options, seed: int) -> Outcome:
    """What a user would write: Adam for a fixed number of steps. The gap is measured against the zoo's own fit."""
    start = objective.start(seed, data)
    parameters, _ = objective.adam(seed, data, options.steps, options.learning_rate)
    if not all(np.isfinite(value).all() for value in parameters.values()):
        raise FloatingPointError(
            f"Adam diverged: after {options.steps} steps at learning rate {options.learning_rate:g} the guide's "
            "parameters are not finite; try a smaller learning rate"
        )
    best = optimise(objective, data, family, options, seed)
    rng, dimension = np.random.default_rng([seed, 3]), objective.dimension(start, data)
    batches = [fresh(rng, rows(dimension), dimension) for _ in range(64)]
    difference = np.array(
        [
            objective.evaluate(best.parameters, draws, data).log_ratio.mean()
            - objective.evaluate(parameters, draws, data).log_ratio.mean()
            for draws in batches
        ]
    )
    mcse = np.hypot(difference.std(ddof=1) / np.sqrt(len(batches)), best.gap.mcse)
    gap = Gap(float(difference.mean() + best.gap.value), float(mcse))
    if not np.isfinite(gap.value):
        raise FloatingPointError("the ELBO is not finite where Adam ended; try a smaller learning rate")
    converged = gap.upper <= options.tolerance and best.converged
    reason = (
        None
        if converged
        else (f"{options.steps} steps of Adam at {options.learning_rate:g} ended {short(gap, options)}")
    )
    return Outcome(parameters, gap, converged, reason, options.steps, [(0, start), (options.steps, parameters)])
