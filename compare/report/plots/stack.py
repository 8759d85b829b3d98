"""A ledger as stacked bars: data fit and complexity reach the ELBO, the gaps from there the log evidence."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from compare.report.plots.distance import distances
from compare.report.tables.ledger import common_digits, rounded, term_value
from compare.report.tables.numbers import entry, measured

__all__ = ["TERMS", "Bar", "Panel", "Segment", "Stack", "stack", "ticks"]

TERMS = (
    ("data_fit", "data fit"),
    ("complexity", "complexity"),
    ("family_gap", "family gap"),
    ("amortisation_gap", "amortisation gap"),
    ("optimisation_gap", "optimisation gap"),
    ("evidence_gap", "gap, not split"),
    ("below", "below the highest ELBO"),
)
GAPS = ("family_gap", "amortisation_gap", "optimisation_gap")


@dataclass(frozen=True)
class Segment:
    """A piece of a bar: its term, and where it begins and ends, in nats; ``back`` for a gap estimated below zero."""

    term: str
    begin: float
    end: float

    @property
    def back(self) -> bool:
        return self.term in GAPS and self.end < self.begin


@dataclass(frozen=True)
class Bar:
    """One fit: the account's lanes, the gap by itself with two errors either side, and all of it in words."""

    fit: str
    library: str
    guide: str
    account: list[Segment]
    gaps: list[Segment]
    gap: list[Segment]
    whisker: tuple[float, float] | None
    elbo: str
    shown_gap: str
    words: str
    truth: bool

    @property
    def parts(self) -> list[Segment]:
        return [*self.account, *self.gap]


@dataclass(frozen=True)
class Panel:
    """An axis in nats with its ticks; `place` says where a number is, from 0 to 1000."""

    low: float
    high: float
    ticks: list[tuple[float, str]]

    def place(self, value: float) -> float:
        return round(1000 * (value - self.low) / (self.high - self.low), 2)


@dataclass(frozen=True)
class Stack:
    """A model's ledgers drawn."""

    bars: list[Bar]
    account: Panel
    gap: Panel | None
    log_evidence: float | None
    evidence: str


def stack(summary: Mapping[str, Any], family: Callable[[Mapping[str, Any]], str]) -> Stack | None:
    """The ledgers of one model's fits; None where no fit has one. ``family`` names a fit's family."""
    evidence = summary["log_evidence"]["value"]
    ledgers = {
        name: fit["ledger"] for name, fit in summary["fits"].items() if term_value(fit["ledger"]["elbo"]) is not None
    }
    ledgers = {name: one for name, one in ledgers.items() if term_value(one["data_fit"]) is not None}
    if not ledgers:
        return None
    digits = common_digits(list(ledgers.values()), evidence)
    known = distances(summary)
    bars = [bar(name, summary["fits"][name], evidence, known[name], digits, family) for name in ledgers]
    ends = [end for one in bars for part in (*one.account, *one.gaps) for end in (part.begin, part.end)]
    wide = [end for one in bars for part in one.gap for end in (part.begin, part.end)]
    wide += [end for one in bars for end in one.whisker or ()]
    return Stack(
        bars,
        panel([*ends, 0.0, *([evidence] if evidence is not None else [])]),
        panel([*wide, 0.0]) if max(wide, default=0.0) > 1e-9 else None,
        evidence,
        "" if evidence is None else f"{evidence:.{digits}f}",
    )


def bar(
    name: str,
    fit: Mapping[str, Any],
    evidence: float | None,
    distance: tuple[float, float],
    digits: int,
    family: Callable[[Mapping[str, Any]], str],
) -> Bar:
    ledger = fit["ledger"]
    values = {term: term_value(ledger[term]) for term in ledger}
    elbo, data_fit = values["elbo"], values["data_fit"]
    gap, error = distance
    parts = [(term, values[term]) for term in GAPS if values[term] is not None]
    if evidence is None:
        parts = [("below", gap)]
    elif values["family_gap"] is None or abs(sum(size for _, size in parts) - gap) > 1e-6 * max(1.0, abs(gap)):
        parts = [("evidence_gap", gap)]
    pieces, at = [], 0.0
    for term, size in parts:
        pieces.append(Segment(term, at, at + size))
        at += size
    shown = rounded(ledger, evidence, digits, strict=False)
    terms = ["data_fit", "complexity", "elbo"] + ([term for term, _ in parts] if evidence is not None else [])
    titles = dict(TERMS) | {"elbo": "ELBO"}
    words = [f"{titles[term]} {entry(shown[term], ledger[term], digits)}" for term in terms]
    if evidence is not None:
        words.append(f"log evidence {evidence:.{digits}f}")
        shown_gap = entry(shown["evidence_gap"], ledger["evidence_gap"], digits)
    else:
        shown_gap = measured(gap, error)
    return Bar(
        name,
        fit["library"] or "",
        family(fit),
        [Segment("data_fit", 0.0, data_fit), Segment("complexity", data_fit, elbo)],
        [Segment(one.term, elbo + one.begin, elbo + one.end) for one in pieces] if evidence is not None else [],
        pieces,
        (gap - 2 * error, gap + 2 * error) if error > 1e-9 else None,
        entry(shown["elbo"], ledger["elbo"], digits),
        shown_gap,
        f"{name}: {', '.join(words)}",
        fit["method"] == "exact",
    )


def panel(values: list[float]) -> Panel:
    """An axis that holds the values with a little room."""
    low, high = min(values), max(values)
    room = 0.02 * (high - low or 1.0)
    low, high = low - room, high + room
    return Panel(low, high, ticks(low, high))


def ticks(low: float, high: float, most: int = 5) -> list[tuple[float, str]]:
    """Round numbers between the ends, each with its text."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9) + (abs(step / power - 2.5) < 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [(n * step, f"{n * step:z.{decimals}f}") for n in range(first, math.floor(high / step + 1e-9) + 1)]
