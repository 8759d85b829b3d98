"""Stochastic variational inference that reaches the optimum, stops by itself, and says how far it stopped from it.

1. Start from the Laplace approximation where the family is Gaussian, else from where the guide starts.
2. Measure the optimisation gap with fresh draws. Within the tolerance: done.
3. Otherwise descend: with fixed, moment-matched draws -ELBO is a smooth deterministic function (Giordano, Ingram &
   Broderick 2024), tilted so that its minimum is where the path gradient vanishes (Roeder, Wu & Duvenaud 2017), and
   L-BFGS in whitened coordinates finds it in a few steps. Then back to 2 with more draws.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np
import xarray as xr
from scipy import optimize
from threadpoolctl import ThreadpoolController

import guides
from compare.fits import Job, fit_seed
from compare.fits.draws import fresh, matched
from compare.fits.free import FreeCoordinates
from compare.fits.gap import Gap, estimate
from compare.fits.laplace import NoMode, laplace
from compare.fits.options import Options
from compare.fits.protocol import Density, Evaluation, Objective
from compare.fits.tree import build, how_many, keep, split
from guides.contract import Coordinates, Curvature, Parameters

__all__ = ["Outcome", "fit_guide", "optimise"]

ROUNDS = 6


@dataclass
class Outcome:
    """Where a fit ended. ``history`` holds (gradient evaluations, parameters) on the way, the start first."""

    parameters: Parameters
    gap: Gap
    converged: bool
    reason: str | None
    gradients: int
    history: list[tuple[int, Parameters]] = field(default_factory=list)


class Fitter:
    """One fit: the objective, its draws, and the account of what it cost."""

    def __init__(self, objective: Objective, data: Any, family: ModuleType, options: Options, seed: int) -> None:
        self.objective, self.data, self.family, self.options = objective, data, family, options
        self.rng = np.random.default_rng(seed)
        self.deadline = time.perf_counter() + options.budget
        self.start = objective.start(seed, data)
        self.dimension = objective.dimension(self.start, data)
        self.rows = rows(self.dimension)
        self.gradients = 0
        self.history: list[tuple[int, Parameters]] = [(0, self.start)]

    def evaluate(self, coordinates: Coordinates, x: np.ndarray, draws: np.ndarray) -> Evaluation:
        self.gradients += len(draws)
        return self.objective.evaluate(coordinates.parameters(x), draws, self.data)

    def slopes(
        self, coordinates: Coordinates, x: np.ndarray, draws: np.ndarray
    ) -> tuple[float, np.ndarray, np.ndarray]:
        """-ELBO at x, and its total and path gradients in x; not numbers where the model has none."""
        with np.errstate(over="ignore", invalid="ignore"):
            found = self.evaluate(coordinates, x, draws)
        parts = (found.log_ratio, *found.total.values(), *found.path.values())
        if not all(np.isfinite(part).all() for part in parts):
            return float("nan"), np.full_like(x, np.nan), np.full_like(x, np.nan)
        return -found.log_ratio.mean(), coordinates.pullback(x, found.total), coordinates.pullback(x, found.path)

    def coordinates(self) -> Coordinates:
        """Whitened coordinates around the Laplace approximation, or around the start where there is none."""
        if not hasattr(self.family, "Coordinates"):
            return FreeCoordinates(self.start["flat"])
        return self.family.Coordinates(self.curvature())

    def curvature(self) -> Curvature:
        def log_joint(location: np.ndarray) -> tuple[float, np.ndarray]:
            self.gradients += 1
            return self.objective.log_joint(location, self.data)

        def precision(location: np.ndarray) -> np.ndarray:
            bend = self.objective.precision(location, self.data)
            self.gradients += bend.shape[0] if bend.shape[0] == bend.shape[1] else 3
            return bend

        try:
            return laplace(log_joint, precision, self.start["location"])
        except NoMode:
            size = self.start["location"].size
            return Curvature(self.start["location"], np.eye(size), np.ones(size))

    def descend(self, coordinates: Coordinates, x: np.ndarray, batches: list[np.ndarray], aim: float) -> np.ndarray:
        """Minimise -ELBO at fixed draws from x, tilted so that only the path gradient counts at x."""

        def objective(y: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
            each = [self.slopes(coordinates, y, draws) for draws in batches]
            return tuple(sum(parts) / len(batches) for parts in zip(*each, strict=True))

        _, total, path = objective(x)
        tilt = total - path

        def tilted(y: np.ndarray) -> tuple[float, np.ndarray]:
            value, total, _ = objective(y)
            if not (np.isfinite(value) and np.isfinite(total).all()):
                return 1e300, np.zeros_like(y)
            return value - tilt @ (y - x), total - tilt

        def step(intermediate_result: optimize.OptimizeResult) -> None:
            self.history.append((self.gradients, coordinates.parameters(intermediate_result.x)))
            if time.perf_counter() > self.deadline:
                raise StopIteration

        smallest = np.sqrt(0.2 * aim / coordinates.size)  # leaves at most a tenth of the aim
        found = optimize.minimize(
            tilted,
            x,
            jac=True,
            method="L-BFGS-B",
            callback=step,
            options={"maxiter": 200, "ftol": 1e-15, "gtol": smallest},
        )
        return found.x

    def measure(self, coordinates: Coordinates, x: np.ndarray, batches: int) -> Gap:
        """The optimisation gap at x from fresh draws."""

        def bend(direction: np.ndarray, step: float = 1e-3) -> np.ndarray:
            draws = matched(self.rng, self.rows, self.dimension)
            ahead, behind = (
                self.slopes(coordinates, y, draws)[1] for y in (x + step * direction, x - step * direction)
            )
            return (ahead - behind) / (2 * step)

        found = [self.slopes(coordinates, x, fresh(self.rng, self.rows, self.dimension)) for _ in range(batches)]
        size, gradients = abs(found[0][0]), np.stack([path for _, _, path in found])
        if not np.isfinite(gradients).all():
            return Gap(float("inf"), float("inf"))
        return estimate(gradients, bend, floor=1e-12 * (1 + size))

    def run(self) -> Outcome:
        coordinates = self.coordinates()
        x = np.zeros(coordinates.size)
        aim, gap = self.options.tolerance / 10, Gap(float("inf"), float("inf"))
        for attempt in range(ROUNDS):
            if isinstance(coordinates, FreeCoordinates):
                batch = matched(self.rng, self.rows, self.dimension)
                if attempt == 0:  # far from the optimum the curvature says little: go there first
                    x = self.descend(coordinates, x, [batch], aim)
                coordinates = coordinates.whitened(x, lambda y, c=coordinates, b=batch: self.slopes(c, y, b)[1])
                x = np.zeros(coordinates.size)
            self.history.append((self.gradients, coordinates.parameters(x)))
            enough = aim if attempt == 0 else self.options.tolerance
            gap = self.measure(coordinates, x, batches=4)
            if gap.value - 2 * gap.mcse <= enough:  # not plainly short: look closer
                gap = self.measure(coordinates, x, batches=16 if attempt < 3 else 64)
            if gap.upper <= enough or time.perf_counter() > self.deadline:
                break
            batches = [matched(self.rng, self.rows, self.dimension) for _ in range(4 ** min(attempt, 3))]
            x = self.descend(coordinates, x, batches, aim)
        parameters = coordinates.parameters(x)
        converged = gap.upper <= self.options.tolerance
        reason = None if converged else self.complaint(parameters, gap)
        return Outcome(parameters, gap, converged, reason, self.gradients, self.history)

    def complaint(self, parameters: Parameters, gap: Gap) -> str:
        """Why the fit is not converged, in words."""
        if not all(np.isfinite(value).all() for value in parameters.values()) or not np.isfinite(gap.value):
            return "the ELBO is not finite where the fit ended"
        spread = np.abs(
            np.diag(parameters["scale_tril"]) if "scale_tril" in parameters else parameters.get("scale", 1.0)
        )
        if np.max(spread) > 1e8 or max(np.abs(value).max() for value in parameters.values()) > 1e12:
            return "the guide spreads without end: the posterior may be improper"
        if np.min(spread) < 1e-10:
            return "a scale of the guide has collapsed to 0"
        late = time.perf_counter() > self.deadline
        limit = f"its budget of {self.options.budget:g} s" if late else f"{ROUNDS} rounds"
        return f"{limit} ended {short(gap, self.options)}"


def short(gap: Gap, options: Options) -> str:
    """How far from the optimum, in words."""
    return f"{gap.value:.2g} ± {gap.mcse:.1g} nats from the optimum (tolerance {options.tolerance:g})"


def rows(dimension: int) -> int:
    """How many draws are evaluated at once: a power of two; fewer where one draw is long."""
    if dimension > 1000:
        return 64 if dimension <= 10_000 else 16
    return max(256, 2 << (dimension - 1).bit_length())


def optimise(objective: Objective, data: Any, family: ModuleType, options: Options, seed: int) -> Outcome:
    """Fit the guide; see the head of this file."""
    with blas().limit(limits=1, user_api="blas"):  # its threads would fight those of the library for the processors
        return Fitter(objective, data, family, options, seed).run()


@lru_cache(maxsize=1)
def blas() -> ThreadpoolController:
    """NumPy's linear algebra, to be told how many threads to use."""
    return ThreadpoolController()


