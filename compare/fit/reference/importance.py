"""Importance sampling from an adapted mixture: evidence and moments, with errors from independent replicates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import special

from compare.fit.psis import smooth
from compare.fit.reference.modes import ModeSearch
from compare.fit.reference.moves import move
from compare.fit.reference.proposal import Mixture, around_modes, fit_mixture
from compare.fit.reference.target import Target, evaluate, quantities_of

__all__ = ["GOOD", "N_REPLICATES", "Proposal", "Sample", "WeightedDraws", "adapt", "draw", "estimate", "log_proposal"]
__all__ += ["resample", "systematic"]

N_REPLICATES = 32
"""Independent replicates, whose scatter gives the errors."""

N_TRIALS = 8192
"""Draws that a proposal is tried with."""

N_POPULATION, PER_DIMENSION = 2048, 128
"""Those among them, chosen by weight, that the next proposal is fitted to: at most, and for each dimension."""

N_MOVES = 5
"""Moves of each of these before the fit, which take them where no draw fell."""

COMPONENTS = (1, 4, 8, 16, 32)
"""Components of successive proposals, where there are no more modes than that."""

FIXED = 1e-10
"""Sd relative to the mean of what does not vary, such as the zeros of a Cholesky factor."""

GOOD = 0.3
"""Relative effective sample size of a proposal that is not adapted further."""


@dataclass(frozen=True)
class Proposal:
    """An adapted proposal.

    Attributes:
        mixture: What is drawn from.
        relative_ess: Effective sample size over the number of draws, by trial draws that no estimate uses.
    """

    mixture: Mixture
    relative_ess: float


@dataclass(frozen=True)
class Sample:
    """Independent draws of a mixture, not yet weighted.

    Attributes:
        mixture: What they were drawn from.
        points: Shape (n, d), with n a multiple of `N_REPLICATES`.
        log_joint: At these, shape (n,), in nats.
        quantities: At these, shape (n, k).
    """

    mixture: Mixture
    points: np.ndarray = field(repr=False)
    log_joint: np.ndarray = field(repr=False)
    quantities: np.ndarray = field(repr=False)


@dataclass(frozen=True)
class WeightedDraws:
    """A posterior by weighted draws.

    Attributes:
        log_evidence: In nats.
        error: Its standard error.
        mean, sd: Of the quantities, shape (k,).
        mean_error, sd_error: Their standard errors, shape (k,).
        khat: Pareto k-hat of the weights.
        moment_khat: The largest k-hat of the weights times squared quantities and coordinates.
        relative_ess: Effective sample size over the number of draws.
        points: The draws, shape (n, d).
        log_ratios: log joint minus log density of the proposal at these, shape (n,).
        weights: Their weights, sum 1, shape (n,).
    """

    log_evidence: float
    error: float
    mean: np.ndarray
    sd: np.ndarray
    mean_error: np.ndarray
    sd_error: np.ndarray
    khat: float
    moment_khat: float
    relative_ess: float
    points: np.ndarray = field(repr=False)
    log_ratios: np.ndarray = field(repr=False)
    weights: np.ndarray = field(repr=False)


def adapt(target: Target, search: ModeSearch, df: float, inflation: float, rng: np.random.Generator) -> Proposal:
    """A proposal fitted in rounds: draws, chosen by their weights, moved, and described by a mixture.

    Args:
        target: The posterior.
        search: Its modes, at each of which the first proposal has a component.
        df: Degrees of freedom.
        inflation: Width of the components, in sds of the draws that they are fitted to.
        rng: Source of all randomness.
    """
    mixture = around_modes(search.modes, df)
    best = Proposal(mixture, 0.0)
    for n_components in (*COMPONENTS, 0):
        points = mixture.draw(N_TRIALS, rng)
        log_ratios = evaluate(target, points) - mixture.log_density(points)
        if not np.isfinite(log_ratios).any():
            break
        weights = special.softmax(log_ratios)
        relative_ess = float(1 / (len(points) * (weights @ weights)))
        if relative_ess > best.relative_ess:
            best = Proposal(mixture, relative_ess)
        if n_components == 0 or (relative_ess > GOOD and n_components not in COMPONENTS[:2]):
            break
        population = points[resample(weights, min(N_POPULATION, PER_DIMENSION * target.dimension), rng)]
        population = move(target, population, mixture.within, N_MOVES, rng)
        mixture = fit_mixture(population, max(n_components, len(search.modes)), df, inflation, rng)
    return best


def resample(weights: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Indices by systematic resampling, in random order; weights above n^(-1/2) of the sum are cut."""
    return systematic(np.minimum(weights, weights.sum() / np.sqrt(n)), n, rng)


