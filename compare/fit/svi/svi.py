"""Stochastic variational inference: fit the guide (`compare.fit.svi.fitter`), draw from it, weigh the draws.

What only a library can do stands in its file, such as `compare.fit.svi.objective_numpyro`: `split_arguments` makes of a
twin's arguments the arrays in the library's own form and the static ones, `prepare` the `Objective` of a family's guide
for a model, built on data of the shapes that it is used with, and `density` the model's `Density`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import xarray as xr
from threadpoolctl import threadpool_limits

import guides
from compare.comparison import Drawn, Job
from compare.fit.svi import masks, matrix_free, multipath, points, unoptimised
from compare.fit.svi.bending import FitBest, fit_in_stages
from compare.fit.svi.draws import fresh
from compare.fit.svi.elbo import climb, elbos, gap_between, log_auxiliary_ratio, without_auxiliary
from compare.fit.svi.ensemble import UNKNOWN, Batch, Outcome, n_rows
from compare.fit.svi.fitter import fit_all, shortfall
from compare.fit.svi.gap import Gap
from compare.fit.svi.linear_response import respond
from compare.fit.svi.protocol import DENSE, Density, Objective, Static
from compare.fit.tree import LONG, Draws, how_many, joined
from compare.options import Options
from guides.contract import Family

Preparation = Callable[[str], Objective]
"""The name of a family in, its objective for a model out."""

TOGETHER, ROWS = 256, 256
"""Data sets whose guides are drawn from in one go, and draws of each: what is in memory at a time."""

AS_MANY = (1, 2, 4, 8)
"""Multiples of the usual number of draws. A guide with heavy tails takes the first whose kurtosis limit it meets."""

KURTOSIS = 4.0
"""The limit for the usual number of draws, a Gaussian's being 3; for twice as many it is twice as large.

The relative variance of an sd from n draws is (kurtosis - 1) / 4n, by the delta method.
"""

SHARE = 10
"""Data sets fitted in one call that share one fit's budget; more of them have proportionally more."""


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
    with threadpool_limits(1, "blas"):
        if not data:
            return []
        if points.is_point(objective):
            return points.fit_all(objective, data, options, seeds)
        if not family.has_density:
            return masks.fit_all(objective, data, options, seeds)
        if family.spread is not None and objective.start(seeds[0], data[0])["location"].size > DENSE:
            return matrix_free.fit_all(objective, data, family, options, seeds)
        return fit_all(objective, data, family, options, seeds)


def fit(library: ModuleType, job: Job) -> tuple[xr.DataTree, int]:
    """Fit the job's guide to the job's model: the tree, and the number of gradient evaluations."""
    (result,) = fit_many(library, [job])
    if isinstance(result, Exception):
        raise result
    return result


def fit_many(library: ModuleType, jobs: Sequence[Job]) -> list[tuple[xr.DataTree, int] | Exception]:
    """`fit` for jobs that differ in data and seed alone, in one vectorised call where the data have the same shapes.

    What goes wrong with one of them stands in its place; it costs the others nothing.
    """
    results: dict[int, tuple[xr.DataTree, int] | Exception] = {}
    for static, data in alike(library, jobs):
        prepare = preparation(library, jobs[0], static, next(iter(data.values())))
        objective, density = prepare(jobs[0].family), library.density(jobs[0].model, static)
        outcomes = fit_guides([jobs[number] for number in data], prepare, list(data.values()))
        for (number, values), outcome in zip(data.items(), outcomes, strict=True):
            if isinstance(outcome, Exception):
                results[number] = outcome
            else:
                results[number] = attempt(finish, jobs[number], outcome, objective, density, values)
    return [results[number] for number in range(len(jobs))]


def alike(library: ModuleType, jobs: Sequence[Job]) -> list[tuple[Static, dict[int, Any]]]:
    """The jobs in groups with data of the same shapes: static arguments, and each job's data by its number."""
    groups: dict[tuple, dict[int, Any]] = {}
    for number, job in enumerate(jobs):
        data, static = library.split_arguments(job.data.arguments())
        shapes = tuple((name, tuple(value.shape)) for name, value in data.items())
        groups.setdefault((static, shapes), {})[number] = data
    return [(static, data) for (static, _), data in groups.items()]


