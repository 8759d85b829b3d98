"""Numbers held against those that a publication prints, in the digits that it prints."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from scipy import special

from models.contract import Published

__all__ = ["by_formula", "printed", "rounds_to", "settled", "threshold"]

NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w.]*[\d%])")
"""A number as it is printed, such as 0.446 or 1.15e-42; a percentage is none."""

MORE = 2
"""So many more digits are shown of ours than are printed."""

FALSE_ALARM = 1e-4
"""How often numbers that are right may be called wrong, all elements of all fits that are held against one claim."""


def rounds_to(value: float, said: str) -> bool:
    """Whether the value, rounded to the digits that are printed, is what is printed."""
    unit = float(Decimal(1).scaleb(Decimal(said).as_tuple().exponent))
    return abs(value - float(said)) <= 0.5 * unit * (1 + 1e-9)


def shown(value: float, said: str) -> str:
    """The value in the form of what is printed, with `MORE` digits."""
    digits = max(0, -Decimal(said.partition("e")[0]).as_tuple().exponent) + MORE
    return f"{value:.{digits}{'e' if 'e' in said else 'f'}}"


def printed(
    claim: str, source: str, published: str, *values: float, slack: float | tuple[float, ...] = 0.0
) -> Published:
    """Our values against the numbers in ``published``, one for each, in their order.

    They agree if each rounds to what is printed there. Where what is printed was itself estimated from draws,
    ``slack`` is how far off each may be for that.

    Raises:
        ValueError: there are not as many numbers printed as values.
    """
    said = NUMBER.findall(published)
    if len(said) != len(values):
        raise ValueError(f"{published!r} has {len(said)} numbers, but {len(values)} values are to be held against them")
    allowed = slack or (0.0,) * len(values)
    agrees = all(
        rounds_to(value, one) or abs(value - float(one)) <= more
        for value, one, more in zip(values, said, allowed, strict=True)
    )
    pairs = iter(zip(values, said, strict=True))
    return Published(claim, source, published, NUMBER.sub(lambda match: shown(*next(pairs)), published), agrees)


def by_formula(
    claim: str, source: str, formula: str, value: float, ours: float, tolerance: float, note: str = ""
) -> Published:
    """Our number against the value of a formula; they agree within the tolerance, which is in their unit.

    Where data are so extreme that float64 has no finite number for either, nothing is told.
    """
    finite = math.isfinite(value) and math.isfinite(ours)
    agrees = bool(abs(ours - value) <= tolerance) if finite else None
    return Published(claim, f"{source}; by formula", f"{formula} = {value:.8g}", f"{ours:.8g}{note}", agrees)


def threshold(count: int) -> float:
    """So many standard errors may one of so many independent right numbers be off.

    A false alarm among all of them then has the probability `FALSE_ALARM`; never fewer than 4.
    """
    return max(4.0, float(-special.ndtri(FALSE_ALARM / (2 * max(count, 1)))))


def settled(summary: Mapping[str, Any], *guides: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The fits of these guides by name that were made, and whose optimiser arrived."""
    for name, fit in summary["fits"].items():
        arrived = fit["optimisation"] is not None and fit["optimisation"]["converged"]
        if fit["status"] == "done" and fit["guide"] in guides and arrived:
            yield name, fit
