"""The evidence by bridge sampling: posterior draws meet fresh draws of a proposal fitted to other posterior draws."""

from __future__ import annotations

from dataclasses import dataclass

import arviz_stats
import numpy as np
from scipy import optimize, special

from compare.fit.psis import smooth
from compare.fit.reference.proposal import Mixture, fit_mixture
from compare.fit.reference.target import Refused, Target, evaluate
from models.selection import evenly

__all__ = ["Bridge", "bridge"]

N_COMPONENTS, DF, INFLATION = 8, 8.0, 1.0
"""Components of a proposal, beside the wide one; their degrees of freedom; their width in sds of what they describe."""

MOST_DRAWS, N_FRESH = 4096, 4096
"""Posterior draws of each half that are used, evenly spaced, and fresh draws of each proposal."""

LEAST_ESS, MAX_R_HAT = 200, 1.01
"""Least effective sample size of any coordinate in each half, and the R-hat of all chains that is refused."""

LEAST_EFFECTIVE = 100
"""Least number of equally weighted independent draws that each of a bridge's two means must be worth."""

MAX_ERROR = 0.1
"""Standard error of the result in nats that is refused; only the distance of the halves can make it that large."""

ERRORS = 4.0
"""Standard errors by which equal quantities may differ."""

FALSE_ALARM = 1e-4
"""False-alarm probability of comparing the two sides of a bridge."""

CUT = 3.0
"""Sds beyond which coordinates are cut where both sides are compared: their errors must be normal."""

MAX_KHAT = 0.7
"""Pareto k-hat up to which the fresh draws' weights give an estimate of their own."""


@dataclass(frozen=True)
class Bridge:
    """The log evidence by bridge sampling.

    Attributes:
        log_evidence: In nats.
        error: Its standard error in nats.
        n_draws: Posterior draws that it rests on.
        n_fresh: Draws of the proposals that it rests on.
    """

    log_evidence: float
    error: float
    n_draws: int
    n_fresh: int


@dataclass(frozen=True)
class Span:
    """A bridge between posterior draws and one proposal.

    Attributes:
        log_evidence: In nats.
        error: Its standard error in nats.
        draws: Posterior draws, shape (chain, draw, d).
        fresh: Draws of the proposal, shape (n, d).
        shares: The proposal's part of the density at ``draws``, in (0, 1), shape (chain, draw).
        fresh_shares: The posterior's part of the density at ``fresh``, in (0, 1), shape (n,).
        log_ratios: log joint minus log density of the proposal at ``fresh``, shape (n,).
    """

    log_evidence: float
    error: float
    draws: np.ndarray
    fresh: np.ndarray
    shares: np.ndarray
    fresh_shares: np.ndarray
    log_ratios: np.ndarray


def bridge(target: Target, chains: np.ndarray, rng: np.random.Generator) -> Bridge:
    """The evidence by bridge sampling between draws of the posterior and proposals fitted to other draws of it.

    A mixture fitted to the first half of the chains meets the draws of the other half, and the other way round; the
    mean of both is returned. Its error is the relative mean-square error of Fruehwirth-Schnatter (2004), Estimating
    marginal likelihoods for mixture and Markov switching models using bridge sampling techniques, with the effective
    sample size on the posterior's side; or half of the distance of the two where that is larger.

    Args:
        target: The posterior.
        chains: Draws from it, shape (chain, draw, d), in the unconstrained space; two chains or more.
        rng: Source of all randomness.

    Raises:
        Refused: chains contradict each other or are short, the overlap with the proposals is small, or the draws, the
            proposals' weights and the two halves contradict each other.
        OutOfTime: the deadline has passed.

    Source: Meng & Wong (1996), Simulating ratios of normalizing constants via a simple identity; Gronau et al. (2017),
    A tutorial on bridge sampling.
    """
    middle = len(chains) // 2
    halves = [thinned(half) for half in (chains[:middle], chains[middle:])]
    check_chains(chains, halves)
    spans = [span(target, draws, others, rng) for draws, others in zip(halves, halves[::-1], strict=True)]
    for each in spans:
        reason = trouble(each)
        if reason:
            raise Refused(reason)
    values, errors = np.array([[each.log_evidence, each.error] for each in spans]).T
    apart, joint = float(np.ptp(values)), float(np.hypot(*errors))
    if apart > ERRORS * joint:
        raise Refused(f"two halves of the draws give log evidences {apart:.2g} nats apart, {apart / joint:.1f} errors")
    error = max(joint, apart) / 2
    if error > MAX_ERROR:
        raise Refused(f"its standard error is {error:.2g} nats")
    n_draws, n_fresh = sum(each.shares.size for each in spans), sum(each.fresh_shares.size for each in spans)
    return Bridge(float(values.mean()), error, n_draws, n_fresh)


