"""Stochastic variational inference: fit the guide (`compare.fit.svi.fitter`), draw from it, weigh the draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr

import guides
from compare.comparison import Drawn, Job
from compare.fit.svi.batch import Batch
from compare.fit.svi.draws import fresh
from compare.fit.svi.ensemble import n_rows
from compare.fit.svi.fitter import fit_all, shortfall
from compare.fit.svi.gap import Gap
from compare.fit.svi.protocol import Density, Library, Objective, Static
from compare.fit.svi.state import Outcome
from compare.fit.threads import one_thread
from compare.fit.tree import LONG, build, how_many, keep, pointwise, split
from compare.options import Options
from guides.contract import Family, Parameters

__all__ = ["Outcome", "draw_many", "fit", "fit_many", "optimise", "optimise_many"]

TOGETHER, ROWS = 256, 256
"""Data sets whose guides are drawn from in one go, and draws of each: what is in memory at a time."""


def optimise(objective: Objective, data: Any, family: Family, options: Options, seed: int) -> Outcome:
    """Fit the guide.

    Raises:
        FloatingPointError: the log joint is not finite where the guide starts.
    """
    (outcome,) = optimise_many(objective, [data], family, options, [seed])
    if outcome.failed:
        raise FloatingPointError(outcome.reason)
    return outcome


def optimise_many(
    objective: Objective, data: Sequence[Any], family: Family, options: Options, seeds: Sequence[int]
) -> list[Outcome]:
    """Fit the guide to data sets of the same shapes, one seed each; fits with the same seed share their draws.

    The budget is that of all together. A fit that cannot begin is in the list as failed.
    """
    with one_thread():
        return fit_all(objective, data, family, options, seeds)


def fit(library: Library, job: Job) -> tuple[xr.DataTree, int]:
    """Fit the job's guide to the job's model: the tree, and the number of gradient evaluations."""
    (result,) = fit_many(library, [job])
    if isinstance(result, Exception):
        raise result
    return result


def fit_many(library: Library, jobs: Sequence[Job]) -> list[tuple[xr.DataTree, int] | Exception]:
    """`fit` for jobs that differ in data and seed alone, in one vectorised call where the data have the same shapes.

    What goes wrong with one of them stands in its place; it costs the others nothing.
    """
    results: dict[int, tuple[xr.DataTree, int] | Exception] = {}
    for static, members in alike(library, jobs):
        objective = library.prepare(jobs[0].model, jobs[0].family, static, members[0][1])
        density = library.density(jobs[0].model, static)
        outcomes = fit_guides([jobs[number] for number, _ in members], objective, [data for _, data in members])
        for (number, data), outcome in zip(members, outcomes, strict=True):
            results[number] = attempt(finish, jobs[number], outcome, objective, density, data)
    return [results[number] for number in range(len(jobs))]


def alike(library: Library, jobs: Sequence[Job]) -> list[tuple[Static, list[tuple[int, Any]]]]:
    """The jobs' data in groups of the same shapes: static arguments, and (job's number, data in the library's form)."""
    groups: dict[tuple, list[tuple[int, Any]]] = {}
    for number, job in enumerate(jobs):
        data, static = library.split_arguments(job.data.arguments())
        shapes = tuple((name, tuple(value.shape)) for name, value in data.items())
        groups.setdefault((static, shapes), []).append((number, data))
    return [(static, members) for (static, _), members in groups.items()]


def draw_many(library: Library, jobs: Sequence[Job], count: int) -> list[Drawn | Exception]:
    """``count`` draws from the guide of each job, all jobs of one model and guide, in one vectorised call.

    Data sets that coincide are fitted once; each has draws of its own.
    """
    results: dict[int, Drawn | Exception] = {}
    for static, members in alike(library, jobs):
        contents = {number: content(data) for number, data in members}
        first = {key: number for number, key in reversed(contents.items())}
        distinct = [(number, data) for number, data in members if first[contents[number]] == number]
        objective = library.prepare(jobs[0].model, jobs[0].family, static, members[0][1])
        fitted = fit_guides([jobs[number] for number, _ in distinct], objective, [data for _, data in distinct])
        outcomes = {number: outcome for (number, _), outcome in zip(distinct, fitted, strict=True)}
        for begin in range(0, len(members), TOGETHER):
            piece = members[begin : begin + TOGETHER]
            rng = np.random.default_rng([jobs[piece[0][0]].fit_seed, 5, begin])
            own = [outcomes[first[contents[number]]] for number, _ in piece]
            drawn = draws_of(objective, [data for _, data in piece], own, rng, count)
            results |= {number: draws for (number, _), draws in zip(piece, drawn, strict=True)}
    return [results[number] for number in range(len(jobs))]


