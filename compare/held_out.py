"""The numbers of a test set, as ``summary.json`` holds them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from compare.summary import Score, Status


@dataclass(frozen=True)
class HeldOutLedger:
    """A guide's ledger as means over the test observations, in nats each; None where the evidence is not known."""

    log_evidence: Score | None
    elbo: Score
    data_fit: Score
    complexity: Score
    evidence_gap: Score | None
    family_gap: Score | None
    amortisation_gap: Score


@dataclass(frozen=True)
class HeldOutEvidence(Score):
    """Mean log evidence of a test observation in nats, and the same in bits for each of its elements."""

    bits: float = math.nan
    bits_sampling: float = math.nan


@dataclass(frozen=True)
class NetworkSummary:
    """A network that was trained.

    Attributes:
        status: ``done``, ``skipped`` or ``failed``.
        reason: Why it was skipped or failed, or did not converge.
        seconds: The time that training took.
        evidence: Its held-out log evidence.
        elbo: The ELBO of the guide that was trained along, in nats a test observation.
        epochs: Passes over the training set.
        speed: Training observations a second.
        converged: Whether the validation ELBO stopped rising.
    """

    status: Status
    reason: str | None = None
    seconds: float | None = None
    evidence: HeldOutEvidence | None = None
    elbo: Score | None = None
    epochs: int | None = None
    speed: float | None = None
    converged: bool | None = None


@dataclass(frozen=True)
class HeldOut:
    """The scores of a test set.

    Attributes:
        observations: Their number.
        size: Elements of each.
        method: How the log evidence is known; None where it is not.
        guides: A ledger for each guide on the comparison's network.
        networks: Each network that was trained, by the name of the fit; ``given`` where it was given.
        baselines: The held-out evidence of simpler models.
    """

    observations: int
    size: int
    method: str | None
    guides: Mapping[str, HeldOutLedger]
    networks: Mapping[str, NetworkSummary]
    baselines: Mapping[str, HeldOutEvidence] = field(metadata={"key": "rivals"})
