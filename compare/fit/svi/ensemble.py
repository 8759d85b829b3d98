"""The fits that go side by side: where each is, and -ELBO with its gradients for all of them at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from compare.fit.svi.gap import Gap, raw
from compare.fit.svi.protocol import Evaluation, LogJoint, Objective
from compare.options import Options
from guides.contract import Parameters
from models.selection import evenly

FEW, MANY = 8, 4096
"""Batches of draws that a gap is measured with, at first and at most."""

NUMBERS = 20_000_000
"""Numbers that the gradients of these batches may hold."""

UNKNOWN = Gap(float("inf"), float("inf"))

LOOKS = 15
"""Steps of a fit whose ELBO is measured for the picture of its climb, at most."""

SIZES = (8, 64)
"""Fits in one vectorised call: two shapes, two compilations. Fewer than the smaller are filled up with copies."""


@dataclass
class Outcome:
    """Where a fit ended.

    Attributes:
        history: (gradient evaluations, parameters) on the way, the start first.
        reason: Why it is not converged, or could not even begin.
        failed: Whether it could not begin.
        best: The best member that was found, where the fit was not to end there.
        objective: E_q[log p(x, z)] in nats of a guide without a density, where it is known better than from draws.
        log_evidence_at_mode: Laplace's formula for log p(x) in nats, where the fit is held at the mode.
    """

    parameters: Parameters
    gap: Gap
    converged: bool
    reason: str | None
    gradients: int
    history: list[tuple[int, Parameters]] = field(default_factory=list)
    failed: bool = False
    log_evidence_at_mode: float | None = None
    best: Parameters | None = None
    objective: Gap | None = None

    def looks(self) -> list[tuple[int, Parameters]]:
        """At most `LOOKS` entries of the history, evenly spread, the first and the last among them."""
        return [self.history[step] for step in evenly(len(self.history), LOOKS)]

    def ending(self, options: Options) -> dict[str, Any]:
        """Where it ended, as attributes of a tree's optimisation."""
        return {
            "gap": self.gap.value,
            "gap_mcse": self.gap.mcse,
            "tolerance": options.tolerance,
            "converged": int(self.converged),
            "reason": self.reason or "",
            "optimiser": options.optimiser,
        }


@dataclass(eq=False)
class State:
    """One fit on its way.

    Attributes:
        number: Its number among the fits.
        coordinates: Its family's `Coordinates`.
        x: Where it is, in its coordinates.
        spent: The gradient evaluations so far.
        floor: The gap in nats that rounding alone can cause.
        gradients: Path gradients of fresh batches there.
        metric: The `Metric` there, once it is measured.
        batches: Batches that the Hessian is measured with.
    """

    number: int
    seed: int
    coordinates: Any
    x: np.ndarray
    spent: int
    history: list[tuple[int, Parameters]]
    floor: float = 1e-12
    gradients: list[np.ndarray] = field(default_factory=list)
    metric: Any = None
    gap: Gap = UNKNOWN
    batches: int = 1

    def move(self, x: np.ndarray, coordinates: Any = None) -> None:
        """Go to x, and forget what was measured before."""
        self.x, self.coordinates = x, coordinates or self.coordinates
        self.gradients, self.metric, self.gap = [], None, UNKNOWN
        self.note()

    def note(self) -> None:
        self.history.append((self.spent, self.parameters))

    @property
    def parameters(self) -> Parameters:
        return self.coordinates.parameters(self.x)

    @property
    def mean(self) -> np.ndarray:
        return np.mean(self.gradients, axis=0)

    @property
    def is_finite(self) -> bool:
        return all(np.isfinite(gradient).all() for gradient in self.gradients)

    @property
    def is_near_optimum(self) -> bool:
        return self.is_finite and self.metric.near_optimum()

    @property
    def is_whitened(self) -> bool:
        """Whether -ELBO is known to have about the same curvature in every direction."""
        return self.metric is not None and self.metric.near_optimum() and self.metric.spread() < 0.5

    @property
    def may_double(self) -> bool:
        """Whether as many batches again are still affordable."""
        return len(self.gradients) < min(MANY, max(FEW, NUMBERS // self.x.size))

    @property
    def gap_after_step(self) -> float:
        """The gap that a Newton step from here would leave: the noise of the mean gradient."""
        gradients = self.metric.power(np.stack(self.gradients), -0.5)
        return float(0.5 * gradients.var(axis=0, ddof=1).sum() / len(gradients))

    def is_beyond(self, enough: float) -> bool:
        """Whether the gap is larger than ``enough`` whatever the noise and the curvature."""
        if not self.is_finite:
            return True
        gap = raw(np.stack(self.gradients))
        return 0.25 * (gap.value - 2 * gap.mcse) > enough


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
