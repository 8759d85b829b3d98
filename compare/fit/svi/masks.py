"""Guides without a density, points under random masks such as dropout: maximise E_q[log p(x, z)], which is no bound.

Few masks are all enumerated: the objective has no Monte Carlo error, nor has its gap, Newton's decrement. Of more masks
as many are drawn once, and four times as many where fresh ones show that the gap is not within the tolerance.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import optimize

from compare.fit.svi.draws import normal_points
from compare.fit.svi.ensemble import UNKNOWN, Outcome
from compare.fit.svi.fitter import shortfall
from compare.fit.svi.gap import Gap, raw
from compare.fit.svi.protocol import Objective
from compare.options import Options

ENUMERATED = 8
"""Elements of the masks up to which all of them are enumerated."""

SURE = 40.0
"""A standard normal that keeps an element when it is minus this, and drops it when it is this."""

FIRST, MOST = 1024, 65_536
"""Masks that are drawn at first and at most."""

TOGETHER = {True: 64, False: 1024}
"""Masks in one call, by whether they have weights of their own."""

FRESH = 16
"""Batches of fresh masks that a gap is measured with."""

SINGULAR = 1e-12
"""The smallest curvature, in units of the largest, with which a point is an optimum."""

LARGEST_HESSIAN = 250
"""Parameters beyond which the Hessian is not formed, and the gap is not known."""


class Average:
    """Minus the mean of log p(x, z) over masks, as a function of the guide's parameters, shape (size,).

    Args:
        objective: The guide's.
        data: In the library's own form.
        draws: The standard normals that the masks are made of, shape (masks, elements).
        weights: The masks' probabilities, shape (masks,); None where all are alike.

    Attributes:
        gradients: The gradient evaluations so far.
    """

    def __init__(self, objective: Objective, data: Any, draws: np.ndarray, weights: np.ndarray | None = None) -> None:
        self.objective, self.data, self.draws, self.weights = objective, data, draws, weights
        self.size, self.gradients = min(len(draws), TOGETHER[weights is not None]), 0
        if weights is not None:
            self.copies = {name: np.stack([np.asarray(value)] * self.size) for name, value in data.items()}

    def __call__(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """In nats, and its gradient."""
        value, slope = 0.0, np.zeros_like(x)
        self.gradients += len(self.draws)
        for begin in range(0, len(self.draws), self.size):
            part = slice(begin, begin + self.size)
            if self.weights is None:
                at = self.objective.evaluate({"flat": x}, self.draws[part], self.data)
                share = self.size / len(self.draws)
                value, slope = value - share * at.log_ratio.mean(), slope + share * at.total["flat"]
            else:  # each mask is a fit of its own, so that its gradient can be weighed
                many = {"flat": np.tile(x, (self.size, 1))}
                at = self.objective.evaluate(many, self.draws[part, None, :], self.copies)
                weights = self.weights[part]
                value, slope = value - weights @ at.log_ratio[:, 0], slope + weights @ at.total["flat"]
        return float(value), slope

    def hessian(self, x: np.ndarray) -> np.ndarray:
        """By central differences of the gradient, shape (size, size)."""
        steps = np.diag(1e-5 * np.maximum(1.0, np.abs(x)))
        rows = [(self(x + step)[1] - self(x - step)[1]) / (2 * step.max()) for step in steps]
        return (np.array(rows) + np.transpose(rows)) / 2


def enumerate_masks(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All masks of elements that are 1 with these probabilities, and their probabilities.

    Returns:
        Zeros and ones, shape (2^elements, elements), and shape (2^elements,).
    """
    masks = np.array(list(itertools.product((1.0, 0.0), repeat=len(probabilities))))
    return masks, np.where(masks == 1, probabilities, 1 - probabilities).prod(axis=1)


def fit_all(objective: Objective, data: Sequence[Any], options: Options, seeds: Sequence[int]) -> list[Outcome]:
    """Fit the guide to every data set, one seed each, within one budget."""
    deadline = time.perf_counter() + options.budget
    fit = fit_exactly if len(objective.mask_probabilities) <= ENUMERATED else fit_by_draws
    return [fit(objective, values, options, seed, deadline) for values, seed in zip(data, seeds, strict=True)]


