"""Rung 2: importance sampling from adapted, defensive mixtures, accepted where two of them agree."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import special
from scipy.stats import qmc

from compare.fit.reference.modes import ModeSearch
from compare.fit.reference.proposals import StudentMixture, around_modes, fit_mixture
from compare.fit.reference.target import Target, evaluate
from compare.fit.reference.weighting import N_RANDOMISATIONS, Estimate, pareto_khat, weigh

__all__ = ["Importance", "contradiction", "sample_by_importance"]

MAX_KHAT = 0.7
"""Pareto k-hat above which weights have too heavy a tail (Vehtari et al. 2024)."""

MAX_MOMENT_KHAT = 0.4
"""Pareto k-hat of the weights times squared deviations above which moments are not trusted. Curved ridges whose
ends both proposals miss have 0.45 and more, Gaussians and mixtures 0.26 and less."""

MIN_RELATIVE_ESS = 0.05
"""Relative effective sample size below which too few draws carry the weight."""

EQUAL_WEIGHTS = 0.95
"""Relative effective sample size above which weights are so equal that k-hat says nothing."""

N_ADAPTATIONS = 6


@dataclass(frozen=True)
class Importance:
    """A posterior by importance sampling.

    Attributes:
        is_accepted: Whether both proposals are sound, agree, and meet the tolerance.
        reason: Why it was accepted or not, in one sentence.
        log_evidence, error: In nats; ``error`` is a standard error.
        mean, sd: Of the quantities, shape (k,).
        mean_error, sd_error: Their standard errors, shape (k,).
        khat: Pareto k-hat of the weights.
        relative_ess: Effective sample size over the number of draws.
        points: Draws from the proposal, shape (n, d).
        weights: Their weights, sum 1, shape (n,).
        proposal: The mixture, without the prior's part; None where none could be made.
        n_evaluations: Points at which the log joint was evaluated.
    """

    is_accepted: bool
    reason: str
    log_evidence: float
    error: float
    mean: np.ndarray
    sd: np.ndarray
    mean_error: np.ndarray
    sd_error: np.ndarray
    khat: float
    relative_ess: float
    points: np.ndarray = field(repr=False)
    weights: np.ndarray = field(repr=False)
    proposal: StudentMixture | None = field(repr=False)
    n_evaluations: int

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draws from the posterior by systematic resampling, in random order, shape (n, d)."""
        positions = (rng.random() + np.arange(n)) / n
        chosen = np.minimum(np.searchsorted(np.cumsum(self.weights), positions), len(self.weights) - 1)
        return self.points[rng.permutation(chosen)]


def sample_by_importance(
    target: Target,
    search: ModeSearch,
    rng: np.random.Generator,
    extra: tuple[np.ndarray, np.ndarray] | None = None,
    tolerance: float = 0.02,
    max_evaluations: int = 600_000,
) -> Importance:
    """The evidence and moments of a posterior by importance sampling.

    The first proposal has a Student t (4 degrees of freedom) around each mode, adapted by population Monte Carlo. The
    second is fitted to clusters of the first's resampled draws, wider, with lighter tails (12 degrees) or, where the
    weights' tail asks for it, heavier ones (2.5). A tenth of the draws are the prior's, where its density is known.

    Args:
        target: The posterior.
        search: All modes.
        rng: Source of all randomness.
        extra: Draws (n, d) of a third proposal and their log densities (n,), such as a guide's; where its weights are
            sound its evidence must agree.
        tolerance: Largest standard error of the log evidence (nats), of means (in sds) and of sds (relative).
        max_evaluations: Evaluations at most.

    Returns:
        The first proposal's numbers, whose errors cover the difference to the second's, and the verdict on them.
    """
    first, one, n_spent = _first(target, search, rng)
    n = 2**10
    while True:
        sound = _trouble(one)
        enough = n_spent + 3 * n * N_RANDOMISATIONS > max_evaluations
        if sound or enough or _excess(one, tolerance) <= 0.7:
            break
        n *= 2
        one = _estimate(target, first, n, rng)
        n_spent += n * N_RANDOMISATIONS
    if sound:
        return _result(one, sound, first, n_spent)
    for _ in range(2):  # a second fit where the first is not sound: clusters are cut at random
        two, spent = _second(target, first, one, n, rng)
        n_spent += spent
        trouble = _trouble(two)
        if not trouble:
            break
    if trouble:
        return _result(one, f"by a second proposal, {trouble}", first, n_spent)
    trouble = _disagreement(one, two, tolerance) or contradiction(target, one.log_evidence, one.error, extra)
    return _result(one, trouble, first, n_spent, two)


