"""Fits of families that bend a Gaussian, as flows do: from the best Gaussian on, by Adam with many draws a step.

Their ELBO has flat directions and several optima, so no curvature tells how far the best member is: what is said is
what the last rounds gained, at fresh draws. Fixed draws would be learnt by heart, for there are as many weights.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

import guides
from compare.fit.svi.draws import fresh
from compare.fit.svi.elbo import difference
from compare.fit.svi.ensemble import UNKNOWN, Outcome
from compare.fit.svi.gap import Gap
from compare.fit.svi.protocol import Objective
from compare.options import Options
from guides.contract import Coordinates, Family, Parameters

FitBest = Callable[[Objective, Any, Family, Options, int], Outcome]
"""A fit of a family's best member: objective, data, family, options and seed in."""

ROUGH = 0.1
"""Nats from the best Gaussian within which it is good enough to start from."""

STEPS, ROWS = 250, 1024
"""Adam's steps in a round, and draws in each."""

FIRST_RATE = 0.01
"""The first round's learning rate. A round that gains less than the tolerance halves it."""

QUIET = 4
"""Rounds in a row that must change the ELBO by less than the tolerance, each at half of the last one's rate."""

BATCHES = 32
"""Batches of draws that a round's gain is measured with."""

DECAYS = 0.9, 0.999
"""Adam's decay rates of the gradient's mean and square (Kingma & Ba 2015, algorithm 1)."""


def fit_in_stages(
    fit_gaussian: FitBest,
    gaussian: Objective,
    objective: Objective,
    data: Any,
    family: Family,
    options: Options,
    seed: int,
) -> Outcome:
    """Fit the Gaussian that the family bends, and go on from there; the budget is that of both."""
    begin, smaller = time.perf_counter(), guides.load(str(family.bends))
    rough = replace(options, tolerance=max(options.tolerance, ROUGH), budget=options.budget / 3)
    start = fit_gaussian(gaussian, data, smaller, rough, seed)
    options = replace(options, budget=options.budget - (time.perf_counter() - begin))
    return fit_by_bending(objective, data, family, start, options, seed)


def fit_by_bending(
    objective: Objective, data: Any, family: Family, start: Outcome, options: Options, seed: int
) -> Outcome:
    """Go on from a Gaussian until rounds stop gaining; a round that lost is dropped.

    The optimisation gap is not known: what further rounds gain is no bound for it.
    """
    deadline, rng = time.perf_counter() + options.budget, np.random.default_rng([seed, 7])
    coordinates: Coordinates = family.preconditioner(start.parameters)
    x, spent, rate, quiet, gain = np.zeros(coordinates.size), start.gradients, FIRST_RATE, 0, UNKNOWN
    history = [(count, lifted(family, parameters)) for count, parameters in start.history]
    while quiet < QUIET and time.perf_counter() < deadline:
        ahead, steps = run_round(objective, data, coordinates, x, rate, rng, deadline)
        spent += steps * ROWS
        there = coordinates.parameters(ahead)
        gain = difference(objective, data, there, coordinates.parameters(x), rng, BATCHES)
        is_quiet = steps == STEPS and abs(gain.value) + 2 * gain.mcse <= options.tolerance
        quiet = quiet + 1 if is_quiet else 0
        rate = rate if gain.value > options.tolerance else rate / 2
        if gain.value > 0:
            x = ahead
            history.append((spent, there))
    converged = quiet == QUIET
    return Outcome(
        coordinates.parameters(x), UNKNOWN, converged, None if converged else complaint(gain, options), spent, history
    )


def lifted(family: Family, gaussian: Parameters) -> Parameters:
    """A Gaussian's parameters as the family's."""
    coordinates = family.preconditioner(gaussian)
    return coordinates.parameters(np.zeros(coordinates.size))


def run_round(
    objective: Objective,
    data: Any,
    coordinates: Coordinates,
    x: np.ndarray,
    rate: float,
    rng: np.random.Generator,
    deadline: float,
) -> tuple[np.ndarray, int]:
    """Where a round from x ends, the mean over its later half, and its steps; the last step where it is cut short.

    A gradient that is not finite counts as 0.
    """
    mean, square, late = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)
    for step in range(1, STEPS + 1):
        if time.perf_counter() > deadline:
            return x, step - 1
        draws = fresh(rng, ROWS, objective.dimension)
        slope = coordinates.pullback(x, objective.evaluate(coordinates.parameters(x), draws, data).total)
        slope = slope if np.isfinite(slope).all() else np.zeros_like(x)
        mean = DECAYS[0] * mean + (1 - DECAYS[0]) * slope
        square = DECAYS[1] * square + (1 - DECAYS[1]) * slope**2
        size = np.sqrt(square / (1 - DECAYS[1] ** step)) + 1e-8
        x = x - rate * mean / (1 - DECAYS[0] ** step) / size
        late += x if 2 * step > STEPS else 0.0
    return late / (STEPS - STEPS // 2), STEPS


def complaint(gain: Gap, options: Options) -> str:
    """Why the fit is not converged, and what to do about it."""
    if gain is UNKNOWN:
        return "its budget was spent on the Gaussian that it starts from; give it a larger --budget"
    if not np.isfinite(gain.value):
        return "its ELBO is not finite: the guide draws where the model has no density"
    return (
        f"its budget ended before {QUIET} rounds in a row were quiet; give it a larger --budget (the last changed the "
        f"ELBO by {gain.value:.2g} ± {gain.mcse:.1g} nats; quiet is less than {options.tolerance:g})"
    )
