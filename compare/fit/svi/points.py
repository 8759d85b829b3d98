"""Guides that are a single point: its climb to a maximum of log p(x, z), in the latents' own space.

The point moves in the unconstrained space of its params, and the density there has no Jacobian: a maximum is what
both libraries' AutoDelta looks for. Its gap is Newton's decrement, without any Monte Carlo error.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from scipy import optimize
from scipy.sparse.linalg import LinearOperator, cg

from compare.comparison import Job
from compare.fit.svi.ensemble import UNKNOWN, Outcome
from compare.fit.svi.gap import Gap
from compare.fit.svi.laplace import laplace
from compare.fit.svi.protocol import DENSE, Density, Objective
from compare.fit.svi.surface import NO_DRAWS, Late, Surface, is_remote, no_maximum
from compare.fit.tree import Draws, how_many
from compare.options import Options
from guides.contract import Curvature

RISING = 1.0
"""Nats gained by the last climb above which the density may rise on, and a Newton step's promise that is believed."""

FLAT = 1e-4
"""The slope at the edge of the support, in nats for a factor of e, below which the maximum lies there."""

REMOTE = 40.0
"""How far out in its unconstrained space a param is at the edge of its support, short of underflow."""

ATTEMPTS, PUSH = 3, 0.01
"""Climbs at most, and the sd of the push between them, in unconstrained params."""

PRODUCTS, STEPS = 200, 8
"""Products with the Hessian in a Newton step of a long model, and such steps."""

ENOUGH = 1e-7
"""Nats from the maximum at which a long model's Newton steps end."""


def is_point(objective: Objective) -> bool:
    """Whether the guide draws nothing."""
    return objective.dimension == 0


def fit_all(objective: Objective, data: Sequence[Any], options: Options, seeds: Sequence[int]) -> list[Outcome]:
    """Fit the point to every data set, one seed each, within one budget."""
    deadline = time.perf_counter() + options.budget
    return [
        fit_point(Surface(objective, values, objective.start(seed, values), deadline), options, seed)
        for values, seed in zip(data, seeds, strict=True)
    ]


def fit_point(surface: Surface, options: Options, seed: int) -> Outcome:
    """Climb from the start; the outcome has failed where the density has no maximum."""
    x, gap, is_late, lost = surface.highest[1], UNKNOWN, False, ""
    try:
        x, gap, lost = climb(surface, options.tolerance, np.random.default_rng([seed, 7]))
    except Late:
        is_late, x = True, surface.highest[1]
    here = {"flat": x}
    surface.history.append((surface.gradients, here))
    outcome = Outcome(here, gap, gap.upper <= options.tolerance, lost or None, surface.gradients, surface.history)
    outcome.failed = bool(lost)
    if not outcome.converged and not lost:
        outcome.reason = f"the climb ended {gap.value:.2g} nats below the mode (tolerance {options.tolerance:g})"
        if not np.isfinite(gap.value):
            outcome.reason = "the climb ended where its distance to the mode is not known, as at a kink or on a ridge"
        if surface.gained > RISING:
            outcome.reason = f"the last climb still gained {surface.gained:.3g} nats: there may be no maximum"
        if is_late:
            outcome.reason = f"its budget of {options.budget:g} s ended on the way to the mode"
        outcome.reason += "; give it a larger --budget, or another --seed"
    return outcome


def climb(surface: Surface, tolerance: float, rng: np.random.Generator) -> tuple[np.ndarray, Gap, str]:
    """Where the climb ends, how far below the maximum, and why there is none; empty where there may be.

    From a saddle, or where whitened coordinates did not help, plain ones and a small push lead on.
    """
    x, gap = surface.highest[1], UNKNOWN
    for _ in range(ATTEMPTS):
        before = surface.highest[0]
        (mode,) = laplace(surface.many, surface.precisions, x[None])
        if isinstance(mode, FloatingPointError):
            return x, gap, str(mode)
        if isinstance(mode, Curvature):
            x, gap = settle(surface, mode)
        else:
            x, gap = at_edge(surface)
            if gap.upper > tolerance and is_remote(surface):
                return x, gap, no_maximum(surface)
        if gap.upper <= tolerance and surface.is_top(x, rng):
            return x, gap, ""
        pushed = x + PUSH * rng.standard_normal(x.shape)
        limits = {"maxiter": 1000, "ftol": 1e-15, "gtol": 1e-9}
        x = optimize.minimize(surface.downhill, pushed, jac=True, method="L-BFGS-B", options=limits).x
        if x.size > DENSE:  # a band of the curvature said too little
            x, gap = ascend(surface, x, None)
            if gap.upper <= tolerance and surface.is_top(x, rng):
                return x, gap, ""
        surface.gained = surface.highest[0] - before
    if is_remote(surface):
        return x, gap, no_maximum(surface)
    is_known = gap.value <= RISING and surface.is_top(x, rng)  # climbs did not gain what a longer Newton step promises
    return x, gap if is_known else UNKNOWN, ""