def draw_many(library: ModuleType, jobs: Sequence[Job], count: int) -> list[Drawn | Exception]:
    """``count`` draws from the guide of each job, all jobs of one model and guide, in one vectorised call.

    Data sets that coincide are fitted once; each has draws of its own. Each `SHARE` of them have one fit's budget.

    Raises:
        ValueError: the guide is a point.
    """
    options = replace(jobs[0].options, budget=jobs[0].options.budget * max(1.0, len(jobs) / SHARE))
    jobs = [replace(job, options=options) for job in jobs]
    results: dict[int, Drawn | Exception] = {}
    for static, data in alike(library, jobs):
        contents = {n: tuple(np.asarray(value).tobytes() for value in values.values()) for n, values in data.items()}
        first = {content: number for number, content in reversed(contents.items())}
        distinct = [number for number in data if first[contents[number]] == number]
        prepare = preparation(library, jobs[0], static, next(iter(data.values())))
        objective = prepare(jobs[0].family)
        if points.is_point(objective):
            raise points.not_calibrated(jobs[0].guide)
        fitted = fit_guides([jobs[number] for number in distinct], prepare, [data[number] for number in distinct])
        outcomes = dict(zip(distinct, fitted, strict=True))
        numbers = list(data)
        for begin in range(0, len(numbers), TOGETHER):
            piece = numbers[begin : begin + TOGETHER]
            rng = np.random.default_rng([jobs[piece[0]].fit_seed, 5, begin])
            own = [outcomes[first[contents[number]]] for number in piece]
            drawn = draws_of(objective, [data[number] for number in piece], own, rng, count)
            results |= dict(zip(piece, drawn, strict=True))
    return [results[number] for number in range(len(jobs))]


def draws_of(
    objective: Objective,
    data: Sequence[Any],
    outcomes: Sequence[Outcome | Exception],
    rng: np.random.Generator,
    count: int,
) -> list[Drawn | Exception]:
    """Draws from the guides where they ended, or why there are none."""
    fitted = {n: outcome for n, outcome in enumerate(outcomes) if isinstance(outcome, Outcome)}
    which, batch, parts = np.array(list(fitted)), Batch(objective, data), []
    for begin in range(0, count if fitted else 0, ROWS):
        eps = rng.standard_normal((len(which), min(ROWS, count - begin), objective.dimension))
        parts.append(batch.evaluate(which, [outcome.parameters for outcome in fitted.values()], list(eps)))
    drawn = {
        number: Drawn(joined([piece.latents for piece in pieces]), outcome.converged)
        for (number, outcome), *pieces in zip(fitted.items(), *parts, strict=True)
    }
    return [drawn[n] if isinstance(outcome, Outcome) else outcome for n, outcome in enumerate(outcomes)]


def preparation(library: ModuleType, job: Job, static: Static, data: Any) -> Preparation:
    """What makes the objective of each family for the job's model, on data of these shapes."""

    def prepare(family: str) -> Objective:
        return library.prepare(job.model, family, static, data, guides.load(family).settings_in(job.options))

    return prepare


def fit_guides(jobs: Sequence[Job], prepare: Preparation, data: Sequence[Any]) -> list[Outcome | Exception]:
    """Where the fits of jobs with data of the same shapes end, or why they could not begin."""
    options, family = jobs[0].options, guides.load(jobs[0].family)
    seeds = [job.fit_seed for job in jobs]
    if family.response_of:
        return responses(prepare(family.response_of), data, guides.load(family.response_of), options, seeds)
    if family.ways_of:
        return multipath.mix_all(prepare(family.ways_of), data, options, seeds)
    objective, pairs = prepare(jobs[0].family), list(zip(data, seeds, strict=True))
    if family.member_of:
        return unoptimised.take_all(optimise_many, objective, data, family, options, seeds)
    fit_best: FitBest = optimise
    if family.bends:
        fit_best = partial(fit_in_stages, optimise, prepare(family.bends))
    if options.optimiser == "adam":
        return [attempt(fit_by_adam, objective, values, family, options, seed, fit_best) for values, seed in pairs]
    if family.bends:
        return [attempt(fit_best, objective, values, family, options, seed) for values, seed in pairs]
    outcomes = optimise_many(objective, data, family, options, seeds)
    return [FloatingPointError(outcome.reason) if outcome.failed else outcome for outcome in outcomes]


def responses(
    objective: Objective, data: Sequence[Any], family: Family, options: Options, seeds: Sequence[int]
) -> list[Outcome | Exception]:
    """Each fit of mean field, with the covariance of its linear response, or why there is none."""
    deadline = time.perf_counter() + options.budget
    fits = zip(data, optimise_many(objective, data, family, options, seeds), seeds, strict=True)
    with threadpool_limits(1, "blas"):
        return [attempt(respond, objective, values, fit, seed, deadline) for values, fit, seed in fits]


