"""Helpers for what was written about a model: by its founding text, and by others.

The zoo began from a tutorial, "The fundamentals of variational inference and how it works in probabilistic deep
learning". That is the founding text; its claims are judged, as some are wrong. What others published is compared in the
digits that they print.
"""

import math
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from scipy import special

from models.contract import Published

ERRORS = 4  # the number of standard errors that may be chance

NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w.]*[\d%])")
"""A number as it is printed, such as 0.446 or 1.15e-42; a percentage is none."""

MORE = 2  # how many more digits of ours are shown than are printed

FALSE_ALARM = 1e-4
"""The probability that one of the numbers compared with one claim is called wrong though all are right."""


def rounds_to(value: float, text: str) -> bool:
    """Whether the value, rounded to the digits that are printed, is what is printed."""
    unit = float(Decimal(1).scaleb(int(Decimal(text).as_tuple().exponent)))
    return abs(value - float(text)) <= 0.5 * unit * (1 + 1e-9)


def shown(value: float, text: str) -> str:
    """The value in the form of what is printed, with `MORE` digits."""
    digits = max(0, -int(Decimal(text.partition("e")[0]).as_tuple().exponent)) + MORE
    return f"{value:.{digits}{'e' if 'e' in text else 'f'}}"


def printed(claim: str, source: str, published: str, *values: float, slack: tuple[float, ...] = ()) -> Published:
    """Our values beside the numbers in ``published``, one for each, in their order.

    They agree if each rounds to what is printed there. Where what is printed was itself estimated from draws,
    ``slack`` is how far off each may be for that.

    Raises:
        ValueError: there are not as many numbers printed as values.
    """
    numbers = NUMBER.findall(published)
    if len(numbers) != len(values):
        raise ValueError(f"{published!r} has {len(numbers)} numbers, but {len(values)} values are to be compared")
    allowed = slack or (0.0,) * len(values)
    agrees = all(
        rounds_to(value, text) or abs(value - float(text)) <= more
        for value, text, more in zip(values, numbers, allowed, strict=True)
    )
    pairs = iter(zip(values, numbers, strict=True))
    return Published(claim, source, published, NUMBER.sub(lambda match: shown(*next(pairs)), published), agrees)


def by_formula(
    claim: str, source: str, formula: str, value: float, ours: float, tolerance: float, note: str = ""
) -> Published:
    """Our number beside the value of a formula; they agree within the tolerance, which is in their unit.

    Where data are so extreme that float64 has no finite number for either, ``agrees`` is None.
    """
    finite = math.isfinite(value) and math.isfinite(ours)
    agrees = bool(abs(ours - value) <= tolerance) if finite else None
    return Published(claim, f"{source}; by formula", f"{formula} = {value:.8g}", f"{ours:.8g}{note}", agrees)


def threshold(count: int) -> float:
    """z-threshold at which ``count`` correct values raise a false alarm with probability `FALSE_ALARM`; at least 4."""
    return max(float(ERRORS), float(-special.ndtri(FALSE_ALARM / (2 * max(count, 1)))))


def settled(summary: Mapping[str, Any], *guides: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The fits of these guides by name that were made, and whose optimiser arrived."""
    for name, fit in summary["fits"].items():
        arrived = fit["optimisation"] is not None and fit["optimisation"]["converged"]
        if fit["status"] == "done" and fit["guide"] in guides and arrived:
            yield name, fit


def mean_field_cost(value: float, summary: Mapping[str, Any]) -> Published:
    """The evidence gap of the mean-field fit that is furthest off, beside what theory says, in nats."""
    formula = "(sum log P_ii - log|P|) / 2"
    claim = f"a factorised Gaussian costs {formula} nats"
    source = "Margossian & Saul 2023, The shrinkage-delinkage trade-off (UAI)"
    fits = dict(settled(summary, "mean_field"))
    if not fits:
        return Published(claim, f"{source}; by formula", f"{value:.6g}", "no fit with a mean-field guide arrived", None)
    far = max(fits, key=lambda name: abs(fits[name]["ledger"]["evidence_gap"]["value"] - value))
    gap, short = fits[far]["ledger"]["evidence_gap"], fits[far]["optimisation"]["gap"]
    room = ERRORS * (gap["mcse"] + short["mcse"]) + short["value"] + 1e-7 * (1 + value)
    note = f" ± {gap['mcse']:.1g} nats: the evidence gap of {far}, the furthest off"
    return by_formula(claim, source, formula, value, gap["value"], room, note)