def at_edge(surface: Surface) -> tuple[np.ndarray, Gap]:
    """A point near the highest and how far it is below the maximum, where that is approached at the support's edge.

    Along a transform the slope then falls exponentially, and is what is left to gain. Where the density has no maximum
    the slope stays what it is, until the latents underflow: it is looked at before they do. A real latent may be as far
    out as that; there the density falls on both sides.
    """
    value, x = surface.highest
    near, height = x.copy(), value
    for j in np.flatnonzero(np.abs(x) > REMOTE):
        inside, outside = near.copy(), near.copy()
        inside[j], outside[j] = np.copysign(REMOTE, x[j]), 2 * x[j]
        lower, _ = surface.at(inside)
        if lower > height - FLAT:
            near, height = inside, lower
        elif not surface.at(outside)[0] < height - FLAT:
            return x, UNKNOWN
    height, slope = surface.at(near)
    left = max(float(np.abs(slope).sum()), value - height)
    return (near, Gap(left, 0.0)) if left < FLAT else (x, UNKNOWN)


def settle(surface: Surface, mode: Curvature) -> tuple[np.ndarray, Gap]:
    """Where a climb ended, and how far below the maximum it is; for long models, whose curvature is a rough one, after
    Newton steps."""
    if mode.banded:
        size = mode.location.size
        return ascend(surface, mode.location, LinearOperator((size, size), lambda r: mode.colour(mode.whiten(r))))
    _, slope = surface.at(mode.location)
    return mode.location, Gap(0.5 * float(np.sum(mode.whiten(slope) ** 2)), 0.0)


def ascend(surface: Surface, x: np.ndarray, inverse: LinearOperator | None) -> tuple[np.ndarray, Gap]:
    """Newton steps by conjugate gradients: where they end, and how far below the maximum.

    Args:
        surface: What is climbed.
        x: Where to begin, shape (size,).
        inverse: Roughly the inverse of minus the Hessian.
    """
    gap, (value, slope) = UNKNOWN, surface.at(x)
    for _ in range(STEPS):
        step, is_solved = newton(surface, x, slope, inverse)
        if not is_solved:
            return x, gap
        gap = Gap(0.5 * float(slope @ step), 0.0)
        ahead, next_slope = surface.at(x + step)
        if gap.value < ENOUGH or not ahead > value:
            break
        x, value, slope = x + step, ahead, next_slope
    return x, gap


def newton(
    surface: Surface, x: np.ndarray, slope: np.ndarray, inverse: LinearOperator | None
) -> tuple[np.ndarray, bool]:
    """Newton's step, and whether it is known: minus the Hessian is positive along all that was seen of it."""
    is_positive = True

    def product(direction: np.ndarray) -> np.ndarray:
        nonlocal is_positive
        direction = np.ravel(direction)
        length = float(np.linalg.norm(direction))
        if not length > 0:
            return direction
        image = surface.product(x, direction, 1e-4 * max(1.0, float(np.abs(x).max())) / length)
        is_positive &= bool(direction @ image > 0)
        return image

    if not np.any(slope):
        return np.zeros_like(x), True
    step, unsolved = cg(LinearOperator((x.size, x.size), product), slope, rtol=1e-3, maxiter=PRODUCTS, M=inverse)
    return step, is_positive and not unsolved and bool(np.isfinite(step).all())


def tree_of(job: Job, outcome: Outcome, objective: Objective, density: Density, data: Any) -> xr.DataTree:
    """The point as a tree: as many draws as another guide has, all equal, without a ``log_guide``.

    Its objective is log p(x, z), known without error.
    """
    drawn, draws = objective.evaluate(outcome.parameters, NO_DRAWS, data), Draws(job)
    log_prior, log_likelihood = density(drawn.latents, data)
    count = how_many(job.options.draws, sum(value[0].size for value in drawn.latents.values()))
    latents = {site: np.repeat(np.asarray(value)[:1], count, axis=0) for site, value in drawn.latents.items()}
    draws.add(latents, np.repeat(log_prior[:1], count), np.repeat(log_likelihood[:1], count), None)
    spent, points = zip(*outcome.looks(), strict=True)
    values = np.array([objective.evaluate(point, NO_DRAWS, data).log_ratio[0] for point in points])
    way = {"gradients": np.array(spent), "elbo": values, "elbo_mcse": np.zeros(len(values))}
    value = {"objective": float(drawn.log_ratio[0]), "objective_mcse": 0.0}
    return draws.tree(way, outcome.ending(job.options) | value)


def not_calibrated(guide: str | None) -> ValueError:
    """The error for a calibration of a point."""
    return ValueError(f"{guide} is a single point: it has no intervals that could hold the true value")
