"""A user's own guide: fitted by the zoo's optimiser where fixed draws can feed it, else by the library's SVI; or judged
with the params that its user found.

Its file in a library has, beside `split_arguments` and `density`:

    prepare(user, guide, values, seed)
        A context with the `Objective` of a guide for all data of these shapes, which knows too whether it ``is_fed``
        fixed draws and whether some density ``is_scaled``, and whose ``rounds(seed, data, steps, learning_rate)``
        yields the parameters after each round of ``steps`` steps of the library's SVI by Adam, whose rate is halved
        from round to round.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import xarray as xr
from scipy import stats

from compare import user_model
from compare.comparison import Drawn, Job
from compare.fit.svi import points
from compare.fit.svi.draws import fresh, matched
from compare.fit.svi.elbo import MOST_BATCHES, difference, elbos, gap_between
from compare.fit.svi.ensemble import UNKNOWN, Outcome, n_rows
from compare.fit.svi.fitter import shortfall
from compare.fit.svi.gap import Gap
from compare.fit.svi.svi import SHARE, alike, attempt, finish, fit_by_adam, optimise
from compare.fit.tree import joined
from compare.options import Options
from compare.user_model import guides
from guides.contract import Family, Parameters

ROUNDS, STEPS = 12, 1000
"""Rounds of the library's SVI, and Adam's steps in each; every round takes half of the last one's learning rate."""

FIRST_RATE = 4.0
"""The first round's learning rate, in units of the option's, which is for a single long round."""

LEAST_ROUNDS = 4
"""Rounds after which it may stop: before, a round that gains nothing may be one of too large steps."""

MOST_MOVED = 100
"""Parameters that are moved away from 0 at most."""

BATCHES = 16
"""Batches of draws that two ELBOs are compared with."""

ERRORS = 4
"""Standard errors by which a copy must be above the given params, to be better."""

STEP, ROUNDING = 1e-4, 0.01
"""Step in a standard normal for the slopes of a guide's draws; and nats that these differences may cost."""


def fit(library: ModuleType, job: Job) -> tuple[xr.DataTree, int]:
    """Fit the guide, or judge its user's params: the tree, and the gradient evaluations that it took.

    Raises:
        ValueError: the guide is one point in some latents only, so that it has no density and no ELBO; or the density
            that it counts is another than that of what it draws.
    """
    values, guide = job.data.arguments(), guides.find(job.model, job.guide)
    if guide is None:
        raise ValueError(f"the guide {job.guide!r} is known only to the process that it was given to")
    user = user_model.find(job.model)
    data, static = library.split_arguments(values)
    with library.prepare(user, guide, values, job.fit_seed) as objective:
        log_joint = library.density(job.model, static)
        refuse_points(guide, objective, data, job)
        refuse_other_density(guide, objective, log_joint, data, job)
        outcome = outcome_of(guide, objective, data, job.options, job.fit_seed)
        tree, gradients = finish(job, outcome, objective, log_joint, data)
    if guide.params is None and not objective.is_fed:
        tree["optimisation"].attrs["optimiser"] = "adam"
    return tree, gradients


def draw_many(library: ModuleType, jobs: Sequence[Job], count: int) -> list[Drawn | Exception]:
    """``count`` draws from the guide on each job's data: fitted to them one by one, or with the params that its user
    found, if these are an encoder's, which serve other data too. An error takes the place of the draws it prevents.

    Together they may take as long as one call that fits as many of the zoo's guides.

    Raises:
        ValueError: the guide has no density; or its params ignore the data, and are those of one posterior.
    """
    guide, user = guides.find(jobs[0].model, jobs[0].guide), user_model.find(jobs[0].model)
    if guide is None:
        raise ValueError(f"the guide {jobs[0].guide!r} is known only to the process that it was given to")
    deadline = time.perf_counter() + jobs[0].options.budget * max(1.0, len(jobs) / SHARE)
    results: dict[int, Drawn | Exception] = {}
    for _, data in alike(library, jobs):
        first = jobs[next(iter(data))]
        with library.prepare(user, guide, first.data.arguments(), first.fit_seed) as objective:
            sets = list(data.values())
            if points.is_point(objective):
                raise points.not_calibrated(first.guide)
            refuse_points(guide, objective, sets[0], first)
            if guide.params is not None:
                refuse_fixed(guide, objective, sets, first.fit_seed)
            for number, values in data.items():
                drawn = attempt(draw_from, guide, objective, values, jobs[number], count, deadline, number)
                results[number] = drawn
    return [results[number] for number in range(len(jobs))]


