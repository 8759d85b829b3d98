"""Judge what a page prints against the truth.

A mean's distance is measured in posterior sds, an sd's as a ratio to the true sd. As in the zoo's verdicts, a number is
wrong if it is off by more than the tolerance (0.1 sd, 10%) and by more than chance explains, after rounding. Standard
errors follow from the effective sample size that the page prints: 1 / sqrt(ess) for a mean and
sqrt((kurtosis - 1) / (4 ess)) for an sd. Their multiple is chosen so that a page raises a false alarm with probability
at most 1e-4. Numbers that are not random must agree in every digit, or to `POINT`, which allows for an optimiser.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path

from compare.verdict.thresholds import MEAN, SPREAD
from models.literature import threshold
from tests.tutorials.truths import Truth

__all__ = ["Distance", "Judgement", "Printed", "judge", "printed"]

POINT = 5e-4  # relative tolerance for a number that is not random
BLIND = 1.0  # a page whose standard errors allow a mean to be this many sds off is undecided


@dataclass(frozen=True)
class Printed:
    """A quantity as printed: mean and sd as text (sd empty if not printed), and the ess (None if not printed)."""

    quantity: str
    mean: str
    sd: str
    ess: float | None


@dataclass(frozen=True)
class Distance:
    """How far a quantity is off.

    Attributes:
        mean: Signed distance of the mean in posterior sds, or in the unit of a number that is not random.
        ratio: The printed sd over the true sd; None if no sd is printed.
        allowed: The largest distance of the mean, and of the ratio from 1, that is not wrong.
        wrong: Whether either limit is exceeded.
    """

    mean: float
    ratio: float | None
    allowed: tuple[float, float]
    wrong: bool


@dataclass(frozen=True)
class Judgement:
    """The verdict on a page ("right", "wrong" or "undecided"), each quantity's distance, and the worst's index."""

    word: str
    distances: tuple[Distance, ...]
    worst: int


@cache
def printed() -> dict[str, tuple[Printed, ...]]:
    """The numbers of all pages by page key, in the order of ``printed.csv``."""
    pages: dict[str, list[Printed]] = {}
    with Path(__file__).with_name("printed.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            entry = Printed(row["quantity"], row["mean"], row["sd"], float(row["ess"]) if row["ess"] else None)
            pages.setdefault(row["page"], []).append(entry)
    return {key: tuple(entries) for key, entries in pages.items()}


def rounding(text: str) -> float:
    """Half a unit of the last digit."""
    return 0.5 * float(Decimal(1).scaleb(int(Decimal(text).as_tuple().exponent))) * (1 + 1e-9)


def distance(entry: Printed, truth: Truth, z: float) -> Distance:
    """How far a quantity is off, where up to ``z`` standard errors may be chance."""
    away = float(entry.mean) - truth.mean
    if truth.sd == 0:
        most = max(rounding(entry.mean), POINT * abs(truth.mean))
        return Distance(away, None, (most, 0.0), abs(away) > most)
    chance = 0.0 if entry.ess is None else z / math.sqrt(entry.ess)
    allowed = max(MEAN, chance) + (rounding(entry.mean) + z * truth.error) / truth.sd
    wrong = abs(away) / truth.sd > allowed
    if not entry.sd:
        return Distance(away / truth.sd, None, (allowed, 0.0), wrong)
    ratio = float(entry.sd) / truth.sd
    of_sd = max(SPREAD, chance * math.sqrt((truth.kurtosis - 1) / 4)) + rounding(entry.sd) / truth.sd
    return Distance(away / truth.sd, ratio, (allowed, of_sd), wrong or abs(ratio - 1) > of_sd)


def judge(entries: tuple[Printed, ...], truths: dict[str, Truth]) -> Judgement:
    """The verdict on a page's numbers, given the truth about each of its quantities."""
    z = threshold(2 * len(entries))
    distances = tuple(distance(entry, truths[entry.quantity], z) for entry in entries)

    def excess(d: Distance) -> float:
        of_sd = 0.0 if d.ratio is None else abs(d.ratio - 1) / d.allowed[1]
        return max(abs(d.mean) / d.allowed[0], of_sd)

    worst = max(range(len(distances)), key=lambda k: excess(distances[k]))
    if any(d.wrong for d in distances):
        word = "wrong"
    elif all(entry.ess is not None and z / math.sqrt(entry.ess) > BLIND for entry in entries):
        word = "undecided"
    else:
        word = "right"
    return Judgement(word, distances, worst)
