"""Importance sampling from adapted mixtures of Student t distributions, accepted where two of them agree."""

from __future__ import annotations

import numpy as np
from scipy import special
from scipy.stats import qmc

from compare.fit.reference.modes import ModeSearch
from compare.fit.reference.proposals import StudentMixture, around_modes, defensive, fit_mixture
from compare.fit.reference.target import Refused, Target, evaluate
from compare.fit.reference.weighting import N_RANDOMISATIONS, Weighting, weigh

__all__ = ["sample_by_importance"]

MAX_KHAT = 0.7
"""Pareto k-hat above which weights have too heavy a tail (Vehtari et al. 2024)."""

MAX_RIDGE_KHAT = 0.45
"""Pareto k-hat of the weights times squared unconstrained coordinates above which ends of the posterior may be missed.
Curved ridges whose ends both proposals miss have 0.49 and more, Gaussians and mixtures 0.26 and less."""

MAX_MOMENT_KHAT = 0.5
"""The same of squared quantities, which may have heavy tails themselves: above it the sd's error has no finite sd."""

HOPELESS = 0.003
"""Relative effective sample size below which more components are of no use."""

MIN_RELATIVE_ESS = 0.05
"""Relative effective sample size below which too few draws carry the weight."""

EQUAL_WEIGHTS = 0.95
"""Relative effective sample size above which weights are so equal that k-hat says nothing."""

STRETCHED = 0.2
"""Share of the draws that are stretched along one coordinate."""

N_ADAPTATIONS = 6
"""Rounds of population Monte Carlo at most."""

N_DRAWS, MAX_DRAWS = 2**14, 2**17
"""Draws of a proposal at first, and at most."""

N_COMPONENTS = (12, 30)
"""Components of the mixtures that are tried where one component at each mode does not do, as on a curved ridge."""

FALSE_ALARM = 1e-4
"""Probability that two right proposals are said to disagree."""


def sample_by_importance(target: Target, search: ModeSearch, rng: np.random.Generator, tolerance: float) -> Weighting:
    """The evidence and moments of a posterior by importance sampling.

    The first proposal has a Student t (4 degrees of freedom) around each mode, adapted by population Monte Carlo; where
    that does not do, it has more, fitted to clusters of resampled draws. The second is fitted to clusters of the
    first's resampled draws, wider, with lighter tails (12 degrees) or, where the weights' tail asks for it, with
    heavier ones (2.5). A fifth of the draws of either is stretched along one coordinate.

    Args:
        target: The posterior.
        search: All modes.
        rng: Source of all randomness.
        tolerance: Largest standard error of the log evidence (nats), of means (in sds) and of sds (relative).

    Returns:
        What the draws of both say together, where they agree.

    Raises:
        Refused: weights with too heavy a tail, proposals that disagree, or errors above the tolerance.
        OutOfTime: the deadline has passed.
    """
    coarse = adapt(target, around_modes(search.modes, df=4.0), rng)
    proposal = defensive(coarse, coarse, STRETCHED)
    best = first = sample(target, proposal, N_DRAWS, rng)
    for n_components in (*N_COMPONENTS, 0):
        while not trouble(first) and excess(first, tolerance) > 0.7 and len(first.points) < MAX_DRAWS:
            first = sample(target, proposal, 2 * len(first.points), rng)
        reason = trouble(first) or imprecision(first, tolerance)
        if not reason:
            second = sample(target, second_proposal(target, proposal, coarse, first, rng), len(first.points), rng)
            reason = trouble(second) and f"by a second proposal, {trouble(second)}"
            reason = reason or disagreement(first, second, tolerance)
            if not reason:
                return pool(target, first, second)
        best = max(best, first, key=lambda weighting: weighting.relative_ess)
        if not n_components or best.relative_ess < HOPELESS:
            break
        fine = adapt(target, fit_mixture(resample(best, rng), n_components, 4.0, rng, inflation=1.25), rng)
        proposal = defensive(fine, coarse, STRETCHED)
        first = sample(target, proposal, N_DRAWS, rng)
    raise Refused(reason)


def second_proposal(
    target: Target, first: StudentMixture, coarse: StudentMixture, weighting: Weighting, rng: np.random.Generator
) -> StudentMixture:
    """The second proposal, fitted to draws that the first one's weights choose."""
    points, df = resample(weighting, rng), 12.0 if weighting.khat < 0.3 else 2.5
    n_fine, n_coarse = len(first.weights) - first.n_stretched, len(coarse.weights)
    fine = fit_mixture(points, n_fine if n_fine == 1 else int(1.5 * n_fine), df, rng, inflation=1.25)
    return defensive(adapt(target, fine, rng, n_rounds=2), fit_mixture(points, n_coarse, df, rng), STRETCHED)


def resample(weighting: Weighting, rng: np.random.Generator) -> np.ndarray:
    """Draws resampled by their weights, those above n^(1/2) means cut, at most 20,000."""
    n = len(weighting.points)
    weights = np.minimum(weighting.weights, weighting.weights.sum() / np.sqrt(n))
    return weighting.points[rng.choice(n, size=min(20_000, n), p=weights / weights.sum())]


