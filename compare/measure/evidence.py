"""The log evidence, and how it is known."""

from __future__ import annotations

from compare.comparison import Truth
from compare.summary import Evidence

__all__ = ["evidence"]


def evidence(truth: Truth | None) -> Evidence:
    """log p(x) as the summary has it."""
    if truth is None:
        return Evidence(None, None, "not known, and the reference was not made")
    if truth.log_evidence is None:
        return Evidence(None, None, f"not known; the posterior is, by a reference: {truth.method}")
    return Evidence(truth.log_evidence, 0.0, truth.method)
