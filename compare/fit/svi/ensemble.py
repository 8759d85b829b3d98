"""The fits that go side by side: their draws, their starts, and -ELBO with its gradients for all of them at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from compare.fit.svi.batch import Batch
from compare.fit.svi.protocol import Objective
from compare.fit.svi.state import State
from compare.options import Options

__all__ = ["Ensemble", "n_rows"]


class Ensemble:
    """Fits of one guide to data sets of the same shapes, one seed each; those with the same seed share their draws."""

    def __init__(self, objective: Objective, data: Sequence[Any], options: Options, seeds: Sequence[int]) -> None:
        self.seeds, self.tolerance = seeds, options.tolerance
        self.batch = Batch(objective, data)
        self.rng = {seed: np.random.default_rng(seed) for seed in seeds}
        self.deadline = time.perf_counter() + options.budget
        first = {seed: number for number, seed in reversed(list(enumerate(seeds)))}
        starts = {seed: objective.start(seed, data[number]) for seed, number in first.items()}
        self.starts = [starts[seed] for seed in seeds]
        self.dimension = objective.dimension
        self.rows = n_rows(self.dimension)

    def is_late(self) -> bool:
        """Whether the budget is used up."""
        return time.perf_counter() > self.deadline

    def draw(self, design: Callable[..., np.ndarray], states: Sequence[State]) -> list[np.ndarray]:
        """Draws for each fit, the same for those with the same seed."""
        draws: dict[int, np.ndarray] = {}
        for state in states:
            if state.seed not in draws:
                draws[state.seed] = design(self.rng[state.seed], self.rows, self.dimension)
        return [draws[state.seed] for state in states]

    def slopes(
        self, states: Sequence[State], x: np.ndarray, draws: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """-ELBO at x, shape (fits,), and its total and path gradients in x; NaN where the model has none."""
        which = np.array([state.number for state in states])
        parameters = [state.coordinates.parameters(place) for state, place in zip(states, x, strict=True)]
        with np.errstate(over="ignore", invalid="ignore"):
            evaluations = self.batch.evaluate(which, parameters, list(draws))
        values = np.full(len(states), np.nan)
        total, path = np.full_like(x, np.nan), np.full_like(x, np.nan)
        for number, (state, elbo) in enumerate(zip(states, evaluations, strict=True)):
            state.spent += len(elbo.log_ratio)
            parts = (elbo.log_ratio, *elbo.total.values(), *elbo.path.values())
            if all(np.isfinite(part).all() for part in parts):
                values[number] = -elbo.log_ratio.mean()
                total[number] = state.coordinates.pullback(x[number], elbo.total)
                path[number] = state.coordinates.pullback(x[number], elbo.path)
        return values, total, path


def n_rows(dimension: int) -> int:
    """How many draws are evaluated at once: a power of two; fewer where one draw is long."""
    if dimension > 1000:
        return 64 if dimension <= 10_000 else 16
    return max(256, 2 << (dimension - 1).bit_length())
