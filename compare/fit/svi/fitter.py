"""Fits of one guide to data sets of the same shapes, side by side.

Each reaches the optimum, stops by itself, and says how far from it it is.

1. Start from the Laplace approximation where the family is Gaussian, else from where the guide starts.
2. Measure the optimisation gap with fresh draws. Within the tolerance: done.
3. Far from the optimum: descend. With fixed, moment-matched draws -ELBO is a smooth deterministic function (Giordano,
   Ingram & Broderick 2024), tilted so that its minimum is where the path gradient vanishes (Roeder, Wu & Duvenaud
   2017), and L-BFGS in whitened coordinates finds it in a few steps. All fits descend together, on the sum of theirs.
   Close to it: one Newton step along the mean of the gradients that the gap was measured with. Then back to 2.

Where the first descent ends in coordinates that are not white, they are whitened anew around the guide itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import optimize

from compare.fit.svi.draws import matched
from compare.fit.svi.ensemble import UNKNOWN, Ensemble, Outcome, State
from compare.fit.svi.gap import LEAST, Gap
from compare.fit.svi.laplace import LogJoint, Precision, laplace, positive_factor
from compare.fit.svi.measuring import measure_gaps, measure_metrics, near_the_optimum, set_gap
from compare.fit.svi.protocol import Objective
from compare.options import Options
from guides.contract import Curvature, Family, WhitenedCoordinates

ROUNDS = 12
"""How often a fit may move before it is given up."""

RECENTRED = (1, 2)
"""Moves before which coordinates are whitened anew where -ELBO turns out to have very different curvatures in them."""

MORE = 16
"""Batches that the curvature is then measured with: it is noisy where the posterior is far from Gaussian."""

AFFORDABLE = 200_000
"""Gradients that whitening anew may take."""

AROUND, NEARER = 16, (0.1, 0.01, 0.001, 0.0)
"""Draws around a start without a mode that must be finite, and the parts of it that are tried where they are not."""

WIDE, HIGHEST = 64, 4
"""Draws of uniform(-2, 2), where both libraries start their chains, and how many of the highest are then tried."""

LARGEST_HESSIAN = 250
"""Coordinates beyond which the Hessian is not formed, and the directions stay as they are."""


def fit_all(
    objective: Objective, data: Sequence[Any], family: Family, options: Options, seeds: Sequence[int]
) -> list[Outcome]:
    """Fit the guide to every data set, one seed each."""
    fits = Ensemble(objective, data, options, seeds)
    if family.coordinates is not None:
        states, outcomes = around_modes(fits, family.coordinates)
        for state in states:
            state.note()
    else:
        states, outcomes = at_starts(fits, family), {}
        descend(fits, states, 1)  # far from the optimum the curvature says little: go there first
        whiten(fits, states)
    move_all(fits, states, family)
    for state in states:
        is_converged = state.gap.upper <= options.tolerance
        reason = None if is_converged else complaint(fits, state, options)
        outcomes[state.number] = Outcome(state.parameters, state.gap, is_converged, reason, state.spent, state.history)
    return [outcomes[number] for number in range(len(seeds))]


def at_starts(fits: Ensemble, family: Family) -> list[State]:
    states = []
    for number, start in enumerate(fits.starts):
        coordinates = family.preconditioner(start)
        states.append(State(number, fits.seeds[number], coordinates, np.zeros(coordinates.size), 0, [(0, start)]))
    return states


def modes_of(fits: Ensemble) -> tuple[list[Curvature | ArithmeticError], np.ndarray]:
    """The mode of every fit's log joint or why there is none, and the gradients that it took, shape (fits,)."""
    spent = np.zeros(len(fits.starts), dtype=int)

    def log_joint(which: np.ndarray, locations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        spent[which] += 1
        return fits.batch.value(which, locations)

    def precision(which: np.ndarray, locations: np.ndarray) -> np.ndarray:
        hessians = fits.batch.precision(which, locations)
        spent[which] += hessians.shape[1] if hessians.shape[1] == hessians.shape[2] else 3
        return hessians

    modes = laplace(log_joint, precision, np.stack([start["location"] for start in fits.starts]))
    for number, mode in enumerate(modes):
        if not isinstance(mode, Curvature):
            modes[number] = from_another_start(fits, number, log_joint, precision) or mode
    return modes, spent


def from_another_start(fits: Ensemble, number: int, log_joint: LogJoint, precision: Precision) -> Curvature | None:
    """A mode from starts nearer to 0 or further off, if the log joint is not finite around the guide's own.

    A fit without a mode begins at N(start, I), and can go nowhere from there if its draws overflow, or lie where the
    model has no density.
    """
    only, location = np.array([number]), fits.starts[number]["location"]
    draws = location + np.random.default_rng(0).standard_normal((AROUND, location.size))
    with np.errstate(over="ignore", invalid="ignore"):
        if all(np.isfinite(part).all() for draw in draws for part in log_joint(only, draw[None])):
            return None
    wide = np.random.default_rng(1).uniform(-2, 2, (WIDE, location.size))
    with np.errstate(over="ignore", invalid="ignore"):
        heights = np.array([log_joint(only, draw[None])[0][0] for draw in wide])
    highest = np.argsort(-np.where(np.isfinite(heights), heights, -np.inf))[:HIGHEST]
    for start in (*(part * location for part in NEARER), *wide[highest]):
        (mode,) = laplace(lambda _, x: log_joint(only, x), lambda _, x: precision(only, x), start[None])
        if isinstance(mode, Curvature):
            return mode
    return None


def around_modes(
    fits: Ensemble, around: Callable[[Curvature], WhitenedCoordinates]
) -> tuple[list[State], dict[int, Outcome]]:
    """Every fit at its Laplace approximation, and the outcomes of those that could not begin, by number."""
    modes, spent = modes_of(fits)
    states, failures = [], {}
    for number, (mode, start) in enumerate(zip(modes, fits.starts, strict=True)):
        gradients = int(spent[number])
        if isinstance(mode, FloatingPointError):
            failures[number] = Outcome(start, UNKNOWN, False, str(mode), gradients, [(0, start)], failed=True)
            continue
        if not isinstance(mode, Curvature):  # no mode: the guide's own start, and no idea of the curvature
            location = start["location"]
            mode = Curvature(location, np.eye(location.size), np.ones(location.size))
        shapes = {name: value.shape for name, value in start.items()}
        coordinates = around(replace(mode, shapes=shapes))
        x = np.zeros(coordinates.size)
        states.append(State(number, fits.seeds[number], coordinates, x, gradients, [(0, start)]))
    return states, failures


def move_all(fits: Ensemble, states: Sequence[State], family: Family) -> None:
    """Measure and move until every fit is within the tolerance, or nothing is left to spend."""
    unfinished = list(states)
    for attempt in range(ROUNDS):
        enough = fits.tolerance if attempt else fits.tolerance / 10
        measure_gaps(fits, unfinished, enough)
        unfinished = [state for state in unfinished if state.gap.upper > enough]
        if not unfinished or fits.is_late() or attempt == ROUNDS - 1:
            break
        move(fits, unfinished, family, attempt)
    for state in states:
        if state.gap is UNKNOWN and state.is_finite and len(state.gradients) > 2:  # stopped before it was refined
            measure_metrics(fits, [state])
            set_gap(state)


def move(fits: Ensemble, states: Sequence[State], family: Family, attempt: int) -> None:
    """One Newton step where the optimum is close; a descent where it is not."""
    if attempt in RECENTRED and 2 * fits.dimension * fits.rows <= AFFORDABLE:
        uneven = [state for state in states if not state.is_whitened]
        if family.coordinates is not None:
            recentre(fits, uneven, family.coordinates)
        else:
            whiten(fits, uneven)
        for state in uneven:
            state.batches = MORE
    close = near_the_optimum(fits, states) if attempt else []
    for state in close:
        state.move(state.x - state.metric.power(state.mean, -1.0))  # along the gradients that measured the gap
    descend(fits, [state for state in states if state not in close], 4 ** min(attempt, 3))


def descend(fits: Ensemble, states: Sequence[State], count: int) -> None:
    """Minimise -ELBO at ``count`` fixed batches, tilted so that only the path gradient counts where it starts."""
    if not states:
        return
    batches = [fits.draw(matched, states) for _ in range(count)]
    begin = np.stack([state.x for state in states])

    def objective(x: np.ndarray) -> tuple[Any, ...]:
        each = [fits.slopes(states, x, draws) for draws in batches]
        return tuple(sum(parts) / count for parts in zip(*each, strict=True))

    _, total, path = objective(begin)
    tilt = np.where(np.isfinite(total - path), total - path, 0.0)

    def tilted(flat: np.ndarray) -> tuple[float, np.ndarray]:
        x = flat.reshape(begin.shape)
        values, total, _ = objective(x)
        if not np.isfinite(values).all():
            return 1e300, np.zeros_like(flat)
        return float(values.sum() - np.sum(tilt * (x - begin))), (total - tilt).ravel()

    def note(intermediate_result: optimize.OptimizeResult) -> None:
        for state, x in zip(states, intermediate_result.x.reshape(begin.shape), strict=True):
            state.history.append((state.spent, state.coordinates.parameters(x)))
        if fits.is_late():
            raise StopIteration

    smallest = np.sqrt(0.02 * fits.tolerance / begin.shape[1])  # leaves at most a hundredth of it
    options = {"maxiter": 200, "ftol": 1e-15, "gtol": smallest}
    result = optimize.minimize(tilted, begin.ravel(), jac=True, method="L-BFGS-B", callback=note, options=options)
    for state, x in zip(states, result.x.reshape(begin.shape), strict=True):
        state.move(x)


def whiten(fits: Ensemble, states: Sequence[State], step: float = 1e-4) -> None:
    """Coordinates around where the fits are, for families that start where their guides do."""
    if not states:
        return
    draws, x = fits.draw(matched, states), np.stack([state.x for state in states])
    hessians: Sequence[np.ndarray | None] = [None] * len(states)
    if x.shape[1] <= LARGEST_HESSIAN:
        ends = [
            [fits.slopes(states, x + side * axis, draws)[1] for side in (step, -step)] for axis in np.eye(x.shape[1])
        ]
        hessians = list(np.stack([(ahead - behind) / (2 * step) for ahead, behind in ends], axis=1))
    for state, hessian in zip(states, hessians, strict=True):
        if hessian is None or np.isfinite(hessian).all():
            state.move(np.zeros_like(state.x), state.coordinates.whitened(state.x, hessian))


def recentre(
    fits: Ensemble,
    states: Sequence[State],
    around: Callable[[Curvature], WhitenedCoordinates],
    step: float = 1e-3,
) -> None:
    """Coordinates whitened by the curvature that the guide itself sees, E_q[-Hessian of the log joint].

    Where the posterior is far from Gaussian its mode's curvature says little of it. By central differences of the
    ELBO's gradient in the location, at fixed draws.
    """
    for state in states:
        curvature, here, draws = state.coordinates.curvature, state.parameters, fits.draw(matched, [state])

        rows = []
        for axis in np.diag(step / np.sqrt(curvature.diagonal)):
            ends = [here | {"location": here["location"] + shift} for shift in (axis, -axis)]
            ahead, behind = (fits.batch.evaluate(np.array([state.number]), [end], draws)[0] for end in ends)
            rows.append((ahead.path["location"] - behind.path["location"]) / (2 * axis.max()))
            state.spent += 2 * fits.rows
        hessian = np.stack(rows)
        if np.isfinite(hessian).all():
            factor = positive_factor((hessian + hessian.T) / 2)
            coordinates = around(Curvature(here["location"].copy(), *factor, curvature.shapes))
            state.move(coordinates.locate(here), coordinates)


def complaint(fits: Ensemble, state: State, options: Options) -> str:
    """Why the fit is not converged, and what to do about it."""
    parameters, gap = state.parameters, state.gap
    if not all(np.isfinite(value).all() for value in parameters.values()) or not np.isfinite(gap.value):
        return "the ELBO is not finite where the fit ended; check the model where its densities vanish"
    scale = np.diag(parameters["scale_tril"]) if "scale_tril" in parameters else parameters.get("scale", np.ones(1))
    spread = np.abs(scale)
    if np.max(spread) > 1e8 or max(np.abs(value).max() for value in parameters.values()) > 1e12:
        return "the guide spreads without end: the posterior may be improper; check the priors"
    if np.min(spread) < 1e-10:
        return "a scale of the guide has collapsed to 0; check for a variable that the data fix"
    ended = shortfall(gap, options)
    if fits.is_late():
        return f"its budget of {options.budget:g} s ended {ended}; give it a larger --budget"
    if options.tolerance <= 2 * LEAST:
        return f"the fit ended {ended}; errors below {LEAST:g} are not claimed: give a larger --tolerance"
    return f"{ROUNDS} rounds ended {ended}; give a larger --tolerance, or use NUTS"


def shortfall(gap: Gap, options: Options) -> str:
    return f"{gap.value:.2g} ± {gap.mcse:.1g} nats from the optimum (tolerance {options.tolerance:g})"
