"""Whether importance sampling can be trusted: two proposals and a short walk from their draws must agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import special

from compare.fit.reference.importance import (
    GOOD,
    N_REPLICATES,
    Proposal,
    Sample,
    WeightedDraws,
    adapt,
    draw,
    estimate,
    log_proposal,
    resample,
)
from compare.fit.reference.modes import ModeSearch
from compare.fit.reference.moves import move
from compare.fit.reference.target import Refused, Target, evaluate

__all__ = ["sample_by_importance"]

MAX_KHAT, MAX_MOMENT_KHAT = 0.5, 0.7
"""Pareto k-hat above which weights, or weights times squares, may have no variance."""

MIN_RELATIVE_ESS = 0.05
"""Relative effective sample size below which a proposal is too far from the posterior."""

EQUAL_WEIGHTS = 0.95
"""Relative effective sample size above which weights are so equal that their k-hat says nothing."""

AIM, LEAST_DRAWS, MOST_DRAWS = 20_000, 2**14, 2**18
"""Effective draws aimed at with each proposal, and the fewest and most draws made for them."""

FALSE_ALARM = 1e-4
"""False-alarm probabilities: that right proposals disagree, and that right draws wander off."""

N_WALKERS, N_MOVES = 2048, 20
"""Draws, chosen by their weights, that walk through the posterior, and their moves."""

BEYOND = 0.002
"""Share of the walkers that may end where the posterior exceeds the proposals by more than at any draw."""


def sample_by_importance(
    target: Target, searches: tuple[ModeSearch, ModeSearch], rng: np.random.Generator, tolerance: float
) -> WeightedDraws:
    """The evidence and moments of a posterior by importance sampling.

    Args:
        target: The posterior.
        searches: Two independent searches for its modes, one for each proposal.
        rng: Source of all randomness.
        tolerance: Largest standard error of the log evidence in nats, of means and of sds in sds.

    Returns:
        The estimate from the draws of both proposals, which differ in tails and widths.

    Raises:
        Refused: the weights are uneven, the proposals disagree, walkers leave what they cover, or errors are large.
        OutOfTime: the deadline has passed.
    """
    proposals, counts = [], []
    for search, df, inflation in zip(searches, (3.0, 4.0), (1.1, 1.2), strict=True):
        proposals.append(adapt(target, search, df, inflation, rng))
        counts.append(n_draws(proposals[-1]))  # a first one that is poor spares the second
    if target.extended and min(proposal.relative_ess for proposal in proposals) > GOOD:
        target = replace(target, deadline=target.extended)
    samples = [draw(target, proposal.mixture, n, rng) for proposal, n in zip(proposals, counts, strict=True)]
    first, second = (estimate([sample]) for sample in samples)
    both = estimate(samples)
    reasons = [trouble(first), trouble(second), disagreement(first, second), trouble(both)]
    reasons.append(imprecision(both, tolerance))
    reason = next(filter(None, reasons), "") or wandering(target, samples, both, rng)
    if reason:
        raise Refused(reason)
    return both


def n_draws(proposal: Proposal) -> int:
    """How many draws a proposal needs, a multiple of `N_REPLICATES`.

    Raises:
        Refused: the proposal is too far from the posterior.
    """
    if proposal.relative_ess < MIN_RELATIVE_ESS:
        raise Refused(f"the relative effective sample size of the best proposal is {proposal.relative_ess:.2g}")
    needed = AIM / proposal.relative_ess
    return int(2 ** np.ceil(np.log2(np.clip(needed, LEAST_DRAWS, MOST_DRAWS))))


def trouble(weighted: WeightedDraws) -> str:
    """What is wrong with the weights, empty where nothing is."""
    if weighted.relative_ess < MIN_RELATIVE_ESS:
        return f"the relative effective sample size of the weights is {weighted.relative_ess:.2g}"
    if weighted.khat > MAX_KHAT and weighted.relative_ess <= EQUAL_WEIGHTS:
        return f"the weights have a tail with k-hat {weighted.khat:.2f}"
    if weighted.moment_khat > MAX_MOMENT_KHAT:
        return f"the weights times squared deviations have a tail with k-hat {weighted.moment_khat:.2f}"
    return ""


def numbers(weighted: WeightedDraws) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The log evidence, means and sds; their errors; and what these are measured in: nats and sds."""
    values = np.concatenate([[weighted.log_evidence], weighted.mean, weighted.sd])
    errors = np.concatenate([[weighted.error], weighted.mean_error, weighted.sd_error])
    return values, errors, np.concatenate([[1.0], weighted.sd, weighted.sd])


def imprecision(weighted: WeightedDraws, tolerance: float) -> str:
    """A sentence on errors that are too large; empty where none is."""
    values, errors, scales = numbers(weighted)
    if not (np.isfinite(values).all() and np.isfinite(errors).all()):
        return "some mean or sd is not finite: it does not exist, or lies too far in the tails"
    times = float(np.divide(errors, scales, out=np.zeros_like(errors), where=scales > 0).max() / tolerance)
    return f"its standard errors are {times:.1f} times what is tolerated" if times > 1 else ""


def disagreement(first: WeightedDraws, second: WeightedDraws) -> str:
    """Where two proposals differ by more than their errors explain, empty where they agree."""
    values, errors, _ = numbers(first)
    others, their_errors, _ = numbers(second)
    threshold = special.stdtrit(N_REPLICATES - 1, 1 - FALSE_ALARM / (2 * len(values)))
    joint = np.hypot(errors, their_errors)
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = np.where(joint > 0, np.abs(values - others) / joint, 0.0)
    worst = int(np.argmax(np.nan_to_num(scores, nan=np.inf)))
    if scores[worst] <= threshold:
        return ""
    what = "log evidences" if worst == 0 else "means" if worst <= len(first.mean) else "sds"
    return f"two proposals differ in their {what} by {scores[worst]:.1f} joint standard errors"


def wandering(target: Target, samples: Sequence[Sample], both: WeightedDraws, rng: np.random.Generator) -> str:
    """Whether draws that walk through the posterior end elsewhere than they began, empty where they do not.

    Where proposals miss a part of the posterior next to what they cover, walkers enter it and do not come back.
    """
    began = both.points[resample(both.weights, N_WALKERS, rng)]
    ended = move(target, began, samples[0].mixture.within, N_MOVES, rng)
    beyond = float(np.mean(evaluate(target, ended) - log_proposal(samples, ended) > both.log_ratios.max()))
    if beyond > BEYOND:
        return f"{beyond:.1%} of the draws walk to where the proposals do not reach"
    mean = both.weights @ both.points
    sd = np.sqrt(both.weights @ (both.points - mean) ** 2)
    before, after = (began - mean) / sd, (ended - mean) / sd
    changes = np.concatenate([after - before, after**2 - before**2], axis=1)
    scores = np.abs(changes.mean(0)) / (changes.std(0, ddof=1) / np.sqrt(N_WALKERS) + 1e-300)
    if scores.max() > special.ndtri(1 - FALSE_ALARM / (2 * len(scores))):
        return f"draws that walk through the posterior change its moments by {scores.max():.1f} standard errors"
    return ""
