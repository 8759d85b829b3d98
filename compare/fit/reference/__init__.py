"""The ladder of references: modes, quadrature, importance sampling, bridge sampling, and which of them to trust."""

from __future__ import annotations

from compare.fit.reference.bridge import Bridge, ModeMasses, estimate_mode_masses, sample_bridge
from compare.fit.reference.contradictions import FitEvidence, find_contradictions
from compare.fit.reference.importance import Importance, sample_by_importance
from compare.fit.reference.ladder import Attempt, Reference, Refusal, Rung, climb
from compare.fit.reference.modes import Mode, ModeSearch, find_modes
from compare.fit.reference.quadrature import Quadrature, integrate
from compare.fit.reference.target import Target, UnboundedDensity

__all__ = [
    "Attempt",
    "Bridge",
    "FitEvidence",
    "Importance",
    "Mode",
    "ModeMasses",
    "ModeSearch",
    "Quadrature",
    "Reference",
    "Refusal",
    "Rung",
    "Target",
    "UnboundedDensity",
    "climb",
    "estimate_mode_masses",
    "find_contradictions",
    "find_modes",
    "integrate",
    "sample_bridge",
    "sample_by_importance",
]
