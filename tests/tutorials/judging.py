"""What a page prints against what is true.

A mean's distance is counted in posterior sds, an sd's relative to the true one, both beyond what rounding explains. As
in the zoo's verdicts it is a fault where it exceeds both what is tolerated (0.1 sd, 10%) and what chance explains:
standard errors follow from the effective sample size that the page prints, 1 / sqrt(ess) of a mean and
sqrt((kurtosis - 1) / (4 ess)) of an sd, and as many of them count as keep a false alarm on a whole page below 1e-4.
Numbers that are no random quantities must agree in every digit, or to `POINT` where an optimiser found them.
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

POINT = 5e-4  # what is tolerated of a number that is no random quantity, relative
BLIND = 1.0  # of a page whose standard errors allow a mean to be this many sds off nothing can be told


@dataclass(frozen=True)
class Printed:
    """A quantity as it is printed: mean and sd as text, the sd empty where none is, and the ess, None where none is."""

    quantity: str
    mean: str
    sd: str
    ess: float | None


@dataclass(frozen=True)
class Distance:
    """How far a quantity is off.

    Attributes:
        mean: Signed distance of the mean in posterior sds; of a number that is no random quantity, in its own unit.
        ratio: The printed sd over the true one; None where none is printed.
        allowed: What chance and tolerance allow of the mean, and of the ratio's distance from 1.
        wrong: Whether either is exceeded.
    """

    mean: float
    ratio: float | None
    allowed: tuple[float, float]
    wrong: bool


@dataclass(frozen=True)
class Judgement:
    """The word ("right", "wrong", "cannot be told") for a page, its quantities' distances, and which is the worst."""

    word: str
    distances: tuple[Distance, ...]
    worst: int


@cache
def printed() -> dict[str, tuple[Printed, ...]]:
    """The numbers of all pages by the pages' keys, in the order of ``printed.csv``."""
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
    """Of one quantity, where ``z`` standard errors may be chance."""
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
    """The word for a page's numbers, given what is true of each of its quantities."""
    z = threshold(2 * len(entries))
    distances = tuple(distance(entry, truths[entry.quantity], z) for entry in entries)

    def excess(d: Distance) -> float:
        of_sd = 0.0 if d.ratio is None else abs(d.ratio - 1) / d.allowed[1]
        return max(abs(d.mean) / d.allowed[0], of_sd)

    worst = max(range(len(distances)), key=lambda k: excess(distances[k]))
    if any(d.wrong for d in distances):
        word = "wrong"
    elif all(entry.ess is not None and z / math.sqrt(entry.ess) > BLIND for entry in entries):
        word = "cannot be told"
    else:
        word = "right"
    return Judgement(word, distances, worst)
