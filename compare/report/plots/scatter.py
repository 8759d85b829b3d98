"""Seconds against the distance to the truth: who is worth its time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from compare.report.plots.distance import distances, measure
from compare.report.tables.ledger import common_digits, rounded
from compare.report.tables.numbers import entry, measured

__all__ = ["HEIGHT", "WIDTH", "Point", "Scatter", "scatter"]

WIDTH, HEIGHT = 400, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 14, 44
FLOOR = 1e-6
"""Nats below which no distance is drawn: Monte Carlo does not tell smaller ones from zero."""


@dataclass(frozen=True)
class Point:
    """One fit: where it is drawn, and whether its distance is only an upper limit."""

    fit: str
    library: str
    guide: str
    x: float
    y: float
    limit: bool
    words: str


@dataclass(frozen=True)
class Scatter:
    """One model's picture: points, the line of those that none beats, ticks, and the seconds of NUTS."""

    points: list[Point]
    frontier: str
    best: list[str]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    nuts: list[tuple[float, str, str]]
    measure: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def gaps_as_printed(summary: Mapping[str, Any]) -> dict[str, str]:
    """The evidence gaps as the ledger has them, where it is known."""
    evidence = summary["log_evidence"]["value"]
    ledgers = {name: fit["ledger"] for name, fit in summary["fits"].items() if fit["ledger"]["evidence_gap"]}
    digits = common_digits([fit["ledger"] for fit in summary["fits"].values()], evidence)
    terms = {name: rounded(one, evidence, digits, strict=False) for name, one in ledgers.items()}
    return {name: entry(terms[name]["evidence_gap"], one["evidence_gap"], digits) for name, one in ledgers.items()}


def of_guides(summary: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """The distances of what was optimised."""
    known = ("exact", "reference")
    return {name: one for name, one in distances(summary).items() if summary["fits"][name]["method"] not in known}


def decades(values: Sequence[float]) -> tuple[int, int]:
    """The powers of ten that hold the values."""
    return math.floor(math.log10(min(values)) + 1e-9), math.ceil(math.log10(max(values)) - 1e-9)


def scatter(
    name: str,
    summary: Mapping[str, Any],
    every: Sequence[Mapping[str, Any]],
    family: Callable[[Mapping[str, Any]], str],
) -> Scatter | None:
    """The picture of one model; its axes are the same for all models ``every``. None where there is nothing to draw."""
    mine = of_guides(summary)
    if not mine:
        return None
    seconds = [max(fit["seconds"], 1e-3) for one in every for fit in one["fits"].values() if fit["seconds"]]
    upper = [max(value + 2 * error, FLOOR) for one in every for value, error in of_guides(one).values()]
    x_low, x_high = decades(seconds)
    y_low, y_high = decades([*upper, FLOOR])

    def across(value: float) -> float:
        part = (math.log10(max(value, 1e-3)) - x_low) / max(x_high - x_low, 1)
        return round(LEFT + 8 + part * (WIDTH - LEFT - RIGHT - 16), 1)

    def down(value: float) -> float:
        part = (math.log10(max(value, FLOOR)) - y_low) / max(y_high - y_low, 1)
        return round(HEIGHT - BOTTOM - 8 - part * (HEIGHT - TOP - BOTTOM - 16), 1)

    points, reach, printed = [], {}, gaps_as_printed(summary)
    for fit_name, (value, error) in mine.items():
        fit = summary["fits"][fit_name]
        limit = value <= max(2 * error, FLOOR)
        drawn = max(value + 2 * error, FLOOR) if limit else value
        reach[fit_name] = (max(fit["seconds"], 1e-3), drawn)
        shown = f"at most {drawn:.1g} nats" if limit else f"{printed.get(fit_name) or measured(value, error)} nats"
        words = f"{name}, {fit_name}: {fit['seconds']:.1f} s, {measure(summary)} {shown}, {fit['verdict']['word']}"
        point = Point(fit_name, fit["library"] or "", family(fit), across(fit["seconds"]), down(drawn), limit, words)
        points.append(point)
    best = [
        one
        for one, (time, gap) in sorted(reach.items(), key=lambda item: item[1])
        if not any(t <= time and g <= gap and (t, g) != (time, gap) for t, g in reach.values())
    ]
    corners = [(across(reach[one][0]), down(reach[one][1])) for one in best]
    path = "".join(
        f"{'L' if i else 'M'}{x} {y if not i else corners[i - 1][1]}L{x} {y}" for i, (x, y) in enumerate(corners)
    )
    nuts = [
        (across(fit["seconds"]), f"{name}, {one}: {fit['seconds']:.1f} s, {fit['verdict']['word']}", fit["library"])
        for one, fit in summary["fits"].items()
        if fit["method"] == "nuts" and fit["seconds"]
    ]
    return Scatter(
        points,
        path,
        best,
        [(across(10.0**power), f"{10.0**power:g}") for power in range(x_low, x_high + 1)],
        [(down(10.0**power), power_text(power)) for power in range(y_low, y_high + 1)],
        nuts,
        measure(summary),
    )


def power_text(power: int) -> str:
    """A power of ten as short as it can be."""
    return f"{10.0**power:g}" if -3 < power < 4 else f"1e{power}"