def systematic(weights: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Indices by systematic resampling, the least noisy, in random order."""
    positions = (rng.random() + np.arange(n)) / n * weights.sum()
    return rng.permutation(np.minimum(np.searchsorted(np.cumsum(weights), positions), len(weights) - 1))


def draw(target: Target, mixture: Mixture, n: int, rng: np.random.Generator) -> Sample:
    """Fresh draws of a mixture."""
    points = mixture.draw(n, rng)
    return Sample(mixture, points, evaluate(target, points), quantities_of(target, points))


def estimate(samples: Sequence[Sample]) -> WeightedDraws:
    """Evidence and moments from fresh draws of one mixture or several.

    Each draw is weighted as if drawn from one mixture of all, each in proportion to its number of draws.

    Args:
        samples: The draws of each.

    Source: Owen (2013), Monte Carlo theory, methods and examples, sections 9.2 and 9.11 (the balance heuristic).
    """
    total, quantities = (together([getattr(s, name) for s in samples]) for name in ("points", "quantities"))
    log_joint = together([s.log_joint for s in samples])
    log_ratios = log_joint - log_proposal(samples, total)
    log_mean = special.logsumexp(log_ratios) - np.log(len(total))
    ratios = np.exp(log_ratios - log_mean)  # mean 1
    q = np.where(ratios[:, None] > 0, quantities, 0.0)
    weights = ratios / len(total)
    mean = weights @ q
    gaps = q - mean
    sd = np.sqrt(weights @ gaps**2)
    sd = np.where(sd > FIXED * np.abs(mean), sd, 0.0)
    gaps = np.where(sd > 0, gaps, 0.0)
    divisor = np.where(sd > 0, sd, 1.0)
    scatter = np.array(
        [
            [r.mean() - 1, *(r @ g / len(r)), *((r @ g**2 / len(r) - r.mean() * sd**2) / (2 * divisor))]
            for r, g in zip(ratios.reshape(N_REPLICATES, -1), gaps.reshape(N_REPLICATES, -1, len(mean)), strict=True)
        ]
    )
    degrees = N_REPLICATES - 1  # the last factor, a t's sd, makes the variance of (estimate - truth) / error 1
    errors = scatter.std(0, ddof=1) / np.sqrt(N_REPLICATES) * np.sqrt(degrees / (degrees - 2))
    columns = np.column_stack([gaps / divisor, standardised(total, weights)])
    return WeightedDraws(
        log_evidence=float(log_mean),
        error=float(errors[0]),
        mean=mean,
        sd=sd,
        mean_error=errors[1 : 1 + len(mean)],
        sd_error=errors[1 + len(mean) :],
        khat=pareto_khat(log_ratios),
        moment_khat=moment_khat(log_ratios, columns),
        relative_ess=float(1 / (len(total) * (weights @ weights))),
        points=total,
        log_ratios=log_ratios,
        weights=weights,
    )


def log_proposal(samples: Sequence[Sample], points: np.ndarray) -> np.ndarray:
    """The log density, at points (n, d), of the mixture of all proposals in proportion to their draws, shape (n,)."""
    counts = np.array([[len(sample.points)] for sample in samples])
    return special.logsumexp([s.mixture.log_density(points) for s in samples], axis=0, b=counts / counts.sum())


def together(parts: Sequence[np.ndarray]) -> np.ndarray:
    """The rows of several arrays as one, each replicate's in one piece."""
    pieces = [part.reshape(N_REPLICATES, -1, *part.shape[1:]) for part in parts]
    return np.concatenate(pieces, axis=1).reshape(-1, *parts[0].shape[1:])


def standardised(points: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted points (n, d) less their mean, in sds."""
    gaps = points - weights @ points
    return gaps / np.sqrt(weights @ gaps**2)


def moment_khat(log_ratios: np.ndarray, columns: np.ndarray) -> float:
    """The largest k-hat of the weights times one plus a square, of the ten columns that reach furthest."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.nan_to_num(columns**2)
        reach = np.where(np.isfinite(log_ratios)[:, None], squares, 0).max(0)
    furthest = np.argsort(-reach)[:10]
    return max(pareto_khat(log_ratios + part) for part in np.log1p(squares[:, furthest]).T)


def pareto_khat(log_weights: np.ndarray) -> float:
    """Pareto k-hat of weights, those below e^-500 of the largest raised to that."""
    return smooth(np.maximum(log_weights, log_weights.max() - 500))[1]
