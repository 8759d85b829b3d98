"""Members of a Gaussian family that are taken as they come, without optimising an ELBO: at the mode, or on a way to it.

Their gap is measured against the zoo's own fit of the family.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compare.fit.svi.draws import fresh
from compare.fit.svi.elbo import gap_between
from compare.fit.svi.ensemble import UNKNOWN, Ensemble, Outcome
from compare.fit.svi.fitter import modes_of
from compare.fit.svi.pathfinder import gaussians, way_to_the_mode
from compare.fit.svi.protocol import Objective
from compare.options import Options
from guides.contract import Family, Parameters

OptimiseMany = Callable[[Objective, Sequence[Any], Family, Options, Sequence[int]], list[Outcome]]

NO_DENSITY = "it draws where the model has no density"


@dataclass(frozen=True)
class Candidate:
    """A member of a family.

    Attributes:
        gradients: The gradients that it took.
        log_evidence_at_mode: At a mode, Laplace's formula for log p(x) in nats.
        is_late: Whether the budget ended before all of the way was seen.
    """

    parameters: Parameters
    gradients: int
    log_evidence_at_mode: float | None = None
    is_late: bool = False


def take_all(
    optimise_many: OptimiseMany,
    objective: Objective,
    data: Sequence[Any],
    family: Family,
    options: Options,
    seeds: Sequence[int],
) -> list[Outcome | Exception]:
    """The family's member for each data set, or why there is none."""
    fits = Ensemble(objective, data, options, seeds)
    candidates = at_modes(fits, family) if family.at_mode_of else on_ways(fits)
    outcomes: dict[int, Outcome | Exception] = {
        n: why for n, why in enumerate(candidates) if isinstance(why, Exception)
    }
    there = {number: candidate for number, candidate in enumerate(candidates) if isinstance(candidate, Candidate)}
    best = optimise_many(objective, [data[n] for n in there], family, options, [seeds[n] for n in there])
    for (number, candidate), optimum in zip(there.items(), best, strict=True):
        gap = gap_between(objective, data[number], candidate.parameters, optimum, options, seeds[number])
        if not np.isfinite(gap.value):
            outcomes[number] = FloatingPointError(f"the ELBO is not finite at this Gaussian: {NO_DENSITY}")
            continue
        late = f"its budget of {options.budget:g} s ended on the way to the mode; give it a larger --budget"
        outcomes[number] = Outcome(
            candidate.parameters,
            gap if optimum.converged else UNKNOWN,
            converged=not candidate.is_late,
            reason=late if candidate.is_late else None,
            gradients=candidate.gradients,
            history=[(0, fits.starts[number]), (candidate.gradients, candidate.parameters)],
            log_evidence_at_mode=candidate.log_evidence_at_mode,
        )
    return [outcomes[number] for number in range(len(seeds))]


def at_modes(fits: Ensemble, family: Family) -> list[Candidate | Exception]:
    """Laplace's approximations: the member at each mode, with the curvature there."""
    assert family.coordinates is not None  # it is Gaussian
    modes, gradients = modes_of(fits)
    candidates: list[Candidate | Exception] = []
    for mode, data, spent in zip(modes, fits.batch.data, gradients, strict=True):
        if isinstance(mode, Exception):
            candidates.append(mode)
            continue
        coordinates = family.coordinates(mode)
        parameters = coordinates.parameters(np.zeros(coordinates.size))
        at_mode = fits.batch.objective.evaluate(parameters, np.zeros((fits.rows, fits.dimension)), data)
        formula = float(at_mode.log_ratio[0])  # log p(x, z) - log q(z) at the mode
        candidates.append(Candidate(parameters, int(spent), formula))
    return candidates


def on_ways(fits: Ensemble) -> list[Candidate | Exception]:
    """Pathfinder's: the member of the highest ELBO on L-BFGS's way to each mode, by draws common to all of them."""
    candidates: list[Candidate | Exception] = []
    for number in range(len(fits.starts)):
        try:
            candidates.append(on_way(fits, number, fits.starts[number]["location"]))
        except ArithmeticError as error:
            candidates.append(error)
    return candidates


def on_way(fits: Ensemble, number: int, start: np.ndarray) -> Candidate:
    """Pathfinder's member for one data set, on the way from a start, shape (d,).

    Raises:
        FloatingPointError: the log joint is not finite at the start, or no ELBO on the way is.
    """
    objective, data, gradients = fits.batch.objective, fits.batch.data[number], 0

    def log_joint(location: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal gradients
        gradients += 1
        (height,), (gradient,) = fits.batch.value(np.array([number]), location[None])
        return float(height), gradient

    way = way_to_the_mode(log_joint, start, fits.is_late)
    draws = fresh(fits.rng[fits.seeds[number]], fits.rows, fits.dimension)
    best, highest = None, -np.inf
    for mean, covariance in gaussians(way):
        try:
            parameters = {"location": mean, "scale_tril": np.linalg.cholesky(covariance)}
        except np.linalg.LinAlgError:
            continue  # an estimate from steps too short for double precision
        gradients += fits.rows
        elbo = float(objective.evaluate(parameters, draws, data).log_ratio.mean())
        if elbo > highest:
            best, highest = parameters, elbo
        if fits.is_late():
            break
    if best is None:
        raise FloatingPointError(f"no Gaussian on L-BFGS's way to the mode has a finite ELBO: {NO_DENSITY}")
    return Candidate(best, gradients, is_late=fits.is_late())
