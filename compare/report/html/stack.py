"""A ledger as stacked bars: data fit and complexity reach the ELBO, the gaps from there the log evidence."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from compare.report.html.entries import distances, evidence_of, family, ledgers_of
from compare.report.tables.ledger import GAPS, Terms, printed_ledgers, term_value
from compare.report.tables.numbers import measured
from compare.summary import Estimate

TERM_TITLES = (
    ("data_fit", "data fit"),
    ("complexity", "complexity"),
    ("symmetry_gap", "symmetry gap"),
    ("family_gap", "family gap"),
    ("amortisation_gap", "amortisation gap"),
    ("auxiliary_gap", "auxiliary gap"),
    ("optimisation_gap", "optimisation gap"),
    ("evidence_gap", "gap, not split"),
    ("below", "below the highest ELBO"),
)


@dataclass(frozen=True)
class Segment:
    """A piece of a bar: its term, and where it begins and ends, in nats."""

    term: str
    begin: float
    end: float

    @property
    def back(self) -> bool:
        """Whether it is a gap that Monte Carlo noise puts below zero."""
        return self.term in GAPS and self.end < self.begin


@dataclass(frozen=True)
class Bar:
    """One fit.

    Attributes:
        fit, library, guide: Its name, library and family.
        account: Data fit and complexity, from zero to the ELBO.
        gaps: The gaps from the ELBO to the log evidence.
        gap: The gaps by themselves, from zero.
        whisker: Two Monte Carlo errors either side of the gap's end.
        elbo, shown_gap: Both as text.
        words: All of it in words.
        truth: Whether it is the exact posterior.
    """

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
        """All pieces that are drawn."""
        return [*self.account, *self.gap]


@dataclass(frozen=True)
class Panel:
    """An axis in nats with its ticks."""

    low: float
    high: float
    ticks: list[tuple[float, str]]

    def place(self, value: float) -> float:
        """Where a number is, from 0 to 1000."""
        return round(1000 * (value - self.low) / (self.high - self.low), 2)


@dataclass(frozen=True)
class Stack:
    """A model's ledgers drawn."""

    bars: list[Bar]
    account: Panel
    gap: Panel | None
    log_evidence: float | None
    evidence: str


def stack(summary: Mapping[str, Any]) -> Stack | None:
    """The ledgers of one model's fits; None where no fit has one."""
    evidence = evidence_of(summary)
    every = ledgers_of(summary).items()
    ledgers = {n: t for n, t in every if None not in (term_value(t, "elbo"), term_value(t, "data_fit"))}
    if not ledgers:
        return None
    known, texts = distances(summary), printed_ledgers(ledgers, evidence)
    bars = [bar(name, summary["fits"][name], ledgers[name], texts[name], known[name], evidence) for name in ledgers]
    ends = [end for bar in bars for part in (*bar.account, *bar.gaps) for end in (part.begin, part.end)]
    gaps = [end for bar in bars for part in bar.gap for end in (part.begin, part.end)]
    gaps += [end for bar in bars for end in bar.whisker or ()]
    return Stack(
        bars,
        panel([*ends, 0.0, *([evidence.value] if evidence else [])]),
        panel([*gaps, 0.0]) if max(gaps, default=0.0) > 1e-9 else None,
        evidence.value if evidence else None,
        next(iter(texts.values()))["log_evidence"] if evidence else "",
    )


def split_gap(terms: Terms, gap: float, is_known: bool) -> dict[str, float]:
    """The parts of a gap in nats, by term; one part where they are not known or do not sum to it."""
    if not is_known:
        return {"below": gap}
    parts = {term: size for term in GAPS if (size := term_value(terms, term)) is not None}
    if "family_gap" not in parts or abs(sum(parts.values()) - gap) > 1e-6 * max(1.0, abs(gap)):
        return {"evidence_gap": gap}
    return parts


def bar(
    name: str,
    fit: Mapping[str, Any],
    terms: Terms,
    texts: Mapping[str, str],
    distance: Estimate,
    evidence: Estimate | None,
) -> Bar:
    """One fit's bar: its ledger in numbers and as text, and how far it is from what it could be."""
    elbo, data_fit = (term_value(terms, name) or 0.0 for name in ("elbo", "data_fit"))
    gap, error = distance.value, distance.mcse
    parts, pieces, place = split_gap(terms, gap, evidence is not None), [], 0.0
    for term, size in parts.items():
        pieces.append(Segment(term, place, place + size))
        place += size
    shown = ["data_fit", "complexity", "elbo", *(parts if evidence else ())]
    titles = dict(TERM_TITLES) | {"elbo": "ELBO"}
    words = [f"{titles[term]} {texts[term]}" for term in shown]
    if evidence:
        words.append(f"log evidence {texts['log_evidence']}")
    return Bar(
        name,
        fit["library"] or "",
        family(fit),
        [Segment("data_fit", 0.0, data_fit), Segment("complexity", data_fit, elbo)],
        [Segment(piece.term, elbo + piece.begin, elbo + piece.end) for piece in pieces] if evidence else [],
        pieces,
        (gap - 2 * error, gap + 2 * error) if error > 1e-9 else None,
        texts["elbo"],
        texts["evidence_gap"] if evidence else measured(gap, error),
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