def thinned(chains: np.ndarray) -> np.ndarray:
    """At most `MOST_DRAWS` draws, evenly spaced in each chain."""
    return chains[:, evenly(chains.shape[1], max(1, MOST_DRAWS // len(chains)))]


def check_chains(chains: np.ndarray, halves: list[np.ndarray]) -> None:
    """Raise `Refused` for chains that are not finite, contradict each other or are short."""
    if not np.isfinite(chains).all():
        raise Refused("a draw lies at the edge of the support")
    r_hat = float(np.max([arviz_stats.rhat(column) for column in np.moveaxis(chains, -1, 0)]))
    if not r_hat < MAX_R_HAT:
        raise Refused(f"the chains contradict each other (R-hat {r_hat:.3f} in the unconstrained space)")
    ess = np.min([effective_size(column) for half in halves for column in np.moveaxis(half, -1, 0)])
    if not ess >= LEAST_ESS:
        raise Refused(f"half of the draws have an effective sample size of {ess:.0f}; {LEAST_ESS} are needed")


def effective_size(values: np.ndarray) -> float:
    """The effective sample size of a mean of values (chain, draw), no more than their number."""
    return float(min(arviz_stats.ess(values, method="mean"), values.size))


def span(target: Target, draws: np.ndarray, others: np.ndarray, rng: np.random.Generator) -> Span:
    """The bridge between posterior draws (chain, draw, d) and a proposal fitted to other such draws."""
    d = draws.shape[-1]
    proposal = fit_mixture(others.reshape(-1, d), N_COMPONENTS, DF, INFLATION, rng)
    fresh = proposal.draw(N_FRESH, rng)
    log_ratios = evaluate(target, fresh) - proposal.log_density(fresh)
    at_draws = ratios_at(target, proposal, draws)
    size = float(draws.shape[0] * draws.shape[1])
    for _ in range(2):  # the second time with the effective number of draws
        offset = np.log(size / len(fresh))
        level = solve(at_draws, log_ratios, size / (size + len(fresh)))
        shares = special.expit(level - offset - at_draws)
        size = effective_size(shares)
    fresh_shares = special.expit(offset + log_ratios - level)
    squared = relative_variance(shares) / size + relative_variance(fresh_shares) / len(fresh)
    return Span(level, float(np.sqrt(squared)), draws, fresh, shares, fresh_shares, log_ratios)


def ratios_at(target: Target, proposal: Mixture, draws: np.ndarray) -> np.ndarray:
    """log joint minus log density of the proposal at draws (chain, draw, d), shape (chain, draw)."""
    flat = draws.reshape(-1, draws.shape[-1])
    values = evaluate(target, flat)
    if not np.isfinite(values).all():
        raise Refused("the log joint is not finite at some draw")
    return (values - proposal.log_density(flat)).reshape(draws.shape[:2])


def solve(at_draws: np.ndarray, at_fresh: np.ndarray, share: float) -> float:
    """The log evidence at which the optimal bridge function's two means agree, in nats.

    Args:
        at_draws: log joint minus log density of the proposal at posterior draws.
        at_fresh: The same at draws of the proposal; -inf is allowed.
        share: Of the posterior draws among all, s1; that of the others is 1 - s1.

    Source: Meng & Wong (1996), the iterative scheme. With w the posterior's part of the mixture s1 p + s2 q at a draw,
    its fixed point is where mean w / s1 over the proposal's draws is mean (1 - w) / s2 over the posterior's.
    """
    offset = np.log(share) - np.log1p(-share)

    def excess(level: float) -> float:
        ours, theirs = special.expit(offset + at_fresh - level), special.expit(level - offset - at_draws)
        return float(ours.mean() / share - theirs.mean() / (1 - share))

    highest = at_fresh.max()  # the lower ones may lie anywhere, and do not bound the level
    if not np.isfinite(highest):
        raise Refused("the log joint is finite at no draw of the proposal")
    low, high = min(at_draws.min(), highest), max(at_draws.max(), highest)
    return float(optimize.brentq(excess, low - 50, high + 50, xtol=1e-10))


def relative_variance(values: np.ndarray) -> float:
    """The variance over the squared mean."""
    mean = values.mean()
    return float(values.var(ddof=1) / mean**2) if mean > 0 else np.inf


def trouble(each: Span) -> str:
    """Why a bridge cannot be trusted, empty where it can."""
    sides = {"posterior": effective_size(each.shares), "proposal": float(len(each.fresh))}
    shares = {"posterior": each.shares, "proposal": each.fresh_shares}
    for name, size in sides.items():
        worth = size / max(relative_variance(shares[name]), 1e-300)
        if not worth >= LEAST_EFFECTIVE:
            return f"the proposal overlaps with the posterior in {worth:.0f} effective draws of the {name} only"
    return other_estimate(each) or imbalance(each)


def other_estimate(each: Span) -> str:
    """Why the importance weights of the fresh draws contradict the bridge: they show more evidence; empty else."""
    if smooth(each.log_ratios)[1] > MAX_KHAT:
        return ""
    ratios = np.exp(each.log_ratios - each.log_evidence)
    error = np.hypot(ratios.std(ddof=1) / np.sqrt(len(ratios)), each.error)
    if float(ratios.mean()) - 1 <= ERRORS * error:  # less is a fault of the weights: they miss a tail
        return ""
    return f"importance sampling finds {ratios.mean():.3g} times the evidence: the draws miss mass"


def imbalance(each: Span) -> str:
    """Why the two sides contradict each other where they overlap; empty where they agree.

    The draws of either side, weighted by the other's part of the density, are draws of one distribution. Its means and
    mean squares in every coordinate must agree.
    """
    fresh_weights = each.fresh_shares / each.fresh_shares.mean()
    weights = each.shares / each.shares.mean()
    center, scale = each.draws.mean((0, 1)), each.draws.std((0, 1))
    scores = []
    for k in range(each.draws.shape[-1]):
        here, there = (np.clip((z[..., k] - center[k]) / scale[k], -CUT, CUT) for z in (each.draws, each.fresh))
        for power in (1, 2):
            a, b = here**power, there**power
            mean, other = (weights * a).mean(), (fresh_weights * b).mean()
            terms, fresh_terms = weights * (a - mean), fresh_weights * (b - other)
            error = np.hypot(terms.std() / np.sqrt(effective_size(terms)), fresh_terms.std() / np.sqrt(len(b)))
            scores.append(abs(mean - other) / error)
    threshold = special.ndtri(1 - FALSE_ALARM / (2 * len(scores)))
    worst = np.max(scores)
    if worst <= threshold:
        return ""
    return f"posterior draws and fresh draws differ by {worst:.1f} errors where they overlap"