def attempt(function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except Exception as error:
        return error


def finish(job: Job, outcome: Outcome, objective: Objective, density: Density, data: Any) -> tuple[xr.DataTree, int]:
    """Draw from the fitted guide and weigh each draw: the tree, and the gradient evaluations that the fit took.

    Draws of a guide without a density have no ``log_guide``; its objective stands where others have the ELBO.
    """
    if points.is_point(objective):
        tree = points.tree_of(job, outcome, objective, density, data)
        tree["params"] = as_group(objective.param_sites(outcome.best or outcome.parameters))
        return tree, outcome.gradients
    options, seed = job.options, job.fit_seed
    rng, dimension, draws = np.random.default_rng([seed, 1]), objective.dimension, Draws(job)
    shape = n_rows(dimension), dimension
    blocks = max(1, how_many(options.draws, dimension) // shape[0])
    multiples = AS_MANY if dimension <= LONG else (1,)
    for times in multiples:
        while len(draws.blocks) < times * blocks:
            eps = rng.standard_normal(shape)
            drawn = objective.evaluate(outcome.parameters, eps, data)
            log_ratio = drawn.log_ratio + log_auxiliary_ratio(family_of(job), outcome.parameters, eps)
            log_prior, log_likelihood = density(drawn.latents, data)
            log_guide = log_prior + log_likelihood - log_ratio if family_of(job).has_density else None
            draws.add(drawn.latents, log_prior, log_likelihood, log_guide)
        if times == multiples[-1] or draws.largest_kurtosis() <= times * KURTOSIS:
            break
    later = np.random.default_rng([seed, 2])
    unseen = [fresh(later, *shape) for _ in range(8 if dimension <= LONG else 3)]
    batches = [fresh(rng, *shape) for _ in range(16)]
    elbo = elbos(objective, outcome.parameters, batches, data)
    ending = {"elbo": elbo.mean(), "elbo_mcse": elbo.std(ddof=1) / np.sqrt(len(elbo)), **outcome.ending(options)}
    if not family_of(job).takes_optimiser:
        ending["optimiser"] = "zoo"
    if family_of(job).log_auxiliary_ratio:
        ending |= without_auxiliary(family_of(job), outcome.parameters, elbo, batches)
    if not family_of(job).has_density:
        drawn_value = Gap(ending.pop("elbo"), ending.pop("elbo_mcse"))
        known = outcome.objective or drawn_value
        ending |= {"objective": known.value, "objective_mcse": known.mcse}
    if outcome.log_evidence_at_mode is not None:
        ending["log_evidence_at_mode"] = outcome.log_evidence_at_mode
    tree = draws.tree(climb(objective, data, outcome, elbo, unseen), ending)
    tree["params"] = as_group(objective.param_sites(outcome.best or outcome.parameters))
    return tree, outcome.gradients


def family_of(job: Job) -> Family:
    """The guide's family; a user's own guide has a density, else it is refused before it is fitted."""
    return guides.load(job.family) if job.method == "svi" else Family()


def as_group(params: Mapping[str, Any]) -> xr.DataTree:
    """A guide's params, which may be nested, as a group of a tree: an array each, with its path in its attributes; the
    second item of a sequence has the key ``[1]``, and an empty sequence an empty array with the key ``[]``."""
    arrays: dict[str, Any] = {}

    def add(value: Any, path: tuple[str, ...]) -> None:
        if isinstance(value, list | tuple):
            value = {f"[{place}]": item for place, item in enumerate(value)} or {"[]": np.zeros(0)}
        if isinstance(value, Mapping):
            for key, item in value.items():
                add(item, (*path, str(key)))
            return
        number, value = len(arrays), np.asarray(value)
        dimensions = [f"param_{number}_dim_{axis}" for axis in range(value.ndim)]
        arrays[f"param_{number}"] = xr.Variable(dimensions, value, {"path": json.dumps(path)})

    add(params, ())
    return xr.DataTree(xr.Dataset(arrays))


def fit_by_adam(
    objective: Objective, data: Any, family: Family, options: Options, seed: int, fit_best: FitBest = optimise
) -> Outcome:
    """What a user would write: Adam for a fixed number of steps. The gap is measured against the zoo's own fit."""
    start = objective.start(seed, data)
    parameters = objective.adam(seed, data, options.steps, options.learning_rate)
    if not all(np.isfinite(value).all() for value in parameters.values()):
        raise FloatingPointError(
            f"Adam diverged: after {options.steps} steps at learning rate {options.learning_rate:g} the guide's "
            "parameters are not finite; try a smaller learning rate"
        )
    best = fit_best(objective, data, family, options, seed)
    gap = gap_between(objective, data, parameters, best, options, seed)
    if not np.isfinite(gap.value):
        raise FloatingPointError("the ELBO is not finite where Adam ended; try a smaller learning rate")
    converged = gap.upper <= options.tolerance and best.converged
    is_known = np.isfinite(best.gap.value)
    ended = shortfall(gap, options) if is_known else f"{gap.value:.2g} ± {gap.mcse:.1g} nats below the zoo's own fit"
    reason = f"{options.steps} steps of Adam at {options.learning_rate:g} ended {ended}"
    history = [(0, start), (options.steps, parameters)]
    gap = gap if is_known else UNKNOWN
    return Outcome(parameters, gap, converged, None if converged else reason, options.steps, history)
