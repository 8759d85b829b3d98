"""How far each fit's ELBO is from what it could be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from compare.report.html.entries import evidence_of
from compare.report.tables.ledger import term_value, terms_from_json
from compare.summary import Estimate

__all__ = ["describe_distance", "distances"]


def describe_distance(summary: Mapping[str, Any]) -> str:
    """What the distances of a model are."""
    return "evidence gap" if evidence_of(summary) else "below the highest ELBO"


def distances(summary: Mapping[str, Any]) -> dict[str, Estimate]:
    """The evidence gap of each fit that has an ELBO, in nats, and its Monte Carlo error.

    Where the log evidence is not known, how far the ELBO is below the model's highest, with the errors of both; the
    highest keeps its own.
    """
    ledgers = {name: terms_from_json(fit["ledger"]) for name, fit in summary["fits"].items()}
    key = "evidence_gap" if evidence_of(summary) else "elbo"
    known = {name: terms[key] for name, terms in ledgers.items() if term_value(terms, key) is not None}
    if key == "evidence_gap" or not known:
        return known
    top = max(known, key=lambda name: known[name].value)
    highest = known.pop(top)
    below = {n: Estimate(highest.value - e.value, math.hypot(e.mcse, highest.mcse)) for n, e in known.items()}
    return {top: Estimate(0.0, highest.mcse), **below}