def _first(target: Target, search: ModeSearch, rng: np.random.Generator) -> tuple[StudentMixture, Estimate, int]:
    """The first proposal, its estimate, and the evaluations spent.

    Where components at the modes do not do, as on a curved ridge, mixtures of more components follow, fitted to draws
    resampled from the last.
    """
    proposal, n_spent = _adapt(target, around_modes(search.modes, df=4.0), rng)
    n = 2**10
    best = None
    for n_components in (12, 30, 60, 0):
        estimate = _estimate(target, proposal, n, rng)
        n_spent += n * N_RANDOMISATIONS
        if best is None or estimate.relative_ess > best[1].relative_ess:
            best = proposal, estimate
        if not _trouble(estimate) or estimate.relative_ess == 0 or not n_components:
            break
        proposal = fit_mixture(_resample(best[1], rng), n_components, df=4.0, rng=rng, inflation=1.25)
        proposal, spent = _adapt(target, proposal, rng)
        n_spent += spent
    return *best, n_spent


def _second(
    target: Target, first: StudentMixture, one: Estimate, n: int, rng: np.random.Generator
) -> tuple[Estimate, int]:
    """The second proposal's estimate, and the evaluations spent."""
    count = len(first.weights) if len(first.weights) == 1 else int(1.5 * len(first.weights))
    df = 12.0 if one.khat < 0.3 else 2.5
    second, n_spent = _adapt(target, fit_mixture(_resample(one, rng), count, df, rng, inflation=1.25), rng, n_rounds=2)
    return _estimate(target, second, n, rng), n_spent + n * N_RANDOMISATIONS


def _resample(estimate: Estimate, rng: np.random.Generator) -> np.ndarray:
    """Draws resampled by their weights, those above n^(1/2) means cut, at most 20,000."""
    n = len(estimate.points)
    weights = np.minimum(estimate.weights, estimate.weights.sum() / np.sqrt(n))
    return estimate.points[rng.choice(n, size=min(20_000, n), p=weights / weights.sum())]


def _adapt(
    target: Target, proposal: StudentMixture, rng: np.random.Generator, n_rounds: int = N_ADAPTATIONS
) -> tuple[StudentMixture, int]:
    """The mixture after population Monte Carlo, and the evaluations spent; weights above n^(1/2) means are cut."""
    exponent = max(11, min(15, int(np.ceil(np.log2(40 * len(proposal.weights) * (proposal.dimension + 5))))))
    n_spent = 0
    for _ in range(n_rounds):
        points = proposal.draw(qmc.Sobol(proposal.dimension + 2, rng=rng).random_base2(exponent))
        log_weights = evaluate(target, points) - proposal.log_density(points)
        n_spent += len(points)
        if not np.isfinite(log_weights).any():
            break
        cut = special.logsumexp(log_weights) - 0.5 * np.log(len(points))
        weights = special.softmax(np.minimum(log_weights, cut))
        ess = 1 / (weights @ weights)
        if ess < 2 * proposal.dimension:
            continue
        proposal = proposal.adapted(points, weights, proposal.df)
        if ess > 0.8 * len(points):
            break
    return proposal, n_spent


