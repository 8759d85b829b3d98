"""Seconds against the distance to the truth, as the page of the zoo draws them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from compare.comparison import TRUTH_METHODS
from compare.report.html.entries import describe_distance, distances, evidence_of, family, ledgers_of
from compare.report.tables.ledger import printed_ledgers
from compare.report.tables.numbers import estimate
from compare.summary import Estimate

WIDTH, HEIGHT = 400, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 14, 44
FLOOR, QUICKEST = 1e-6, 1e-3
"""Nats and seconds below which nothing is drawn: Monte Carlo errors hide smaller distances."""


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
    """One model's picture.

    Attributes:
        points: The guides' fits.
        frontier: The line through the fits that no other beats in both seconds and nats, as an SVG path.
        best: Their names.
        x_ticks, y_ticks: Ticks, each a place and its text.
        nuts: Where NUTS's seconds are, in words, and the library.
        measure: What the distances are.
    """

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


@dataclass(frozen=True)
class Axes:
    """Both axes' powers of ten, the same for all models; `across` and `down` place seconds and nats on the page."""

    x: tuple[int, int]
    y: tuple[int, int]

    @classmethod
    def over(cls, summaries: Sequence[Mapping[str, Any]]) -> Axes:
        """Axes that hold all fits of these summaries."""
        seconds = [fit["seconds"] for summary in summaries for fit in summary["fits"].values() if fit["seconds"]]
        upper = [upper_limit(gap) for summary in summaries for gap in guide_distances(summary).values()]
        return cls(decades([max(time, QUICKEST) for time in seconds]), decades([*upper, FLOOR]))

    def across(self, seconds: float) -> float:
        low, high = self.x
        part = (math.log10(max(seconds, QUICKEST)) - low) / max(high - low, 1)
        return round(LEFT + 8 + part * (WIDTH - LEFT - RIGHT - 16), 1)

    def down(self, nats: float) -> float:
        low, high = self.y
        part = (math.log10(max(nats, FLOOR)) - low) / max(high - low, 1)
        return round(HEIGHT - BOTTOM - 8 - part * (HEIGHT - TOP - BOTTOM - 16), 1)


def upper_limit(distance: Estimate) -> float:
    """A distance and two errors more, as it is drawn."""
    return max(distance.value + 2 * distance.mcse, FLOOR)


def guide_distances(summary: Mapping[str, Any]) -> dict[str, Estimate]:
    """The distances of what was optimised."""
    known = (*TRUTH_METHODS, "reference")
    return {name: gap for name, gap in distances(summary).items() if summary["fits"][name]["method"] not in known}


def decades(values: Sequence[float]) -> tuple[int, int]:
    return math.floor(math.log10(min(values)) + 1e-9), math.ceil(math.log10(max(values)) - 1e-9)


def best_of(places: Mapping[str, tuple[float, float]]) -> list[str]:
    """The fits that no other beats in both seconds and nats, the quickest first."""

    def is_beaten(own: tuple[float, float]) -> bool:
        return any(other[0] <= own[0] and other[1] <= own[1] and other != own for other in places.values())

    return [name for name, place in sorted(places.items(), key=lambda item: item[1]) if not is_beaten(place)]


def scatter(name: str, summary: Mapping[str, Any], summaries: Sequence[Mapping[str, Any]]) -> Scatter | None:
    """The picture of one model, on axes that hold all of ``summaries``; None where there is nothing to draw."""
    gaps, fits, measure = guide_distances(summary), summary["fits"], describe_distance(summary)
    if not gaps:
        return None
    axes, evidence = Axes.over(summaries), evidence_of(summary)
    texts = printed_ledgers(ledgers_of(summary), evidence)
    points, places = [], {}
    for fit_name, gap in gaps.items():
        fit, limit = fits[fit_name], gap.value <= max(2 * gap.mcse, FLOOR)  # within two errors of zero
        nats = upper_limit(gap) if limit else gap.value
        places[fit_name] = (max(fit["seconds"], QUICKEST), nats)
        shown = texts[fit_name]["evidence_gap"] if evidence else estimate(gap)
        shown = f"at most {nats:.1g} nats" if limit else f"{shown} nats"
        words = f"{name}, {fit_name}: {fit['seconds']:.1f} s, {measure} {shown}, {fit['verdict']['word']}"
        x, y = axes.across(fit["seconds"]), axes.down(nats)
        points.append(Point(fit_name, fit["library"] or "", family(fit), x, y, limit, words))
    best = best_of(places)
    corners = [(axes.across(places[fit][0]), axes.down(places[fit][1])) for fit in best]
    heights = [corners[0][1], *(y for _, y in corners)]
    path = "M" + "L".join(f"{x} {above}L{x} {y}" for (x, y), above in zip(corners, heights, strict=False))
    nuts = [
        (axes.across(fit["seconds"]), f"{name}, {n}: {fit['seconds']:.1f} s, {fit['verdict']['word']}", fit["library"])
        for n, fit in fits.items()
        if fit["method"] == "nuts" and fit["seconds"]
    ]
    x_ticks = [(axes.across(10.0**power), f"{10.0**power:g}") for power in range(axes.x[0], axes.x[1] + 1)]
    y_ticks = [
        (axes.down(10.0**power), f"{10.0**power:g}" if -3 < power < 4 else f"1e{power}")
        for power in range(axes.y[0], axes.y[1] + 1)
    ]
    return Scatter(points, path, best, x_ticks, y_ticks, nuts, measure)