def adapt(
    target: Target, proposal: StudentMixture, rng: np.random.Generator, n_rounds: int = N_ADAPTATIONS
) -> StudentMixture:
    """The mixture after population Monte Carlo; weights above n^(1/2) means are cut."""
    exponent = max(11, min(15, int(np.ceil(np.log2(30 * len(proposal.weights) * (proposal.dimension + 5))))))
    highest = 0.0
    for _ in range(n_rounds):
        points = proposal.draw(qmc.Sobol(proposal.n_uniforms, rng=rng).random_base2(exponent))
        log_weights = evaluate(target, points) - proposal.log_density(points)
        if not np.isfinite(log_weights).any():
            break
        cut = special.logsumexp(log_weights) - 0.5 * np.log(len(points))
        weights = special.softmax(np.minimum(log_weights, cut))
        ess = 1 / (weights @ weights)
        if ess < 2 * proposal.dimension:
            continue
        proposal = proposal.adapted(points, weights, proposal.df)
        if ess > 0.8 * len(points) or ess < 1.02 * highest:
            break
        highest = ess
    return proposal


def sample(target: Target, proposal: StudentMixture, n: int, rng: np.random.Generator) -> Weighting:
    """Importance sampling with ``n`` draws in all, a power of two in each randomisation."""
    sequences = [qmc.Sobol(proposal.n_uniforms, rng=rng) for _ in range(N_RANDOMISATIONS)]
    points = np.concatenate([proposal.draw(sequence.random(n // N_RANDOMISATIONS)) for sequence in sequences])
    return weigh(target, points, evaluate(target, points), proposal.log_density)


def pool(target: Target, first: Weighting, second: Weighting) -> Weighting:
    """The draws of both proposals, weighted as draws from the mixture of these (Veach and Guibas 1995)."""
    parts = [each.points.reshape(N_RANDOMISATIONS, -1, target.dimension) for each in (first, second)]
    joints = [each.log_joint.reshape(N_RANDOMISATIONS, -1) for each in (first, second)]
    return weigh(
        target,
        np.concatenate(parts, axis=1).reshape(-1, target.dimension),
        np.concatenate(joints, axis=1).ravel(),
        lambda points: np.logaddexp(first.log_proposal(points), second.log_proposal(points)) - np.log(2),
    )


def trouble(weighting: Weighting) -> str:
    """What is wrong with the weights, empty where nothing is."""
    if weighting.relative_ess < MIN_RELATIVE_ESS:
        return f"the relative effective sample size of the weights is {weighting.relative_ess:.3f}"
    if weighting.relative_ess > EQUAL_WEIGHTS:
        return ""
    if weighting.khat > MAX_KHAT:
        return f"the weights have a tail with k-hat {weighting.khat:.2f}"
    if weighting.ridge_khat > MAX_RIDGE_KHAT:
        return f"the weights times squared unconstrained latents have a tail with k-hat {weighting.ridge_khat:.2f}"
    if weighting.moment_khat > MAX_MOMENT_KHAT:
        return f"the weights times squared deviations have a tail with k-hat {weighting.moment_khat:.2f}"
    return ""


def excess(weighting: Weighting, tolerance: float) -> float:
    """The largest standard error as a multiple of the tolerance."""
    with np.errstate(divide="ignore", invalid="ignore"):
        moments = np.concatenate([weighting.mean_error, weighting.sd_error]) / np.tile(weighting.sd, 2)
    return float(np.nan_to_num(np.append(moments, weighting.error), nan=np.inf).max() / tolerance)


def imprecision(weighting: Weighting, tolerance: float) -> str:
    """By how much errors are too large, empty where they are not."""
    times = excess(weighting, tolerance)
    return f"its standard errors are {times:.1f} times the tolerance" if times > 1 else ""


def disagreement(first: Weighting, second: Weighting, tolerance: float) -> str:
    """Where two proposals differ by more than their errors explain, or by five tolerances; empty where they agree."""
    threshold = special.stdtrit(N_RANDOMISATIONS - 1, 1 - FALSE_ALARM / (1 + 2 * len(first.mean)))
    values, others = (np.concatenate([[each.log_evidence], each.mean, each.sd]) for each in (first, second))
    errors = np.hypot(*(np.concatenate([[each.error], each.mean_error, each.sd_error]) for each in (first, second)))
    gaps, scales = np.abs(values - others), np.concatenate([[1.0], first.sd, first.sd])
    allowed = np.minimum(threshold * errors + 0.05 * tolerance * scales, 5 * tolerance * scales)
    if np.all(gaps <= allowed):
        return ""
    worst = int(np.argmax(gaps / allowed))
    what = "log evidences" if worst == 0 else "means" if worst <= len(first.mean) else "sds"
    return f"two proposals differ in their {what} by {gaps[worst] / errors[worst]:.1f} joint standard errors"