def descend(average: Average, outcome: Outcome, deadline: float) -> bool:
    """Minimise, from where the outcome is, and note the way; whether the time ran out."""
    is_late, before = False, outcome.gradients

    def note(intermediate_result: optimize.OptimizeResult) -> None:
        nonlocal is_late
        outcome.history.append((before + average.gradients, {"flat": intermediate_result.x.copy()}))
        is_late = time.perf_counter() > deadline
        if is_late:
            raise StopIteration

    def finite(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = average(x)
        return (value, slope) if np.isfinite(value) and np.isfinite(slope).all() else (1e300, np.zeros_like(x))

    limits = {"maxiter": 2000, "maxfun": 20_000, "ftol": 1e-15, "gtol": 1e-7}
    result = optimize.minimize(
        finite, outcome.parameters["flat"], jac=True, method="L-BFGS-B", callback=note, options=limits
    )
    outcome.parameters = {"flat": result.x}
    return is_late


def begin(objective: Objective, data: Any, seed: int) -> Outcome:
    start = objective.start(seed, data)
    return Outcome(start, UNKNOWN, False, None, 0, [(0, start)])


def fit_exactly(objective: Objective, data: Any, options: Options, seed: int, deadline: float) -> Outcome:
    """Fit by all masks; the outcome's ``objective`` is exact."""
    outcome = begin(objective, data, seed)
    masks, weights = enumerate_masks(objective.mask_probabilities)
    average = Average(objective, data, np.where(masks == 1, -SURE, SURE), weights)
    is_late = descend(average, outcome, deadline)
    value, slope = average(outcome.parameters["flat"])
    if not np.isfinite(value):
        outcome.failed, outcome.reason = True, "E_q[log p(x, z)] is not finite where the guide starts"
        return outcome
    outcome.objective = Gap(-value, 0.0)
    root = inverse_root(average, outcome.parameters["flat"])
    outcome.gap = UNKNOWN if root is None else Gap(0.5 * float(np.sum((slope @ root) ** 2)), 0.0)
    outcome.gradients = average.gradients
    return settle(outcome, options, is_late)


def fit_by_draws(objective: Objective, data: Any, options: Options, seed: int, deadline: float) -> Outcome:
    """Fit by as many masks as the tolerance asks for, or the budget allows."""
    outcome, count, is_late = begin(objective, data, seed), FIRST, False
    rng, elements = np.random.default_rng(seed), len(objective.mask_probabilities)
    while True:
        average = Average(objective, data, normal_points(rng, count, elements))
        is_late = descend(average, outcome, deadline)
        x = outcome.parameters["flat"]
        if not np.isfinite(average(x)[0]):
            outcome.failed, outcome.reason = True, "E_q[log p(x, z)] is not finite where the guide starts"
            return outcome
        root = None if len(x) > LARGEST_HESSIAN else inverse_root(average, x)
        outcome.gap, outcome.gradients = UNKNOWN, outcome.gradients + average.gradients
        if root is not None:
            batches = [Average(objective, data, normal_points(rng, FIRST, elements)) for _ in range(FRESH)]
            outcome.gap = raw(np.stack([batch(x)[1] @ root for batch in batches]))
            outcome.gradients += sum(batch.gradients for batch in batches)
        if root is None or outcome.gap.upper <= options.tolerance or is_late or count >= MOST:
            return settle(outcome, options, is_late)
        count *= 4


def inverse_root(average: Average, x: np.ndarray) -> np.ndarray | None:
    """R with R R' = H^-1, H the Hessian; None where H is not positive or not finite, away from an optimum."""
    hessian = average.hessian(x)
    if not np.isfinite(hessian).all():
        return None
    values, vectors = np.linalg.eigh(hessian)
    if values[0] <= SINGULAR * values[-1]:
        return None
    return vectors / np.sqrt(values)


def settle(outcome: Outcome, options: Options, is_late: bool) -> Outcome:
    """Say whether the outcome has converged, and why not."""
    outcome.converged = outcome.gap.upper <= options.tolerance
    if not outcome.converged:
        gap, size = outcome.gap, len(outcome.parameters["flat"])
        short = shortfall(gap, options)
        if not np.isfinite(gap.value):
            short = "at a saddle or beyond one, where the gap is not known"
            if size > LARGEST_HESSIAN:
                short = f"where the gap is not known, since {size} parameters are more than {LARGEST_HESSIAN}"
        end = f"its budget of {options.budget:g} s ended" if is_late else "the fit ended"
        outcome.reason = f"{end} {short}; give it a larger --budget or --tolerance, or another --seed"
    return outcome