def content(data: Any) -> tuple:
    """What tells data of the same shapes apart."""
    return tuple(np.asarray(value).tobytes() for value in data.values())


def draws_of(
    objective: Objective,
    data: Sequence[Any],
    outcomes: Sequence[Outcome | Exception],
    rng: np.random.Generator,
    count: int,
) -> list[Drawn | Exception]:
    """Draws from the guides where they ended, or why there are none."""
    results: list[Drawn | Exception] = [
        outcome if isinstance(outcome, Exception) else FloatingPointError(outcome.reason) for outcome in outcomes
    ]
    fitted = {n: ended for n, ended in enumerate(outcomes) if isinstance(ended, Outcome) and not ended.failed}
    if not fitted:
        return results
    which, batch, parts = np.array(list(fitted)), Batch(objective, data), []
    for begin in range(0, count, ROWS):
        eps = rng.standard_normal((len(which), min(ROWS, count - begin), objective.dimension))
        parts.append(batch.evaluate(which, [outcome.parameters for outcome in fitted.values()], list(eps)))
    for (number, outcome), *pieces in zip(fitted.items(), *parts, strict=True):
        latents = {name: np.concatenate([piece.latents[name] for piece in pieces]) for name in pieces[0].latents}
        results[number] = Drawn(latents, outcome.converged)
    return results


def fit_guides(jobs: Sequence[Job], objective: Objective, data: Sequence[Any]) -> list[Outcome | Exception]:
    """Where the fits of jobs with data of the same shapes end."""
    options, family = jobs[0].options or Options(), guides.load(jobs[0].family)
    seeds = [job.fit_seed for job in jobs]
    if options.optimiser == "adam":
        pairs = zip(data, seeds, strict=True)
        return [attempt(fit_by_adam, objective, values, family, options, seed) for values, seed in pairs]
    return list(optimise_many(objective, data, family, options, seeds))


def attempt(function: Callable[..., Any], *arguments: Any) -> Any:
    """What the function returns, or what it raises."""
    try:
        return function(*arguments)
    except Exception as error:
        return error


