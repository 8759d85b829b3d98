"""The fits that go side by side: their draws, their starts, and -ELBO with its gradients for all of them at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from compare.fit.svi.protocol import Evaluation, LogJoint, Objective
from compare.fit.svi.state import State
from compare.options import Options
from guides.contract import Parameters

__all__ = ["Batch", "Ensemble", "n_rows"]

SIZES = (8, 64)
"""Fits in one vectorised call: two shapes, two compilations. Fewer than the smaller are filled up with copies."""


class Batch:
    """The objective at the data sets of the fits; ``which`` numbers the fits that a call is about."""

    def __init__(self, objective: Objective, data: Sequence[Any]) -> None:
        self.objective, self.data = objective, data
        self.log_joint: LogJoint = objective.log_joint  # type: ignore[assignment]  # there where it is asked for
        self.stacked = {}
        if len(data) > 1:
            self.stacked = {name: np.stack([np.asarray(values[name]) for values in data]) for name in data[0]}

    def pieces(self, which: np.ndarray) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """The places in ``which`` of each vectorised call, those of copies at the end, and the data there."""
        begin = 0
        while begin < len(which):
            size = max((size for size in SIZES if size <= len(which) - begin), default=SIZES[0])
            places = np.minimum(np.arange(begin, begin + size), len(which) - 1)
            yield places, {name: value[which[places]] for name, value in self.stacked.items()}
            begin += size

    def evaluate(self, which: np.ndarray, parameters: list[Parameters], draws: list[np.ndarray]) -> list[Evaluation]:
        """The ELBO of each fit at its own parameters and draws."""
        if len(which) == 1:
            return [self.objective.evaluate(parameters[0], draws[0], self.data[which[0]])]
        evaluations: list[Evaluation] = []
        for places, data in self.pieces(which):
            stacked = {name: np.stack([parameters[place][name] for place in places]) for name in parameters[0]}
            many = self.objective.evaluate(stacked, np.stack([draws[place] for place in places]), data)
            evaluations += [many.of(place) for place in range(len(places))]
        return evaluations[: len(which)]

    def value(self, which: np.ndarray, locations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """log p(x, z) of each fit at its own unconstrained z, and the gradients: shapes (fits,) and (fits, d)."""
        if len(which) == 1:
            value, gradient = self.log_joint.value(locations[0], self.data[which[0]])
            return value[None], gradient[None]
        pieces = [self.log_joint.value(locations[places], data) for places, data in self.pieces(which)]
        values, gradients = (np.concatenate(parts)[: len(which)] for parts in zip(*pieces, strict=True))
        return values, gradients

    def precision(self, which: np.ndarray, locations: np.ndarray) -> np.ndarray:
        """Minus the log joint's Hessian of each fit: dense (fits, d, d), or tridiagonal (fits, 2, d)."""
        if len(which) == 1:
            return self.log_joint.precision(locations[0], self.data[which[0]])[None]
        pieces = [self.log_joint.precision(locations[places], data) for places, data in self.pieces(which)]
        return np.concatenate(pieces)[: len(which)]


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
        self.dimension, self.rows = objective.dimension, n_rows(objective.dimension)

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