def draw_from(
    guide: guides.UserGuide, objective: Any, data: Any, job: Job, count: int, deadline: float, number: int
) -> Drawn:
    """Draws from the guide on one of many data sets.

    Raises:
        TimeoutError: the time for all of them is over.
    """
    parameters, converged = objective.start(job.fit_seed, data), None
    if guide.params is None:
        seconds = deadline - time.perf_counter()
        if seconds <= 0:
            raise TimeoutError("the time for all data sets was over before this one; give it a larger --budget")
        first = objective.first
        options = replace(job.options, budget=min(job.options.budget, seconds))
        outcome = outcome_of(guide, objective, data, options, job.fit_seed)
        objective.first = first  # the next data set's fit starts there too
        parameters, converged = outcome.parameters, outcome.converged
    rng, shape = np.random.default_rng([job.fit_seed, 5, number]), (n_rows(objective.dimension), objective.dimension)
    blocks = -(-count // shape[0])
    pieces = [objective.evaluate(parameters, rng.standard_normal(shape), data).latents for _ in range(blocks)]
    latents = {site: value[:count] for site, value in joined(pieces).items()}
    return Drawn(latents, converged)


def refuse_fixed(guide: guides.UserGuide, objective: Any, data: Sequence[Mapping[str, Any]], seed: int) -> None:
    """Raise ValueError for params with which the guide draws the same on all data: they are of one posterior."""
    draws = np.random.default_rng(seed).standard_normal((n_rows(objective.dimension), objective.dimension))
    first, *others = (objective.evaluate(objective.first, draws, values).latents for values in data[:3])
    if all(np.array_equal(first[site], other[site]) for other in others for site in first):
        raise ValueError(
            f"guide {guide.name!r} with its params is the posterior of one data set, not of others; leave the params "
            "out, and it is fitted to each"
        )


def outcome_of(guide: guides.UserGuide, objective: Any, data: Any, options: Options, seed: int) -> Outcome:
    """Where the guide ends, or where its user's params are."""
    given = objective.start(seed, data)
    if not given["flat"].size:  # without params it is its family's only member
        return Outcome(given, Gap(0.0, 0.0), True, None, 0, [(0, given)])
    spent = 0
    if objective.is_fed and not points.is_point(objective):
        objective.first, spent = beside_zeros(objective, given, data, seed)
    if guide.params is not None:
        outcome = judge_given(objective, given, data, options, seed)
    elif not objective.is_fed:
        outcome = fit_by_library(objective, data, options, seed)
    else:
        fit_guide = fit_by_adam if options.optimiser == "adam" else optimise
        outcome = fit_guide(objective, data, Family(), options, seed)
    outcome.gradients += spent
    outcome.history = [(count + spent, parameters) for count, parameters in outcome.history]
    return outcome


def beside_zeros(objective: Any, given: Parameters, data: Any, seed: int, step: float = 1e-4) -> tuple[Parameters, int]:
    """The parameters, those that are 0 moved by a tenth of what -ELBO's curvature there allows in a nat; and the
    gradient evaluations that this took.

    A guide whose factors start at 0, as a low rank's do, starts at a saddle that a noiseless optimiser would not leave.
    """
    flat, rng = given["flat"], np.random.default_rng([seed, 6])
    zeros = np.flatnonzero(flat == 0)[:MOST_MOVED]
    draws, moved = matched(rng, n_rows(objective.dimension), objective.dimension), flat.copy()
    for place in zeros:
        ends = [{"flat": flat + side * step * (np.arange(flat.size) == place)} for side in (1, -1)]
        ahead, behind = (objective.evaluate(end, draws, data).total["flat"][place] for end in ends)
        curvature = abs(ahead - behind) / (2 * step)
        if np.isfinite(curvature) and curvature > 0:
            moved[place] = 0.1 * rng.standard_normal() / np.sqrt(curvature)
    return {"flat": moved}, 2 * len(zeros) * len(draws)


def judge_given(objective: Any, given: Parameters, data: Any, options: Options, seed: int) -> Outcome:
    """How far the given params are from the best member: a copy goes on to it, and the ELBOs are compared on common
    draws, since a local estimate holds only near an optimum."""
    unknown = "how far the given params are from the optimum is not known: "
    try:
        if objective.is_fed:
            best = optimise(objective, data, Family(), options, seed)
        else:
            best = fit_by_library(objective, data, options, seed)
        copy = best if best.converged else replace(best, gap=UNKNOWN)  # what it has left is then no estimate
        gap = gap_between(objective, data, given, copy, options, seed)
    except FloatingPointError:
        gap = UNKNOWN
    if not np.isfinite(gap.value):
        refuse_not_finite(objective, given, data, seed)
        return Outcome(given, UNKNOWN, False, f"{unknown}a copy that went on to it diverged", 0, [(0, given)])
    converged = gap.upper <= options.tolerance and best.converged
    if converged and not np.isfinite(best.gap.value):  # a copy gained nothing either; that is no bound
        return Outcome(given, UNKNOWN, True, None, best.gradients, best.history, best=best.parameters)
    reason = f"the given params are {shortfall(gap, options)}: the guide's own optimum is better, train it longer"
    if not (best.converged and np.isfinite(best.gap.value)):
        stop = best.reason or "its own gap is not known"
        if np.isfinite(best.gap.value) and not best.gap.value > ERRORS * best.gap.mcse:
            stop = "it did not arrive"  # and what its reason says of its own gap is no more than noise
        if not gap.value > ERRORS * gap.mcse:
            reason = f"{unknown}a copy that went on did not improve on them beyond {ERRORS} errors ({stop})"
            return Outcome(given, UNKNOWN, False, reason, best.gradients, best.history)
        reason = f"the given params are at least {shortfall(gap, options)}, as far as a copy got ({stop})"
    why = None if converged else reason
    return Outcome(given, gap, converged, why, best.gradients, best.history, best=best.parameters)


def refuse_not_finite(objective: Any, given: Parameters, data: Any, seed: int) -> None:
    """Raise ValueError where the ELBO at the given params is not finite on the draws of `gap_between`."""
    rng, shape = np.random.default_rng([seed, 3]), (n_rows(objective.dimension), objective.dimension)
    batches = [fresh(rng, *shape) for _ in range(MOST_BATCHES)] if objective.dimension else [np.zeros((1, 0))]
    if not np.isfinite(elbos(objective, given, batches, data)).all():
        raise ValueError("params: the ELBO is not finite there; the guide draws where the model has no density")


def fit_by_library(objective: Any, data: Any, options: Options, seed: int) -> Outcome:
    """The library's SVI with Adam at a falling rate, until a round gains less than the tolerance.

    The optimisation gap is not known: what a further round gains is no bound for it.
    """
    deadline, rng = time.perf_counter() + options.budget, np.random.default_rng([seed, 4])
    before = objective.start(seed, data)
    history, gain, has_stopped = [(0, before)], Gap(np.inf, np.inf), False
    rounds = objective.rounds(seed, data, STEPS, FIRST_RATE * options.learning_rate)
    for number, parameters in zip(range(1, ROUNDS + 1), rounds, strict=False):
        if not all(np.isfinite(value).all() for value in parameters.values()):
            raise FloatingPointError("the library's SVI diverged: a param of the guide is not finite")
        gain = difference(objective, data, parameters, before, rng, BATCHES)
        history.append((number * STEPS, parameters))
        before = parameters
        has_stopped = number >= LEAST_ROUNDS and abs(gain.value) + 2 * gain.mcse <= options.tolerance
        if has_stopped or time.perf_counter() > deadline:
            break
    steps = number * STEPS
    reason = f"{steps:,} steps of the library's Adam ended while the last {STEPS:,} still changed the ELBO by "
    reason += f"{gain.value:.2g} ± {gain.mcse:.1g} nats (tolerance {options.tolerance:g}); give it a larger --budget"
    return Outcome(parameters, UNKNOWN, has_stopped, None if has_stopped else reason, steps, history)


def refuse_points(guide: guides.UserGuide, objective: Any, data: Any, job: Job) -> None:
    """Raise ValueError for a guide with a latent that has only a few values, as dropout's: it has no density, and its
    ELBO is no bound. A guide that is nothing but one point is the mode's, and is judged as that."""
    if points.is_point(objective):
        return
    shape = n_rows(objective.dimension), objective.dimension
    draws = np.random.default_rng(job.fit_seed).standard_normal(shape)
    latents = objective.evaluate(objective.start(job.fit_seed, data), draws, data).latents
    for site, index in job.layout.reported_elements:
        if site not in job.layout.latents:
            continue
        values = latents[site][(slice(None), *index)]
        if len(np.unique(values)) <= len(values) // 2:
            raise guides.no_density(guide.name, f"site {site!r}")


def refuse_other_density(guide: guides.UserGuide, objective: Any, log_joint: Any, data: Any, job: Job) -> None:
    """Raise ValueError for a guide that counts another density than that of what it draws: its ELBO is no bound.

    Where as many standard normals u feed it as its latents z have elements, log q(z) is log N(u) - log |det dz/du|.
    """
    sites, size, rows = job.layout.latents, objective.dimension, n_rows(objective.dimension)
    elements = sum(math.prod(shape) for shape in sites.values())
    if not objective.is_fed or objective.is_scaled or elements != size or rows < 2 * size + 1:
        return
    draws = np.tile(np.random.default_rng([job.fit_seed, 8]).standard_normal(size), (rows, 1))
    draws[1 : size + 1] += STEP * np.eye(size)
    draws[size + 1 : 2 * size + 1] -= STEP * np.eye(size)
    drawn = objective.evaluate(objective.start(job.fit_seed, data), draws, data)
    z = np.hstack([np.reshape(drawn.latents[site], (rows, -1)) for site in sites])
    _, log_det = np.linalg.slogdet((z[1 : size + 1] - z[size + 1 : 2 * size + 1]) / (2 * STEP))
    counted = float(np.add(*log_joint(drawn.latents, data))[0] - drawn.log_ratio[0])
    true = float(stats.norm.logpdf(draws[0]).sum() - log_det)
    if np.isfinite(counted) and not abs(counted - true) <= ROUNDING:
        raise ValueError(
            f"guide {guide.name!r} counts log q = {counted:.4g} nats for a draw whose log density is {true:.4g}: its "
            "ELBO is no bound; give a latent that is computed from a draw its Jacobian: "
            "Delta(loc + scale * eps, log_density=-log(scale).sum())"
        )