def finish(
    job: Job, outcome: Outcome | Exception, objective: Objective, density: Density, data: Any
) -> tuple[xr.DataTree, int]:
    """Draw from the fitted guide and weigh each draw: the tree, and the gradient evaluations that the fit took.

    Raises:
        FloatingPointError: the log joint is not finite at the start.
    """
    if isinstance(outcome, Exception):
        raise outcome
    if outcome.failed:
        raise FloatingPointError(outcome.reason)
    options, seed = job.options or Options(), job.fit_seed
    rng, dimension = np.random.default_rng([seed, 1]), objective.dimension
    rows, count = n_rows(dimension), how_many(options.draws, dimension)
    draws, stats, labels = weighed_draws(job, outcome, objective, density, data, rng, max(1, count // rows))
    later = np.random.default_rng([seed, 2])
    unseen = [fresh(later, rows, dimension) for _ in range(8 if dimension <= LONG else 3)]
    elbo = elbos(objective, outcome.parameters, [fresh(rng, rows, dimension) for _ in range(16)], data)
    ending = {
        "elbo": elbo.mean(),
        "elbo_mcse": elbo.std(ddof=1) / np.sqrt(len(elbo)),
        "gap": outcome.gap.value,
        "gap_mcse": outcome.gap.mcse,
        "tolerance": options.tolerance,
        "converged": int(outcome.converged),
        "reason": outcome.reason or "",
        "optimiser": options.optimiser,
    }
    way = climb(objective, data, outcome, elbo, unseen)
    likelihood = pointwise(draws, job)
    tree = build(split(draws), split(stats), job.layout.observed, labels, way, ending, likelihood)
    return tree, outcome.gradients


def weighed_draws(
    job: Job,
    outcome: Outcome,
    objective: Objective,
    density: Density,
    data: Any,
    rng: np.random.Generator,
    blocks: int,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Draws from the guide and their log densities, shape (draws, ...), block by block; and the elements' labels."""
    pieces, shape = [], (n_rows(objective.dimension), objective.dimension)
    labels: dict[str, np.ndarray] = {}
    for _ in range(blocks):
        drawn = objective.evaluate(outcome.parameters, rng.standard_normal(shape), data)
        log_prior, log_likelihood = density(drawn.latents, data)
        draws, labels = keep(drawn.latents, job)
        log_joint = log_prior + log_likelihood
        stats = {"log_prior": log_prior, "log_joint": log_joint, "log_guide": log_joint - drawn.log_ratio}
        pieces.append((draws, stats))
    draws, stats = (
        {name: np.concatenate([piece[part][name] for piece in pieces]) for name in pieces[0][part]} for part in (0, 1)
    )
    return draws, stats, labels


def elbos(objective: Objective, parameters: Parameters, batches: Sequence[np.ndarray], data: Any) -> np.ndarray:
    """The ELBO at each batch of draws."""
    return np.array([objective.evaluate(parameters, draws, data).log_ratio.mean() for draws in batches])


def climb(
    objective: Objective, data: Any, outcome: Outcome, elbo: np.ndarray, batches: Sequence[np.ndarray], most: int = 15
) -> dict[str, np.ndarray]:
    """The ELBO along the way, with its error, at draws that the fit has not seen.

    Each step's is the last one's, which ``elbo`` holds estimates of, less what the step falls short of it by at
    common draws: near the end that difference has hardly any noise.
    """
    steps = len(outcome.history)
    chosen = np.unique(np.linspace(0, steps - 1, min(most, steps)).round().astype(int))
    last = elbos(objective, outcome.parameters, batches, data)
    short = np.stack([elbos(objective, outcome.history[step][1], batches, data) - last for step in chosen])
    return {
        "gradients": np.array([outcome.history[step][0] for step in chosen]),
        "elbo": elbo.mean() + short.mean(axis=1),
        "elbo_mcse": np.sqrt(elbo.var(ddof=1) / len(elbo) + short.var(axis=1, ddof=1) / len(batches)),
    }


def fit_by_adam(objective: Objective, data: Any, family: Family, options: Options, seed: int) -> Outcome:
    """What a user would write: Adam for a fixed number of steps. The gap is measured against the zoo's own fit."""
    start = objective.start(seed, data)
    parameters = objective.adam(seed, data, options.steps, options.learning_rate)
    if not all(np.isfinite(value).all() for value in parameters.values()):
        raise FloatingPointError(
            f"Adam diverged: after {options.steps} steps at learning rate {options.learning_rate:g} the guide's "
            "parameters are not finite; try a smaller learning rate"
        )
    best = optimise(objective, data, family, options, seed)
    rng, dimension = np.random.default_rng([seed, 3]), objective.dimension
    batches = [fresh(rng, n_rows(dimension), dimension) for _ in range(64)]
    difference = elbos(objective, best.parameters, batches, data) - elbos(objective, parameters, batches, data)
    mcse = np.hypot(difference.std(ddof=1) / np.sqrt(len(batches)), best.gap.mcse)
    gap = Gap(float(difference.mean() + best.gap.value), float(mcse))
    if not np.isfinite(gap.value):
        raise FloatingPointError("the ELBO is not finite where Adam ended; try a smaller learning rate")
    converged = gap.upper <= options.tolerance and best.converged
    reason = f"{options.steps} steps of Adam at {options.learning_rate:g} ended {shortfall(gap, options)}"
    history = [(0, start), (options.steps, parameters)]
    return Outcome(parameters, gap, converged, None if converged else reason, options.steps, history)
