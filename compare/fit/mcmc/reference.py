"""A reference: a long NUTS run with what it knows of the evidence and of modes that it has missed.

Where its chains diverge and time is left, NUTS runs once more, in the coordinates of a flow (Hoffman et al. 2019,
"NeuTra-lizing bad geometry"). A flow makes draws near the posterior's of standard normals eps: z = f(eps). Seen from
there,

    log p(x, f(eps)) + log |det f'(eps)| = log p(x, z) - log q(z) + log N(eps; 0, I),

the posterior is nearly normal itself, and chains take long steps in a funnel or a horseshoe. A flow that fits badly
makes for short steps, not for wrong draws.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from types import ModuleType

import numpy as np
import xarray as xr

import guides
from compare import registry, standard_errors, user_model
from compare.comparison import Job, TooSlow
from compare.fit.mcmc.nuts import Adaptation, sample
from compare.fit.reference.evidence import draws_of, with_evidence
from compare.fit.reference.missed import with_missed_modes
from compare.fit.reference.tails import with_missed_tails
from compare.fit.svi import svi
from compare.messages import one_line
from compare.user_model.unconstrained import Unconstrained
from models.contract import Latents, Reference

__all__ = ["agree", "fit"]

FAMILY = "flow"

ACCEPTANCE = 0.98
"""The rate that step sizes are adapted to in a flow's coordinates."""

FIRST, FLOW = 0.3, 0.5
"""Share of the budget that chains which diverge may take, and the share of what is left that a flow's fit may take."""

LEAST = 0.25
"""Share of the budget that must be left for a flow to be tried."""

MOST_DIVERGED = 0.01
"""Share of transitions that may diverge in a flow's coordinates, if chains in the model's own agree with these."""

ERRORS, HIDDEN = 4, 0.2
"""Two runs agree if every difference plus that many of its standard errors stays within `HIDDEN` sds, twice what
verdicts tolerate: runs that are too short do not agree."""


def fit(library: ModuleType, job: Job) -> tuple[xr.DataTree, int]:
    """Sample the job's posterior by the program of the twin that mixes best: the tree, and the leapfrog steps.

    Raises:
        ValueError: the posterior is known exactly.
        TimeoutError: the warm-up does not end within the budget.
    """
    way = registry.load(job.model).truth(job.data)
    if not isinstance(way, Reference):
        raise ValueError(f"the posterior of {job.model} is known exactly on these data: no reference is made")
    complete, rng, options = way.complete, np.random.default_rng([job.fit_seed, 1]), job.options
    begin, budget = time.perf_counter(), options.reference_budget
    patient = replace(job, options=replace(options, ess=options.reference_ess, warmup=options.reference_warmup))
    spare = (1 - FIRST) * budget if has_flow(job) else 0.0

    def completed(sampled: Latents) -> Mapping[str, np.ndarray]:
        latents = {name: sampled[name] for name in job.layout.latents if name in sampled}
        return complete(job.data, latents, rng) if complete else latents

    adaptation = Adaptation(way.acceptance)
    try:
        tree, n_steps = sample(
            library, with_budget(patient, budget), way.program, completed, adaptation, spare_if_diverged=spare
        )
    except TimeoutError as error:
        raise type(error)(str(error).replace("--budget", "--reference-budget")) from None
    left = budget - (time.perf_counter() - begin)
    if spare and diverged(tree) and left > LEAST * budget and "stay apart" not in tree.attrs["reason"]:
        tree, more = again(library, with_budget(patient, left), tree)
        n_steps += more
    return with_missed_tails(job, with_missed_modes(job, with_evidence(job, tree))), n_steps


def has_flow(job: Job) -> bool:
    """Whether a flow can stand in for the coordinates of a user's model."""
    return user_model.knows(job.model) and 1 < job.layout.dimension <= guides.load(FAMILY).largest_dimension


def with_budget(job: Job, seconds: float) -> Job:
    return replace(job, options=replace(job.options, budget=seconds))


def diverged(tree: xr.DataTree) -> float:
    """The share of a tree's transitions that diverged."""
    return float(tree["sample_stats"]["diverging"].mean())


def count_of(flags: np.ndarray) -> str:
    return f"{int(flags.sum()):,} of {flags.size:,}"


