"""Measuring the optimisation gap of fits on their way, with as few gradients as decide what to do next."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compare.fit.svi.draws import fresh, matched
from compare.fit.svi.ensemble import FEW, UNKNOWN, Ensemble, State
from compare.fit.svi.gap import estimate, lanczos, raw

CLOSE = 0.5
"""Nats within which the ELBO is taken to be a quadratic, where one Newton step is enough."""


def add_gradients(fits: Ensemble, states: Sequence[State], batches: int) -> None:
    """Add the path gradients of this number of fresh ``batches``."""
    for _ in range(batches if states else 0):
        if fits.is_late() and all(len(state.gradients) >= 4 for state in states):
            return
        x = np.stack([state.x for state in states])
        values, _, path = fits.slopes(states, x, fits.draw(fresh, states))
        for state, value, gradient in zip(states, values, path, strict=True):
            state.gradients.append(gradient)
            state.floor = 1e-12 * (1 + abs(value))


def double_gradients(fits: Ensemble, states: Sequence[State]) -> None:
    """Double the batches of each fit."""
    for count in sorted({len(state.gradients) for state in states}):
        add_gradients(fits, [state for state in states if len(state.gradients) == count], count)


def measure_metrics(fits: Ensemble, states: Sequence[State], step: float = 1e-3) -> None:
    """The metric around the mean gradients, from differences of gradients at fixed draws, where it is not known yet."""
    states = [state for state in states if state.metric is None and state.is_finite]
    if not states:
        return
    batches = [fits.draw(matched, states) for _ in range(max(state.batches for state in states))]
    x = np.stack([state.x for state in states])

    def slope(x: np.ndarray) -> np.ndarray:
        return np.mean([fits.slopes(states, x, draws)[1] for draws in batches], axis=0)

    here = slope(x)

    def hessian_product(directions: np.ndarray) -> np.ndarray:
        return (slope(x + step * directions) - here) / step

    mean = np.stack([state.mean for state in states])
    mean[0.5 * np.sum(mean**2, axis=1) <= [state.floor for state in states]] = 0.0  # there is nothing to correct
    for state, metric in zip(states, lanczos(hessian_product, mean), strict=True):
        state.metric = metric


def set_gap(state: State) -> None:
    state.gap = estimate(np.stack(state.gradients), state.metric, state.floor) if state.is_finite else UNKNOWN


def measure_gaps(fits: Ensemble, states: Sequence[State], enough: float) -> None:
    """The optimisation gap of each, from as many batches as it takes to know what to do next."""
    add_gradients(fits, states, FEW // 2)
    undecided = [state for state in states if not state.is_beyond(enough)]
    add_gradients(fits, undecided, FEW // 2)
    while undecided:
        measure_metrics(fits, undecided)
        for state in undecided:
            set_gap(state)
        # Where the gap drowns in its error, moving on would not help: more draws do.
        undecided = [
            state
            for state in undecided
            if state.gap.upper > enough and state.is_near_optimum
            and state.may_double and state.gap.value < state.gap_after_step and not fits.is_late()
        ]  # fmt: skip
        double_gradients(fits, undecided)


def near_the_optimum(fits: Ensemble, states: Sequence[State]) -> list[State]:
    """The fits that a Newton step takes to the optimum, with gradients and metrics good enough for it."""
    measured = [state for state in states if state.gradients and state.is_finite]
    near = [state for state in measured if raw(np.stack(state.gradients)).value < CLOSE]
    add_gradients(fits, [state for state in near if len(state.gradients) < FEW], FEW // 2)
    measure_metrics(fits, near)
    close = [state for state in near if state.is_near_optimum]
    sharpen(fits, close)
    return [state for state in close if state.is_near_optimum]


def sharpen(fits: Ensemble, states: Sequence[State]) -> None:
    """More gradients, until a Newton step would leave at most a quarter of the tolerance, or a 40th of the gap."""

    def needs_more(state: State) -> bool:
        return state.gap_after_step > max(fits.tolerance, state.gap.value / 10) / 4

    sharper = states = [state for state in states if needs_more(state)]
    while states := [state for state in states if needs_more(state) and state.may_double and not fits.is_late()]:
        double_gradients(fits, states)
    for state in sharper:  # the step is as good as the metric around this mean, not around the one before
        state.metric = None
    measure_metrics(fits, sharper)