def _estimate(target: Target, proposal: StudentMixture, n: int, rng: np.random.Generator) -> Estimate:
    """Importance sampling with ``n`` draws a randomisation, and a tenth as many from the prior where possible."""
    n_prior, blocks = 0, np.empty((N_RANDOMISATIONS, 0, target.dimension))
    if target.prior_draws is not None and target.prior_log_density is not None:
        n_prior = min(n // 10, len(target.prior_draws) // N_RANDOMISATIONS)
        chosen = rng.permutation(len(target.prior_draws))[: n_prior * N_RANDOMISATIONS]
        blocks = target.prior_draws[chosen].reshape(N_RANDOMISATIONS, n_prior, target.dimension)
    exponent = int(np.log2(n))
    draws = [proposal.draw(qmc.Sobol(target.dimension + 2, rng=rng).random_base2(exponent)) for _ in blocks]
    points = np.concatenate([np.concatenate([block, draw]) for block, draw in zip(blocks, draws, strict=True)])
    total = n + n_prior
    log_q = proposal.log_density(points) + np.log(n / total)
    if n_prior:
        log_q = np.logaddexp(log_q, target.prior_log_density(points) + np.log(n_prior / total))
    return weigh(target, points, evaluate(target, points) - log_q)


def _trouble(estimate: Estimate) -> str:
    """What is wrong with the weights, empty where nothing is."""
    if estimate.relative_ess < MIN_RELATIVE_ESS:
        return f"the relative effective sample size of the weights is {estimate.relative_ess:.3f}"
    if estimate.khat > MAX_KHAT and estimate.relative_ess < EQUAL_WEIGHTS:
        return f"the weights have a tail with k-hat {estimate.khat:.2f}"
    if estimate.moment_khat > MAX_MOMENT_KHAT and estimate.relative_ess < EQUAL_WEIGHTS:
        return f"the weights times squared deviations have a tail with k-hat {estimate.moment_khat:.2f}"
    return ""


def _excess(estimate: Estimate, tolerance: float) -> float:
    """The largest standard error as a multiple of the tolerance."""
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.concatenate(
            [estimate.mean_error / estimate.sd, estimate.sd_error / estimate.sd, [estimate.error]]
        )
    return float(np.nan_to_num(relative, nan=np.inf).max() / tolerance)


def _disagreement(one: Estimate, two: Estimate, tolerance: float) -> str:
    """Where two proposals differ by more than four joint errors, or are not precise enough; empty where they agree."""
    if _excess(one, tolerance) > 1:
        return f"its standard errors are {_excess(one, tolerance):.1f} times the tolerance"
    count = 1 + 2 * len(one.mean)
    threshold = special.stdtrit(N_RANDOMISATIONS - 1, 1 - 1e-4 / count)
    gaps = np.concatenate([[one.log_evidence - two.log_evidence], one.mean - two.mean, one.sd - two.sd])
    errors = np.hypot(
        np.concatenate([[one.error], one.mean_error, one.sd_error]),
        np.concatenate([[two.error], two.mean_error, two.sd_error]),
    )
    scales = np.concatenate([[1.0], one.sd, one.sd])
    allowed = threshold * errors + 0.05 * tolerance * scales
    if np.all(np.abs(gaps) <= allowed) and np.all(np.abs(gaps) <= 5 * tolerance * scales):
        return ""
    worst = int(np.argmax(np.abs(gaps) / allowed))
    what = "log evidences" if worst == 0 else "means" if worst <= len(one.mean) else "sds"
    return f"two proposals differ in their {what} by {abs(gaps[worst]) / errors[worst]:.1f} joint standard errors"


def contradiction(
    target: Target, log_evidence: float, error: float, extra: tuple[np.ndarray, np.ndarray] | None
) -> str:
    """Whether draws from another proposal show more evidence than a reference has; empty where they do not.

    Draws that miss mass show too little evidence, so that only more is evidence against the reference.

    Args:
        target: The posterior.
        log_evidence, error: The reference's, in nats.
        extra: Draws (n, d) and their log densities (n,) under the proposal that they came from.
    """
    if extra is None:
        return ""
    log_weights = evaluate(target, extra[0]) - extra[1]
    log_mean = float(special.logsumexp(log_weights) - np.log(len(log_weights)))
    own = float(np.exp(log_weights - log_mean).std(ddof=1) / np.sqrt(len(log_weights)))
    gap = log_mean - log_evidence
    if gap > 4 * np.hypot(own, error) + 0.01 and pareto_khat(log_weights) < 0.7:
        return f"the given draws estimate a log evidence {gap:.2f} nats higher"
    return ""


def _result(
    one: Estimate, trouble: str, proposal: StudentMixture, n_spent: int, two: Estimate | None = None
) -> Importance:
    """The first estimate with the verdict on it."""
    reason = trouble or (
        f"importance sampling from two adapted mixtures that agree, k-hat {one.khat:.2f} ({one.moment_khat:.2f} with"
        f" squares), relative effective sample size {one.relative_ess:.2f}, log evidence to {one.error:.4f} nats"
    )
    return Importance(
        is_accepted=not trouble and two is not None,
        reason=reason,
        log_evidence=one.log_evidence,
        error=one.error,
        mean=one.mean,
        sd=one.sd,
        mean_error=one.mean_error,
        sd_error=one.sd_error,
        khat=one.khat,
        relative_ess=one.relative_ess,
        points=one.points,
        weights=one.weights,
        proposal=proposal,
        n_evaluations=n_spent,
    )