def again(library: ModuleType, job: Job, tree: xr.DataTree) -> tuple[xr.DataTree, int]:
    """Chains in the coordinates of a flow, if they mix and diverge less, else the first ones; and what they took.

    The attribute ``ran_elsewhere`` says so, or why there are none. Where a few of them diverge all the same,
    ``confirmed`` says that the first ones, which diverged elsewhere, agree with them; it is absent where they do not.
    """
    begin, budget, spent = time.perf_counter(), job.options.budget, 0
    try:
        program, complete, spent = in_coordinates_of_a_flow(library, with_budget(job, FLOW * budget))
        left = budget - (time.perf_counter() - begin)
        bent, n_steps = sample(library, with_budget(job, left), program, complete, Adaptation(ACCEPTANCE))
    except Exception as error:  # a second run that cannot be made costs nobody the first
        reason = one_line(error, bare=True)
        if isinstance(error, TimeoutError) and not isinstance(error, TooSlow):
            reason = f"they were still warming up when --reference-budget ended, {left:.0f} s after the flow was fitted"
        tree.attrs["ran_elsewhere"] = f"The reference's chains diverged, and in the coordinates of a flow: {reason}"
        return tree, spent
    spent += n_steps
    if not bent.attrs["targets_met"] or diverged(bent) >= diverged(tree):
        reason = bent.attrs["reason"] or f"{diverged(bent):.1%} of the transitions diverged"
        tree.attrs["ran_elsewhere"] = f"The reference's chains diverged, and in the coordinates of a flow {reason}"
        return tree, spent
    own, there = (count_of(which["sample_stats"]["diverging"].to_numpy()) for which in (tree, bent))
    same = agree(job, tree, bent)
    bent.attrs["ran_elsewhere"] = (
        f"The reference's chains ran in the coordinates of a flow: in the model's own {own} transitions diverged"
        + ("" if same else f", and means or sds there differ, or may, by {HIDDEN:g} sd")
    )
    if 0 < diverged(bent) <= MOST_DIVERGED and same:
        bent.attrs["confirmed"] = (
            f"{there} transitions diverged in the coordinates of a flow and {own} in the model's own, and the two runs "
            f"agree in every mean and sd to {HIDDEN:g} sd"
        )
    return bent, spent


def in_coordinates_of_a_flow(
    library: ModuleType, job: Job
) -> tuple[Callable[..., None], Callable[[Latents], Latents], int]:
    """A program of a fitted flow's standard normals, what makes latents of its draws, and the fit's gradients."""
    side = import_module(f"compare.fit.svi.objective_{job.library}")
    data, static = library.split_arguments(job.data.arguments())
    prepare = svi.preparation(side, job, static, data)
    (outcome,) = svi.fit_guides([replace(job, method="svi", guide=FAMILY)], prepare, [data])
    if isinstance(outcome, Exception):
        raise outcome
    objective, parameters = prepare(FAMILY), outcome.parameters

    def latents(sampled: Latents) -> Latents:
        return objective.evaluate(parameters, sampled[library.BASE], data).latents

    return library.in_coordinates_of(objective, parameters), latents, outcome.gradients


def agree(job: Job, left: xr.DataTree, right: xr.DataTree) -> bool:
    """Whether two runs have the same means and sds of all unconstrained latents, to `HIDDEN` sds."""
    space = Unconstrained(user_model.find(job.model), job.data.values, job.layout, 1, job.fit_seed)
    with np.errstate(invalid="ignore"):  # draws at the edge of a support are not finite: nothing is known then
        mine, theirs = (moments(space, job, tree) for tree in (left, right))
        apart, error = np.abs(mine[0] - theirs[0]), np.hypot(mine[1], theirs[1])
        sds = np.tile(theirs[0, len(apart) // 2 :], 2)
        return bool(np.all(apart + ERRORS * error < HIDDEN * sds))


def moments(space: Unconstrained, job: Job, tree: xr.DataTree) -> np.ndarray:
    """The means of all unconstrained latents and then their sds, and the standard errors of all, shape (2, 2 d)."""
    draws = np.moveaxis(draws_of(space, job, tree), -1, 0)
    means = [(z.mean(), standard_errors.of_mean(z)) for z in draws]
    sds = [(z.std(ddof=1), standard_errors.of_sd(z)) for z in draws]
    return np.array([*means, *sds]).T
