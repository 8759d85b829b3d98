"""How far each fit's ELBO is from what it could be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from compare.report.tables.ledger import term_value

__all__ = ["distances", "measure"]


def measure(summary: Mapping[str, Any]) -> str:
    """What the distances of a model are."""
    return "evidence gap" if summary["log_evidence"]["value"] is not None else "below the highest ELBO"


def distances(summary: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """The evidence gap of each fit that has an ELBO, in nats, and its Monte Carlo error.

    Where the log evidence is not known, how far the ELBO is below the model's highest, with the errors of both; the
    highest keeps its own.
    """
    ledgers = {name: fit["ledger"] for name, fit in summary["fits"].items()}
    ledgers = {name: one for name, one in ledgers.items() if term_value(one["elbo"]) is not None}
    if summary["log_evidence"]["value"] is not None:
        gaps = {name: one["evidence_gap"] for name, one in ledgers.items()}
        return {name: (term_value(gap), gap["mcse"]) for name, gap in gaps.items() if term_value(gap) is not None}
    elbos = {name: (term_value(one["elbo"]), one["elbo"]["mcse"]) for name, one in ledgers.items()}
    top = max(elbos, key=lambda name: elbos[name][0], default="")
    return {
        name: (elbos[top][0] - value, error if name == top else math.hypot(error, elbos[top][1]))
        for name, (value, error) in elbos.items()
    }