def fit_guide(job: Job, objective: Objective, density: Density, data: Any) -> tuple[xr.DataTree, int]:
    """Fit, then draw from the fitted guide and weigh each draw: the tree, and the gradient evaluations it took.

    Raises:
        FloatingPointError: the log joint is not finite at the start, or the optimiser ended at parameters that are not.
    """
    options, seed = job.options or Options(), fit_seed(job)
    family = guides.load(job.guide)
    if options.optimiser == "adam":
        outcome = by_hand(objective, data, family, options, seed)
    else:
        outcome = optimise(objective, data, family, options, seed)
    rng = np.random.default_rng([seed, 1])
    dimension = objective.dimension(outcome.parameters, data)
    batch = rows(dimension)
    count = how_many(options.draws, dimension)
    pieces, labels = [], {}
    for _ in range(max(1, count // batch)):
        drawn = objective.evaluate(outcome.parameters, rng.standard_normal((batch, dimension)), data)
        log_prior, log_likelihood = density(drawn.latents, data)
        kept, labels = keep(drawn.latents, job.data)
        log_joint = log_prior + log_likelihood
        pieces.append(
            {**kept, "log_prior": log_prior, "log_joint": log_joint, "log_guide": log_joint - drawn.log_ratio}
        )
    draws = split({name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]})
    sites = job.data.shapes()
    elbo = np.array(
        [objective.evaluate(outcome.parameters, fresh(rng, batch, dimension), data).log_ratio.mean() for _ in range(16)]
    )
    tree = build(
        {name: value for name, value in draws.items() if name in sites},
        {name: value for name, value in draws.items() if name not in sites},
        job.data.observed(),
        labels,
        climb(objective, data, outcome, elbo, fresh(np.random.default_rng([seed, 2]), batch, dimension)),
        {
            "elbo": elbo.mean(),
            "elbo_mcse": elbo.std(ddof=1) / np.sqrt(len(elbo)),
            "gap": outcome.gap.value,
            "gap_mcse": outcome.gap.mcse,
            "tolerance": options.tolerance,
            "converged": int(outcome.converged),
            "reason": outcome.reason or "",
            "optimiser": options.optimiser,
        },
    )
    return tree, outcome.gradients


def climb(
    objective: Objective, data: Any, outcome: Outcome, elbo: np.ndarray, draws: np.ndarray, most: int = 25
) -> dict[str, np.ndarray]:
    """The ELBO along the way, with its error, at draws that the fit has not seen.

    Each step's is the last one's, which ``elbo`` holds estimates of, less what the step falls short of it by at
    common draws: near the end that difference has hardly any noise.
    """
    steps = len(outcome.history)
    chosen = np.unique(np.linspace(0, steps - 1, min(most, steps)).round().astype(int))
    last = objective.evaluate(outcome.parameters, draws, data).log_ratio
    short = [objective.evaluate(outcome.history[step][1], draws, data).log_ratio - last for step in chosen]
    return {
        "gradients": np.array([outcome.history[step][0] for step in chosen]),
        "elbo": elbo.mean() + np.array([one.mean() for one in short]),
        "elbo_mcse": np.sqrt([elbo.var(ddof=1) / len(elbo) + one.var(ddof=1) / len(one) for one in short]),
    }


def by_hand(objective: Objective, data: Any, family: ModuleType, options: Options, seed: int) -> Outcome:
    """What a user would write: Adam for a fixed number of steps. The gap is measured against the zoo's own fit."""
    start = objective.start(seed, data)
    parameters, _ = objective.adam(seed, data, options.steps, options.learning_rate)
    if not all(np.isfinite(value).all() for value in parameters.values()):
        raise FloatingPointError(
            f"Adam diverged: after {options.steps} steps at learning rate {options.learning_rate:g} the guide's "
            "parameters are not finite; try a smaller learning rate"
        )
    best = optimise(objective, data, family, options, seed)
    rng, dimension = np.random.default_rng([seed, 3]), objective.dimension(start, data)
    batches = [fresh(rng, rows(dimension), dimension) for _ in range(64)]
    difference = np.array(
        [
            objective.evaluate(best.parameters, draws, data).log_ratio.mean()
            - objective.evaluate(parameters, draws, data).log_ratio.mean()
            for draws in batches
        ]
    )
    mcse = np.hypot(difference.std(ddof=1) / np.sqrt(len(batches)), best.gap.mcse)
    gap = Gap(float(difference.mean() + best.gap.value), float(mcse))
    if not np.isfinite(gap.value):
        raise FloatingPointError("the ELBO is not finite where Adam ended; try a smaller learning rate")
    converged = gap.upper <= options.tolerance and best.converged
    reason = (
        None
        if converged
        else (f"{options.steps} steps of Adam at {options.learning_rate:g} ended {short(gap, options)}")
    )
    return Outcome(parameters, gap, converged, reason, options.steps, [(0, start), (options.steps, parameters)])
