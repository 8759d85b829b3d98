"""The ladder: which reference a posterior gets, and why not a better one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from compare.fit.reference.cells import ORDERS
from compare.fit.reference.importance import Importance, contradiction, sample_by_importance
from compare.fit.reference.modes import ModeSearch, find_modes
from compare.fit.reference.quadrature import Quadrature, integrate
from compare.fit.reference.target import Target, UnboundedDensity

__all__ = ["Attempt", "Reference", "Refusal", "Rung", "climb"]

TOLERANCE = 0.02
"""Errors of means (in sds) and of sds (relative) up to which a reference decides verdicts."""


@dataclass(frozen=True)
class Attempt:
    """One rung that was tried.

    Attributes:
        rung: Its name.
        is_accepted: Whether its result is the reference.
        reason: Why, or why not, in one sentence.
        n_evaluations: Points at which the log joint was evaluated.
        seconds: What it took.
    """

    rung: str
    is_accepted: bool
    reason: str
    n_evaluations: int
    seconds: float


@dataclass(frozen=True)
class Reference:
    """A posterior that fits are compared to.

    Attributes:
        method: The rung that it comes from.
        is_exact: Whether its errors are bounds of a deterministic method instead of standard errors.
        reason: Why it was accepted, in one sentence.
        log_evidence, log_evidence_error: In nats; NaN where a rung does not estimate it.
        mean, sd, mean_error, sd_error: Of the quantities, shape (k,); NaN where moments are out of reach.
        draws: Draws in the unconstrained space, shape (n, d); independent for quadrature and importance sampling.
        search: The modes that were found; None for a rung that was given none.
        attempts: All rungs tried, this one last.
    """

    method: str
    is_exact: bool
    reason: str
    log_evidence: float
    log_evidence_error: float
    mean: np.ndarray
    sd: np.ndarray
    mean_error: np.ndarray
    sd_error: np.ndarray
    draws: np.ndarray = field(repr=False)
    search: ModeSearch | None = field(default=None, repr=False)
    attempts: tuple[Attempt, ...] = ()


@dataclass(frozen=True)
class Refusal:
    """No reference, and why.

    Attributes:
        reason: In one sentence, what each rung lacked.
        search: The modes that were found; None where the log joint could not be searched.
        attempts: All rungs tried.
        importance: What importance sampling came to; its proposal may still serve bridge sampling.
    """

    reason: str
    search: ModeSearch | None = field(repr=False)
    attempts: tuple[Attempt, ...]
    importance: Importance | None = field(default=None, repr=False)


Rung = Callable[[Target, ModeSearch, np.random.Generator], Reference | str]
"""A further rung: a reference, or the reason why there is none."""


def climb(
    target: Target,
    rng: np.random.Generator,
    near: np.ndarray | None = None,
    extra: tuple[np.ndarray, np.ndarray] | None = None,
    tolerance: float = TOLERANCE,
    rungs: Sequence[tuple[str, Rung]] = (),
    n_draws: int = 4000,
) -> Reference | Refusal:
    """The reference of a posterior from the first rung that is sound.

    Args:
        target: The posterior.
        rng: Source of all randomness.
        near: Points near which modes are looked for as well, shape (k, d): locations of guides, ends of chains.
        extra: Draws (n, d) from another proposal, such as a guide, and their log densities (n,): a reference whose
            evidence is lower than theirs is refused.
        tolerance: Largest error of means (in sds), of sds (relative) and of the log evidence (nats).
        rungs: Names and callables to go on with, such as chains and tempered SMC.
        n_draws: Draws of the reference.

    Returns:
        A reference, or a refusal with the reason of each rung; never a silent one.
    """
    attempts: list[Attempt] = []
    start = time.perf_counter()
    try:
        search = find_modes(target, rng, near)
        if search.trouble:
            return Refusal(search.trouble, search, ())
        if target.dimension in ORDERS:
            quadrature = integrate(target, search)
            reason = "" if quadrature.is_accepted else quadrature.reason
            reason = reason or _imprecise(quadrature, tolerance)
            reason = reason or contradiction(target, quadrature.log_evidence, quadrature.error, extra)
            spent = search.n_probes + quadrature.n_evaluations
            attempts.append(_attempt("quadrature", reason, quadrature.reason, spent, start))
            if not reason:
                return _reference("quadrature", quadrature, quadrature.draw(n_draws, rng), search, attempts)
            start = time.perf_counter()
        importance = sample_by_importance(target, search, rng, extra, tolerance)
    except UnboundedDensity as error:
        return Refusal(f"{error}: the density is unbounded and has no posterior", None, tuple(attempts))
    reason = "" if importance.is_accepted else importance.reason
    attempts.append(_attempt("importance", reason, importance.reason, importance.n_evaluations, start))
    if not reason:
        return _reference("importance", importance, importance.draw(n_draws, rng), search, attempts)
    for name, rung in rungs:
        start = time.perf_counter()
        result = rung(target, search, rng)
        if isinstance(result, Reference):
            attempts.append(_attempt(name, "", result.reason, 0, start))
            parts = {**vars(result), "search": search, "attempts": tuple(attempts)}
            return Reference(**parts)
        attempts.append(_attempt(name, result, result, 0, start))
    reasons = "; ".join(f"{attempt.rung}: {attempt.reason}" for attempt in attempts)
    return Refusal(reasons, search, tuple(attempts), importance)


def _imprecise(quadrature: Quadrature, tolerance: float) -> str:
    """Why an accepted quadrature does not decide verdicts; empty where it does, or where moments do not exist."""
    with np.errstate(all="ignore"):
        relative = np.concatenate([quadrature.mean_error, quadrature.sd_error]) / np.tile(quadrature.sd, 2)
    worst = np.max(relative, initial=0.0, where=np.isfinite(relative))
    return "" if worst <= tolerance else f"moments are known to {worst:.3f} sds only"


def _attempt(rung: str, trouble: str, reason: str, n_evaluations: int, start: float) -> Attempt:
    return Attempt(rung, not trouble, trouble or reason, n_evaluations, time.perf_counter() - start)


def _reference(
    method: str, result: Quadrature | Importance, draws: np.ndarray, search: ModeSearch, attempts: list[Attempt]
) -> Reference:
    return Reference(
        method=method,
        is_exact=method == "quadrature",
        reason=result.reason,
        log_evidence=result.log_evidence,
        log_evidence_error=result.error,
        mean=result.mean,
        sd=result.sd,
        mean_error=result.mean_error,
        sd_error=result.sd_error,
        draws=draws,
        search=search,
        attempts=tuple(attempts),
    )
