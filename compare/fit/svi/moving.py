"""Moving fits towards their optimum, and their coordinates with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import optimize

from compare.fit.svi.draws import matched
from compare.fit.svi.ensemble import Ensemble
from compare.fit.svi.laplace import positive_factor
from compare.fit.svi.state import State
from guides.contract import Curvature, Preconditioner, WhitenedCoordinates

__all__ = ["descend", "recentre", "whiten"]

LARGEST_HESSIAN = 250
"""Coordinates beyond which the Hessian is not formed, and the directions stay as they are."""


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


def whiten(fits: Ensemble, states: Sequence[State[Preconditioner]], step: float = 1e-4) -> None:
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
    states: Sequence[State[WhitenedCoordinates]],
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
