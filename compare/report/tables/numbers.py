"""Numbers as text. A Monte Carlo number is never printed without its error."""

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from compare.summary import Estimate, Score

ABSENT = "–"
MOST = 6  # items of a list or mapping that are printed


def printable(value: Any) -> str:
    """One line of text without control characters."""
    return "".join(c if c.isprintable() else " " for c in str(value))


def plain(value: float | None, digits: int = 4) -> str:
    """A number without an error of its own, in fixed decimals where that is legible."""
    if value is None or math.isnan(value):
        return ABSENT
    if value == 0 or 10.0 ** (1 - digits) <= abs(value) < 1e6 or not math.isfinite(value):
        return f"{value:z.{digits}f}"
    return f"{value:.{max(digits - 1, 1)}e}"


def counted(value: float | None) -> str:
    """A whole number: 6,667."""
    return ABSENT if value is None or math.isnan(value) else f"{round(value):,}"


def seconds(number: float | None) -> str:
    """Seconds in one decimal."""
    return ABSENT if number is None or math.isnan(number) else f"{number:.1f}"


def khat(number: float | None) -> str:
    """Pareto k in two decimals."""
    return ABSENT if number is None or math.isnan(number) else f"{number:z.2f}"


def small(error: float) -> str:
    """An error in one digit: 3e-7."""
    mantissa, power = f"{error:.0e}".split("e")
    return f"{mantissa}e{int(power)}"


def measured(value: float | None, error: float | None, sign: bool = False) -> str:
    """A number and its Monte Carlo error, to the first digit that the error touches: 0.571±0.002.

    An error that is None or 0 is not printed: the number is exact.
    """
    if value is None or math.isnan(value):
        return ABSENT
    plus = "+" if sign and value > 0 else ""
    if not error or not math.isfinite(error):
        return plus + plain(value)
    error = float(f"{error:.0e}")
    decimals = -math.floor(math.log10(error))
    size = max(abs(value), error)
    if size >= 1e6 or size < 1e-3:
        power = math.floor(math.log10(size))
        shown = min(max(decimals + power, 0), 4)
        mantissa = f"{value / 10.0**power:z.{shown}f}"
        return f"{plus}{mantissa}e{power}±{small(error)}" if float(mantissa) else f"0±{small(error)}"
    if decimals > 5:
        return f"{plus}{value:.5f}±{small(error)}"
    decimals = max(decimals, 0)
    return f"{plus}{value:z.{decimals}f}±{error:.{decimals}f}"


def estimate(number: Estimate | None, sign: bool = False) -> str:
    """An estimate and its Monte Carlo error, as `measured`."""
    return ABSENT if number is None else measured(number.value, number.mcse, sign)


def score(number: Score | None) -> str:
    """A mean over observations with its Monte Carlo error and, in brackets, its standard error from their number."""
    if number is None:
        return ABSENT
    text = estimate(number) if number.mcse else plain(number.value, 3)
    return text if number.sampling is None else f"{text} ({number.sampling:.2g})"


def interval(low: float | None, high: float | None) -> str:
    """An interval's ends in three decimals, more where it is narrow."""
    if low is None or high is None or math.isnan(low + high):
        return ABSENT
    width = abs(high - low)
    digits = 3 if width == 0 or width >= 0.05 else min(max(3, 1 - math.floor(math.log10(width))), 7)
    return f"[{plain(low, digits)}, {plain(high, digits)}]"


def entry(number: Decimal | float | None, term: Estimate | None, digits: int = 4) -> str:
    """A ledger's entry in ``digits`` decimals with its Monte Carlo error, which is left out where it is 0."""
    if number is None:
        return ABSENT
    text, error = f"{number:z.{digits}f}", term.mcse if term else 0.0
    if not error > 1e-13 * max(1.0, abs(float(number))):  # the rest is floating point, not chance
        return text
    return f"{text} ±{error:.{digits}f}" if error >= 0.5 * 10.0**-digits else f"{text} ±{small(error)}"


def value(content: Any) -> str:
    """Anything that a model says of its data or its posterior, in one line; long lists are cut."""
    if isinstance(content, float):
        return f"{content:.5g}"
    if isinstance(content, Mapping):
        items = [f"{key} {value(item)}" for key, item in content.items()]
        return ", ".join(items[:MOST]) + ", and so on" * (len(items) > MOST)
    if isinstance(content, list | tuple):
        items = [value(item) for item in content]
        return f"[{', '.join(items[:MOST])}{', and so on' * (len(items) > MOST)}]"
    return printable(content)
