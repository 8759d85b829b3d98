"""Bridge sampling: the evidence from draws of chains, and the masses of modes in which separate chains sit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from arviz_stats.base import array_stats
from scipy import special

from compare.fit.reference.proposals import StudentMixture, fit_mixture
from compare.fit.reference.target import Target, evaluate

__all__ = ["Bridge", "ModeMasses", "estimate_mode_masses", "sample_bridge"]


@dataclass(frozen=True)
class Bridge:
    """The evidence by bridge sampling.

    Attributes:
        log_evidence: In nats.
        error: Its standard error, in nats; inf where it cannot be known.
        reason: What it rests on, or why it is not known, in one sentence.
    """

    log_evidence: float
    error: float
    reason: str


@dataclass(frozen=True)
class ModeMasses:
    """The masses of modes in which separate chains sit.

    Attributes:
        weights: Share of each mode, sum 1, shape (m,).
        weight_errors: Their standard errors, shape (m,).
        log_masses, log_mass_errors: Log mass of each region and its standard error, in nats, shape (m,).
        log_evidence, error: Log of the sum of all masses and its standard error, in nats.
        strayed: Share of each run's draws that lie in other modes' regions, shape (m,).
        reason: What the numbers rest on, or why they cannot be trusted, in one sentence.
        is_accepted: Whether they can be trusted.
    """

    weights: np.ndarray
    weight_errors: np.ndarray
    log_masses: np.ndarray
    log_mass_errors: np.ndarray
    log_evidence: float
    error: float
    strayed: np.ndarray = field(repr=False)
    reason: str
    is_accepted: bool


def sample_bridge(
    target: Target,
    draws: np.ndarray,
    rng: np.random.Generator,
    proposal: StudentMixture | None = None,
    n_components: int = 1,
) -> Bridge:
    """The evidence by bridge sampling between posterior draws and a proposal fitted to the other half of each chain.

    Without a proposal both halves take either part once, and the two estimates are averaged.

    Args:
        target: The posterior.
        draws: Posterior draws in the unconstrained space, shape (chains, draws, d).
        rng: Source of all randomness.
        proposal: A proposal that these draws did not determine, such as importance sampling's.
        n_components: Components of the fitted mixture, for posteriors with several modes.

    Source: Meng and Wong (1996); Gronau et al. (2017), A tutorial on bridge sampling, section 3 and appendix; error
    from Fruehwirth-Schnatter (2004), equations 16 to 19.
    """
    half = draws.shape[1] // 2
    first, second = draws[:, :half], draws[:, half : 2 * half]
    if proposal is not None:
        parts = [_bridge(target, draws, proposal, rng)]
    else:
        parts = []
        for fitted, used in ((first, second), (second, first)):
            own = fit_mixture(fitted.reshape(-1, draws.shape[2]), n_components, df=8.0, rng=rng)
            parts.append(_bridge(target, used, own, rng))
    values, by_draws, by_proposal = np.array(parts).T
    log_evidence = float(values.mean())
    # Each half determines one fit and one estimate, so that what comes from the chains' draws does not average out.
    error = float(np.hypot(by_draws.mean(), np.linalg.norm(by_proposal) / len(parts)))
    if not np.isfinite(error):
        return Bridge(log_evidence, np.inf, "the draws and the proposal do not overlap")
    if np.ptp(values) > 4 * np.linalg.norm([*by_draws, *by_proposal]) + 0.01:
        return Bridge(log_evidence, np.inf, f"the two halves of the chains differ by {np.ptp(values):.2f} nats")
    if error > 0.5:
        return Bridge(log_evidence, np.inf, f"the standard error is {error:.2f} nats, too large to be trusted itself")
    return Bridge(log_evidence, error, f"bridge sampling from {draws.shape[0]} chains of {draws.shape[1]} draws")


def _effective(values: np.ndarray) -> float:
    """The effective sample size of the mean of values (chains, draws); at most their number."""
    if np.ptp(values) == 0:
        return float(values.size)
    ess = float(array_stats.ess(values, method="mean", chain_axis=0, draw_axis=1))
    return min(ess, values.size) if np.isfinite(ess) else 1.0


def _bridge(
    target: Target,
    draws: np.ndarray,
    proposal: StudentMixture,
    rng: np.random.Generator,
    region: tuple[StudentMixture, int] | None = None,
) -> tuple[float, float, float]:
    """Log evidence and its standard errors by the draws and by the proposal, in nats.

    With ``region`` it is that of the part of the space in which one of a mixture's components is the largest.

    Args:
        draws: Posterior draws, shape (chains, draws, d); those outside the region have weight 0.
    """
    chains, n, d = draws.shape
    proposed = proposal.draw(rng.random((chains * n, d + 2)))
    ratios = []
    for points in (draws.reshape(-1, d), proposed):
        log_ratio = evaluate(target, points) - proposal.log_density(points)
        if region is not None:
            log_ratio[_region(region[0], points) != region[1]] = -np.inf
        ratios.append(log_ratio)
    posterior, prior = ratios
    inside = np.isfinite(posterior)
    if not inside.any() or not np.isfinite(prior).any():
        return -np.inf, np.inf, np.inf
    indicator = inside.reshape(chains, n).astype(float)
    capped = np.where(inside, posterior, posterior[inside].min())
    n_effective = max(_effective(capped.reshape(chains, n)) * inside.mean(), 1.0)
    log_shares = np.log(np.array([n_effective, len(prior)]) / (n_effective + len(prior)))
    log_r = float(np.median(posterior[inside]))

    def terms(log_r: float) -> tuple[np.ndarray, np.ndarray]:
        """Logs of p / (s1 p + s2 q) over the proposed, and of q / (s1 p + s2 q) over the posterior draws."""
        upper = prior - log_r - np.logaddexp(log_shares[0] + prior - log_r, log_shares[1])
        lower = -np.logaddexp(log_shares[0] + posterior - log_r, log_shares[1])
        return upper, np.where(inside, lower, -np.inf)

    for _ in range(1000):
        upper, lower = terms(log_r)
        change = special.logsumexp(upper) - np.log(len(upper)) - special.logsumexp(lower) + np.log(inside.sum())
        log_r += change
        if abs(change) < 1e-10:
            break
    upper, lower = (np.exp(part) for part in terms(log_r))
    lower = lower.reshape(chains, n)
    # Draws outside the region are left out: the mean over those inside is a ratio, whose influence function this is.
    mean = lower.sum() / indicator.sum()
    influence = (lower - mean * indicator) / indicator.mean() / mean
    by_draws = np.sqrt(np.mean(influence**2) / _effective(influence))
    by_proposal = upper.std() / upper.mean() / np.sqrt(len(upper))
    return log_r, float(by_draws), float(by_proposal)


def _region(regions: StudentMixture, points: np.ndarray) -> np.ndarray:
    """The index of the component that is largest at each point (n, d), shape (n,)."""
    return regions.component_log_densities(points)[0].argmax(1)


def estimate_mode_masses(target: Target, runs: Sequence[np.ndarray], rng: np.random.Generator) -> ModeMasses:
    """The mass of each mode by bridge sampling, from chains that each stayed in one.

    The space is cut into regions: a t distribution is fitted to the first half of each run, and a point belongs to the
    run whose t is the largest there. Each region's mass follows from its run's second half, so that the masses are
    those of disjoint sets and their sum is the evidence.

    Args:
        target: The posterior.
        runs: For each mode, draws of shape (chains, draws, d), which may differ in number.
        rng: Source of all randomness.
    """
    d = runs[0].shape[2]
    halves = [(run[:, : run.shape[1] // 2], run[:, run.shape[1] // 2 :]) for run in runs]
    fitted = [fit_mixture(first.reshape(-1, d), 1, df=5.0, rng=rng) for first, _ in halves]
    regions = StudentMixture(
        np.full(len(runs), 1 / len(runs)),
        np.concatenate([part.locations for part in fitted]),
        np.concatenate([part.scales for part in fitted]),
        5.0,
    )
    log_masses, errors, strayed = np.empty(len(runs)), np.empty(len(runs)), np.empty(len(runs))
    for k, (_, second) in enumerate(halves):
        strayed[k] = np.mean(_region(regions, second.reshape(-1, d)) != k)
        log_masses[k], *parts = _bridge(target, second, fitted[k], rng, (regions, k))
        errors[k] = np.hypot(*parts)
    log_evidence = float(special.logsumexp(log_masses))
    weights = np.exp(log_masses - log_evidence)
    # d w_k = w_k (d l_k - sum_j w_j d l_j), with independent errors of the log masses l.
    jacobian = weights[:, None] * (np.eye(len(runs)) - weights)
    weight_errors = np.sqrt((jacobian**2) @ np.where(np.isfinite(errors), errors, 1e3) ** 2)
    reason, is_accepted = f"bridge sampling in {len(runs)} modes, {strayed.max():.1%} of draws strayed at most", True
    if strayed.max() > 0.2:
        reason, is_accepted = (
            f"{strayed.max():.0%} of a run's draws lie in another mode: the modes are not apart",
            False,
        )
    elif not errors.max() < 0.3:
        reason, is_accepted = f"a mode's log mass has a standard error of {errors.max():.2f} nats", False
    error = float(np.sqrt(weights**2 @ errors**2))
    return ModeMasses(weights, weight_errors, log_masses, errors, log_evidence, error, strayed, reason, is_accepted)
