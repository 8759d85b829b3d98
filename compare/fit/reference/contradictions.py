"""Whether fits of one posterior contradict each other, or the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

__all__ = ["FitEvidence", "find_contradictions"]

NEAR = 3.0
"""ELBOs closer than this are near: the lower mode may hold 5% of the mass."""

APART = 2.0
"""Means further apart than so many times the sum of two fits' sds lie in different modes."""

ERRORS = 4.0
"""Joint standard errors beyond which a difference is no chance."""

TOLERATED = 0.1
"""Difference of means in sds that contradicts nothing."""


@dataclass(frozen=True)
class FitEvidence:
    """What one fit says of the posterior.

    Attributes:
        name: Of the fit.
        mean, sd: Of the quantities, shape (k,).
        mean_error: Monte Carlo standard errors of the means, shape (k,).
        elbo, elbo_error: In nats; None for chains and references.
        log_evidence, log_evidence_error: An estimate of the log evidence (importance sampling from the guide, bridge
            sampling), in nats; None where there is none.
        is_posterior: Whether its moments claim to be the posterior's (chains, references) and not a family's best.
    """

    name: str
    mean: np.ndarray
    sd: np.ndarray
    mean_error: np.ndarray
    elbo: float | None = None
    elbo_error: float = 0.0
    log_evidence: float | None = None
    log_evidence_error: float = 0.0
    is_posterior: bool = False


def find_contradictions(fits: Sequence[FitEvidence], reference: FitEvidence | None = None) -> list[str]:
    """One sentence for each contradiction; each is evidence against both sides.

    Args:
        fits: Guides and chains; quantities in the same order.
        reference: What they are compared to.
    """
    sentences = [sentence for pair in combinations(fits, 2) for sentence in _between(*pair)]
    if reference is not None:
        sentences += [sentence for fit in fits for sentence in _against(fit, reference)]
    return sentences


def _between(one: FitEvidence, two: FitEvidence) -> list[str]:
    """Contradictions between two fits."""
    if one.is_posterior and two.is_posterior:
        return _different_means(one, two)
    if one.elbo is None or two.elbo is None:
        return []
    gaps = np.abs(one.mean - two.mean) / (one.sd + two.sd)
    worst = int(np.argmax(gaps))
    difference = abs(one.elbo - two.elbo)
    if gaps[worst] > APART and difference < NEAR + ERRORS * np.hypot(one.elbo_error, two.elbo_error):
        return [
            f"{one.name} and {two.name} sit in different modes (quantity {worst}: {one.mean[worst]:.4g} and"
            f" {two.mean[worst]:.4g}) with ELBOs {difference:.2f} nats apart: neither has the whole posterior"
        ]
    return []


def _against(fit: FitEvidence, reference: FitEvidence) -> list[str]:
    """Contradictions between a fit and the reference."""
    sentences = _different_means(fit, reference) if fit.is_posterior else []
    if reference.log_evidence is None:
        return sentences
    claims = [
        ("ELBO", fit.elbo, fit.elbo_error),
        ("estimate of the evidence", fit.log_evidence, fit.log_evidence_error),
    ]
    for what, value, error in claims:
        if value is None:
            continue
        excess = value - reference.log_evidence
        if excess > ERRORS * np.hypot(error, reference.log_evidence_error) + 1e-6:
            sentences.append(
                f"the {what} of {fit.name} is {excess:.2f} nats above the log evidence of {reference.name}:"
                f" {reference.name} misses mass"
            )
    return sentences


def _different_means(one: FitEvidence, two: FitEvidence) -> list[str]:
    """That two posteriors have different means, beyond their errors and what is tolerated."""
    gaps = np.abs(one.mean - two.mean)
    allowed = np.maximum(ERRORS * np.hypot(one.mean_error, two.mean_error), TOLERATED * np.minimum(one.sd, two.sd))
    if not np.any(gaps > allowed):
        return []
    worst = int(np.argmax(gaps / allowed))
    return [
        f"{one.name} and {two.name} have different means (quantity {worst}: {one.mean[worst]:.4g} and"
        f" {two.mean[worst]:.4g}, {gaps[worst] / np.hypot(one.mean_error, two.mean_error)[worst]:.0f} joint errors)"
    ]
