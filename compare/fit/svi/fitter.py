"""Fits of one guide to data sets of one shape, side by side.

Each reaches the optimum, stops by itself, and says how far from it.

1. Start from the Laplace approximation where the family is Gaussian, else from where the guide starts.
2. Measure the optimisation gap with fresh draws. Within the tolerance: done.
3. Far from the optimum: descend. With fixed, moment-matched draws -ELBO is a smooth deterministic function (Giordano,
   Ingram & Broderick 2024), tilted so that its minimum is where the path gradient vanishes (Roeder, Wu & Duvenaud
   2017), and L-BFGS in whitened coordinates finds it in a few steps. All fits descend together, on the sum of theirs.
   Close to it: one Newton step along the mean of the gradients that the gap was measured with. Then back to 2.

Where the first descent ends in coordinates that are not white, they are whitened anew around the guide itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
from scipy import optimize

from compare.fit.svi.batch import Batch
from compare.fit.svi.draws import fresh, matched
from compare.fit.svi.free import LARGEST, FreeCoordinates
from compare.fit.svi.gap import LEAST, Gap, estimate, lanczos, raw
from compare.fit.svi.laplace import laplace, positive_factor
from compare.fit.svi.protocol import Objective
from compare.fit.svi.state import FEW, UNKNOWN, Outcome, State
from compare.options import Options
from guides.contract import Coordinates, Curvature, Parameters

__all__ = ["Fitter", "rows", "short"]

ROUNDS = 12
"""How often a fit may move before it is given up."""

RECENTRED = (1, 2)
"""Moves before which the coordinates are whitened anew where -ELBO turns out to bend very differently in them."""

MORE = 16
"""Batches that the curvature is then measured with: it is noisy where the posterior is far from Gaussian."""

AFFORDABLE = 200_000
"""Gradients that this may take."""

CLOSE = 0.5
"""Nats within which the ELBO is taken to be a quadratic, where one Newton step is enough."""


class Fitter:
    """The objective, the draws, and the fits on their way."""

    def __init__(
        self, objective: Objective, data: Sequence[Any], family: ModuleType, options: Options, seeds: Sequence[int]
    ) -> None:
        self.family, self.options, self.seeds = family, options, seeds
        self.batch = Batch(objective, data)
        self.rng = {seed: np.random.default_rng(seed) for seed in seeds}
        self.deadline = time.perf_counter() + options.budget
        first = {seed: number for number, seed in reversed(list(enumerate(seeds)))}
        starts = {seed: objective.start(seed, data[number]) for seed, number in first.items()}
        self.starts = [starts[seed] for seed in seeds]
        self.dimension = objective.dimension(self.starts[0], data[0])
        self.rows = rows(self.dimension)
        self.spent = np.zeros(len(data), dtype=int)
        self.failed: dict[int, str] = {}

    def late(self) -> bool:
        """Whether the budget is used up."""
        return time.perf_counter() > self.deadline

    def draw(self, design: Callable[..., np.ndarray], states: Sequence[State]) -> list[np.ndarray]:
        """Draws for each fit, the same for those with the same seed."""
        made: dict[int, np.ndarray] = {}
        for state in states:
            if state.seed not in made:
                made[state.seed] = design(self.rng[state.seed], self.rows, self.dimension)
        return [made[state.seed] for state in states]

    def slopes(
        self, states: Sequence[State], x: np.ndarray, draws: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """-ELBO at x, shape (fits,), and its total and path gradients in x; not numbers where the model has none."""
        which = np.array([state.number for state in states])
        parameters = [state.coordinates.parameters(one) for state, one in zip(states, x, strict=True)]
        with np.errstate(over="ignore", invalid="ignore"):
            found = self.batch.evaluate(which, parameters, list(draws))
        values = np.full(len(states), np.nan)
        total, path = np.full_like(x, np.nan), np.full_like(x, np.nan)
        for place, (state, one) in enumerate(zip(states, found, strict=True)):
            state.spent += len(one.log_ratio)
            parts = (one.log_ratio, *one.total.values(), *one.path.values())
            if all(np.isfinite(part).all() for part in parts):
                values[place] = -one.log_ratio.mean()
                total[place] = state.coordinates.pullback(x[place], one.total)
                path[place] = state.coordinates.pullback(x[place], one.path)
        return values, total, path

    def begin(self) -> list[State]:
        """Every fit at its start: whitened coordinates around the Laplace approximation, or where the guide starts."""
        if hasattr(self.family, "Coordinates"):
            made = self.around_modes()
        elif hasattr(self.family, "Chart"):
            made = [self.family.Chart(start) for start in self.starts]
        else:
            made = [FreeCoordinates(start["flat"]) for start in self.starts]
        return [
            State(number, self.seeds[number], coordinates, np.zeros(coordinates.size), int(spent), [(0, start)])
            for number, (coordinates, start, spent) in enumerate(zip(made, self.starts, self.spent, strict=True))
            if coordinates is not None
        ]

    def around_modes(self) -> list[Coordinates | None]:
        def log_joint(which: np.ndarray, locations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            self.spent[which] += 1
            return self.batch.log_joint(which, locations)

        def precision(which: np.ndarray, locations: np.ndarray) -> np.ndarray:
            bends = self.batch.precision(which, locations)
            self.spent[which] += bends.shape[1] if bends.shape[1] == bends.shape[2] else 3
            return bends

        modes = laplace(log_joint, precision, np.stack([start["location"] for start in self.starts]))
        made: list[Coordinates | None] = []
        for number, mode in enumerate(modes):
            if isinstance(mode, FloatingPointError):
                self.failed[number] = str(mode)
                made.append(None)
                continue
            if not isinstance(mode, Curvature):  # no mode: the guide's own start, and no idea of the curvature
                location = self.starts[number]["location"]
                mode = Curvature(location, np.eye(location.size), np.ones(location.size))
            shapes = {name: value.shape for name, value in self.starts[number].items()}
            made.append(self.family.Coordinates(replace(mode, shapes=shapes)))
        return made

    def descend(self, states: Sequence[State], count: int) -> None:
        """Minimise -ELBO at ``count`` fixed batches, tilted so that only the path gradient counts where it starts."""
        if not states:
            return
        batches = [self.draw(matched, states) for _ in range(count)]
        begin = np.stack([state.x for state in states])

        def objective(x: np.ndarray) -> tuple[np.ndarray, ...]:
            each = [self.slopes(states, x, draws) for draws in batches]
            return tuple(sum(parts) / count for parts in zip(*each, strict=True))

        _, total, path = objective(begin)
        tilt = np.where(np.isfinite(total - path), total - path, 0.0)

        def tilted(flat: np.ndarray) -> tuple[float, np.ndarray]:
            x = flat.reshape(begin.shape)
            values, total, _ = objective(x)
            if not np.isfinite(values).all():
                return 1e300, np.zeros_like(flat)
            return float(values.sum() - np.sum(tilt * (x - begin))), (total - tilt).ravel()

        def step(intermediate_result: optimize.OptimizeResult) -> None:
            for state, x in zip(states, intermediate_result.x.reshape(begin.shape), strict=True):
                state.history.append((state.spent, state.coordinates.parameters(x)))
            if self.late():
                raise StopIteration

        smallest = np.sqrt(0.02 * self.options.tolerance / begin.shape[1])  # leaves at most a hundredth of it
        options = {"maxiter": 200, "ftol": 1e-15, "gtol": smallest}
        found = optimize.minimize(tilted, begin.ravel(), jac=True, method="L-BFGS-B", callback=step, options=options)
        for state, x in zip(states, found.x.reshape(begin.shape), strict=True):
            state.move(x)

    def whiten(self, states: Sequence[State], step: float = 1e-4) -> None:
        """Coordinates around where the fits are, for families that start where their guides do."""
        if not states:
            return
        draws, x = self.draw(matched, states), np.stack([state.x for state in states])
        hessians: Sequence[np.ndarray | None] = [None] * len(states)
        if x.shape[1] <= LARGEST:
            ends = [
                [self.slopes(states, x + side * axis, draws)[1] for side in (step, -step)]
                for axis in np.eye(x.shape[1])
            ]
            hessians = np.stack([(ahead - behind) / (2 * step) for ahead, behind in ends], axis=1)
        for state, hessian in zip(states, hessians, strict=True):
            if hessian is None or np.isfinite(hessian).all():
                state.move(np.zeros_like(state.x), state.coordinates.whitened(state.x, hessian))

    def recentre(self, states: Sequence[State], step: float = 1e-3) -> None:
        """Coordinates whitened by the curvature that the guide itself sees, E_q[-Hessian of the log joint].

        Where the posterior is far from Gaussian its mode's curvature says little of it. By central differences of the
        ELBO's gradient in the location, at fixed draws.
        """
        for state in states:
            curvature, here, draws = state.coordinates.curvature, state.parameters, self.draw(matched, [state])

            def slope(shift: np.ndarray, state: State = state, here: Parameters = here, draws: list = draws):
                state.spent += self.rows
                moved = here | {"location": here["location"] + shift}
                return self.batch.evaluate(np.array([state.number]), [moved], draws)[0].path["location"]

            steps = step / np.sqrt(curvature.diagonal)
            rows = [(slope(axis) - slope(-axis)) / (2 * axis.max()) for axis in np.diag(steps)]
            bend = np.stack(rows)
            if np.isfinite(bend).all():
                found = Curvature(here["location"].copy(), *positive_factor((bend + bend.T) / 2), curvature.shapes)
                coordinates = self.family.Coordinates(found)
                state.move(coordinates.locate(here), coordinates)

    def look(self, states: Sequence[State], batches: int) -> None:
        """Path gradients of so many more fresh batches."""
        for _ in range(batches if states else 0):
            if self.late() and all(len(state.gradients) >= 4 for state in states):
                return
            values, _, path = self.slopes(states, np.stack([state.x for state in states]), self.draw(fresh, states))
            for state, value, one in zip(states, values, path, strict=True):
                state.gradients.append(one)
                state.size = 1 + abs(value)

    def bend(self, states: Sequence[State], step: float = 1e-3) -> None:
        """The metric around the mean gradients, from differences of gradients at fixed draws."""
        states = [state for state in states if state.metric is None and state.finite]
        if not states:
            return
        batches = [self.draw(matched, states) for _ in range(max(state.batches for state in states))]
        x = np.stack([state.x for state in states])

        def slope(x: np.ndarray) -> np.ndarray:
            return np.mean([self.slopes(states, x, draws)[1] for draws in batches], axis=0)

        here = slope(x)

        def product(directions: np.ndarray) -> np.ndarray:
            return (slope(x + step * directions) - here) / step

        mean = np.stack([np.mean(state.gradients, axis=0) for state in states])
        mean[0.5 * np.sum(mean**2, axis=1) <= [floor(state) for state in states]] = 0.0  # there is nothing to correct
        for state, metric in zip(states, lanczos(product, mean), strict=True):
            state.metric = metric

    def measure(self, states: Sequence[State], enough: float) -> None:
        """The optimisation gap of each, from as many batches as it takes to know what to do next."""
        self.look(states, FEW // 2)
        near = [state for state in states if not plainly_short(state, enough)]
        self.look(near, FEW // 2)
        asked = near
        while asked:
            self.bend(asked)
            for state in asked:
                state.gap = estimate(np.stack(state.gradients), state.metric, floor(state)) if state.finite else UNKNOWN
            # Where the gap drowns in its error, moving on would not help: more draws do.
            asked = [
                state
                for state in asked
                if state.gap.upper > enough and state.finite and state.metric.near_optimum()
                and state.may_look and state.gap.value < state.after and not self.late()
            ]  # fmt: skip
            self.double(asked)

    def double(self, states: Sequence[State]) -> None:
        """As many batches again, for each."""
        for count in sorted({len(state.gradients) for state in states}):
            self.look([state for state in states if len(state.gradients) == count], count)

    def sharpen(self, states: Sequence[State]) -> None:
        """More gradients, until a Newton step would leave at most a quarter of the tolerance, or a 40th of the gap."""

        def enough(state: State) -> bool:
            return state.after <= max(self.options.tolerance, state.gap.value / 10) / 4

        sharper = states = [state for state in states if not enough(state)]
        while states := [state for state in states if not enough(state) and state.may_look and not self.late()]:
            self.double(states)
        for state in sharper:  # the step is as good as the metric around this mean, not around the one before
            state.metric = None
        self.bend(sharper)

    def move(self, states: Sequence[State], attempt: int) -> None:
        """One Newton step where the optimum is close; a descent where it is not."""
        close = []
        if attempt in RECENTRED and 2 * self.dimension * self.rows <= AFFORDABLE:
            bent = [state for state in states if not state.rounded]
            if hasattr(self.family, "Coordinates"):
                self.recentre(bent)
            else:
                self.whiten(bent)
            for state in bent:
                state.batches = MORE
        if attempt:
            measured = [state for state in states if state.gradients and state.finite]
            near = [state for state in measured if raw(np.stack(state.gradients)).value < CLOSE]
            self.look([state for state in near if len(state.gradients) < FEW], FEW // 2)
            self.bend(near)
            close = [state for state in near if state.finite and state.metric.near_optimum()]
            self.sharpen(close)
            close = [state for state in close if state.finite and state.metric.near_optimum()]
        for state in close:
            state.move(state.x - state.metric.power(np.mean(state.gradients, axis=0), -1.0))
        self.descend([state for state in states if state not in close], 4 ** min(attempt, 3))

    def run(self) -> list[Outcome]:
        states = self.begin()
        if not hasattr(self.family, "Coordinates"):  # far from the optimum the curvature says little: go there first
            self.descend(states, 1)
            self.whiten(states)
        else:
            for state in states:
                state.history.append((state.spent, state.parameters))
        on_the_way = list(states)
        for attempt in range(ROUNDS):
            enough = self.options.tolerance if attempt else self.options.tolerance / 10
            self.measure(on_the_way, enough)
            on_the_way = [state for state in on_the_way if state.gap.upper > enough]
            if not on_the_way or self.late() or attempt == ROUNDS - 1:
                break
            self.move(on_the_way, attempt)
        for state in states:
            if state.gap is UNKNOWN and state.finite and len(state.gradients) > 2:  # stopped before it was refined
                self.bend([state])
                state.gap = estimate(np.stack(state.gradients), state.metric, floor(state))
        ended = {state.number: self.outcome(state) for state in states}
        return [ended[number] if number in ended else self.failure(number) for number in range(len(self.seeds))]

    def outcome(self, state: State) -> Outcome:
        converged = state.gap.upper <= self.options.tolerance
        reason = None if converged else self.complaint(state)
        return Outcome(state.parameters, state.gap, converged, reason, state.spent, state.history)

    def failure(self, number: int) -> Outcome:
        start = self.starts[number]
        return Outcome(start, UNKNOWN, False, self.failed[number], int(self.spent[number]), [(0, start)], failed=True)

    def complaint(self, state: State) -> str:
        """Why the fit is not converged, and what to do about it."""
        parameters, gap = state.parameters, state.gap
        if not all(np.isfinite(value).all() for value in parameters.values()) or not np.isfinite(gap.value):
            return "the ELBO is not finite where the fit ended; check the model where its densities vanish"
        spread = np.abs(
            np.diag(parameters["scale_tril"]) if "scale_tril" in parameters else parameters.get("scale", 1.0)
        )
        if np.max(spread) > 1e8 or max(np.abs(value).max() for value in parameters.values()) > 1e12:
            return "the guide spreads without end: the posterior may be improper; check the priors"
        if np.min(spread) < 1e-10:
            return "a scale of the guide has collapsed to 0; check for a variable that the data fix"
        ended = short(gap, self.options)
        if self.late():
            return f"its budget of {self.options.budget:g} s ended {ended}; give it a larger --budget"
        if self.options.tolerance <= 2 * LEAST:
            return f"the fit ended {ended}; errors below {LEAST:g} are not claimed: give a larger --tolerance"
        return f"{ROUNDS} rounds ended {ended}; give a larger --tolerance, or use NUTS"


def floor(state: State) -> float:
    """Nats that rounding alone makes of a gap."""
    return 1e-12 * state.size


def plainly_short(state: State, enough: float) -> bool:
    """Whether the gap is beyond ``enough`` whatever the noise and the curvature."""
    if not state.finite:
        return True
    gap = raw(np.stack(state.gradients))
    return 0.25 * (gap.value - 2 * gap.mcse) > enough


def short(gap: Gap, options: Options) -> str:
    """How far from the optimum, in words."""
    return f"{gap.value:.2g} ± {gap.mcse:.1g} nats from the optimum (tolerance {options.tolerance:g})"


def rows(dimension: int) -> int:
    """How many draws are evaluated at once: a power of two; fewer where one draw is long."""
    if dimension > 1000:
        return 64 if dimension <= 10_000 else 16
    return max(256, 2 << (dimension - 1).bit_length())
