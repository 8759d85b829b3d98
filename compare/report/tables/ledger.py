"""The ledger in print: decimals for which both of its equations hold exactly.

    ELBO = data fit - complexity
    log evidence - ELBO = evidence gap = family gap + amortisation gap + optimisation gap

Rounding every term by itself breaks such sums in the last digit. Here the log evidence and the ELBO are rounded to the
nearest and the evidence gap is their difference. In each sum of parts the one with the largest Monte Carlo error takes
what the others leave, if that moves it by no more than one last digit; else the parts are apportioned by the method of
largest remainders: all are rounded down, and the digits that are then missing go to those that lost most. So no printed
term is off by more than one last digit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from compare.summary import LEDGER_TERMS

__all__ = ["Unbalanced", "common_digits", "rounded", "term_value"]

GAPS = ("family_gap", "amortisation_gap", "optimisation_gap")


class Unbalanced(ValueError):
    """A ledger whose equations do not hold even before rounding."""


def term_value(term: Mapping[str, Any] | float | None) -> float | None:
    """The number in a ledger's entry, None where there is none or it is not finite."""
    value = term.get("value") if isinstance(term, Mapping) else term
    return float(value) if value is not None and math.isfinite(value) else None


def error(term: Mapping[str, Any] | float | None) -> float:
    """The Monte Carlo error of a ledger's entry; 0 where it has none."""
    return float(term.get("mcse") or 0.0) if isinstance(term, Mapping) else 0.0


def common_digits(ledgers: Sequence[Mapping[str, Any] | None], log_evidence: float | None) -> int:
    """Decimals fit for all of these ledgers: 4; 6 where every ELBO is known to them; fewer where terms are huge."""
    values = [term_value(ledger.get(term)) for ledger in ledgers if ledger for term in LEDGER_TERMS]
    largest = max((abs(value) for value in [*values, log_evidence] if value is not None), default=0.0)
    errors = [
        entry.get("mcse") or 0.0 for ledger in ledgers if ledger and isinstance(entry := ledger.get("elbo"), Mapping)
    ]
    if largest < 1e3 and errors and max(errors) < 1e-6:
        return 6
    return 4 if largest < 1e4 else 2 if largest < 1e7 else 0


def apportion(parts: Sequence[float], total: int) -> list[int]:
    """Whole numbers that sum to ``total``, each next to its part.

    Raises:
        Unbalanced: the parts do not sum to the total.
    """
    down = [math.floor(part) for part in parts]
    missing = total - sum(down)
    if not 0 <= missing <= len(parts):
        raise Unbalanced(f"the parts sum to {sum(parts):g} last digits, the whole is {total}")
    order = sorted(range(len(parts)), key=lambda i: (down[i] - parts[i], i))
    for i in order[:missing]:
        down[i] += 1
    return down


def rounded(
    ledger: Mapping[str, Any], log_evidence: float | None, digits: int = 4, strict: bool = True
) -> dict[str, Decimal | None]:
    """The ledger's terms and ``log_evidence``, in ``digits`` decimals, as they are to be printed.

    A term that is absent stays None; an equation with an absent side binds nothing (an absent amortisation gap is 0).

    Raises:
        Unbalanced: an equation does not hold in ``ledger`` itself; without ``strict`` its terms are rounded one by one.
    """
    scale = 10.0**digits
    exact = {"log_evidence": log_evidence, **{term: term_value(ledger.get(term)) for term in LEDGER_TERMS}}
    scaled = {name: None if value is None else value * scale for name, value in exact.items()}
    units = {name: None if value is None else math.floor(value + 0.5) for name, value in scaled.items()}

    def share(signs: Mapping[str, int], total: int) -> None:
        names = [name for name in signs if scaled[name] is not None]
        noisiest = max(names, key=lambda name: error(ledger.get(name)))
        rest = signs[noisiest] * (total - sum(signs[name] * units[name] for name in names if name != noisiest))
        if abs(rest - scaled[noisiest]) <= 1:  # the terms that are known stay at their nearest
            units[noisiest] = rest
            return
        try:
            found = apportion([signs[name] * scaled[name] for name in names], total)
        except Unbalanced as error_found:
            if strict:
                raise Unbalanced(f"{' + '.join(names)}: {error_found}") from None
            return
        units.update({name: signs[name] * number for name, number in zip(names, found, strict=True)})

    if None not in (units["elbo"], units["data_fit"], units["complexity"]):
        share({"data_fit": 1, "complexity": -1}, units["elbo"])
    if None not in (units["log_evidence"], units["elbo"], units["evidence_gap"]):
        share({"evidence_gap": 1}, units["log_evidence"] - units["elbo"])
    rest = any(units[term] is not None for term in ("amortisation_gap", "optimisation_gap"))
    if rest and None not in (units["evidence_gap"], units["family_gap"]):
        share(dict.fromkeys(GAPS, 1), units["evidence_gap"])
    return {name: None if unit is None else Decimal(unit).scaleb(-digits) for name, unit in units.items()}
