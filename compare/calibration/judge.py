"""Ranks in, numbers and a verdict out. Every number that rests on a count of data sets comes with its error."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from arviz_stats.ecdf_utils import ecdf_pit

from compare.calibration.ranks import ENDS, LEVELS, LIKELIHOOD, Ranked
from compare.summary import Estimate, Verdict, to_json
from compare.verdict.judge import sentence
from compare.verdict.thresholds import ERRORS

__all__ = ["FAMILYWISE", "band", "judge", "measure", "widest"]

FAMILYWISE = 0.01
"""The probability that a right posterior is called wrong, divided among its quantities."""

SIMULATIONS = 5000
"""Simulations of uniform ranks behind the simultaneous bands."""


@lru_cache(maxsize=16)
def band(count: int, probability: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The band that holds the entire ECDF of ``count`` uniform numbers with this probability: points, lower, upper.

    ArviZ's simultaneous band (Sailynoja, Burkner & Vehtari 2022, Graphical test for discrete uniformity, section 3).
    """
    rng = np.random.default_rng(0)
    points, _, lower, upper = ecdf_pit(np.linspace(0, 1, count), probability, SIMULATIONS, rng=rng)
    return points, lower, upper


def probability(quantities: int) -> float:
    """The probability of each quantity's band, for a fit with this number of quantities."""
    return 1 - FAMILYWISE / quantities


def outside(pit: np.ndarray, probability: float) -> float:
    """How far the ECDF of ``pit``, shape (data sets,), leaves the band, at most; 0 if it does not."""
    points, lower, upper = band(len(pit), probability)
    ecdf = np.searchsorted(np.sort(pit), points, side="right") / len(pit)
    return float(max(np.max(lower - ecdf), np.max(ecdf - upper), 0.0))


def mean(values: np.ndarray) -> Estimate:
    """The mean over data sets, with its standard error."""
    return Estimate(float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values))))


def share(inside: np.ndarray) -> Estimate:
    """The mean of ones and zeros, or of probabilities, with its standard error."""
    estimate, count = mean(inside), len(inside)
    if estimate.mcse:
        return estimate
    # At 0 or 1 the sample's own spread is 0: one more success and failure keep the error honest (Agresti & Coull 1998).
    rough = (estimate.value * count + 2) / (count + 4)
    return Estimate(estimate.value, math.sqrt(rough * (1 - rough) / count))


def measure(
    ranked: Ranked, names: list[str], exact: Ranked | None, theory: Mapping[float, Mapping[str, float]]
) -> dict[str, dict[str, Any]]:
    """Each quantity's numbers.

    ``coverage`` of a central interval is the share of data sets in which it holds the true value; ``given_truth`` the
    mean of the exact posterior's probability of the interval, the same in expectation and far less noisy; ``theory``
    what a formula says. ``bias`` is the mean of (true value - mean) / sd, 0 if right; ``spread`` the sd of the ranks
    over that of uniform ones: 1 if right, above 1 where a posterior is too narrow.
    """
    measured = {}
    for place, name in enumerate(names):
        pit, score = ranked.pit[:, place], ranked.scores[:, place]
        coverage = {}
        for level in LEVELS:
            inside = np.abs(pit - 0.5) <= level / 2
            coverage[f"{level:.0%}".rstrip("%")] = {
                **to_json(share(inside.astype(float))),
                "given_truth": given(ranked, exact, place, level),
                "theory": theory.get(level, {}).get(name),
            }
        squares = 12 * (pit - 0.5) ** 2
        spread = math.sqrt(squares.mean())
        measured[name] = {
            "rank_mean": to_json(mean(pit)),
            "coverage": coverage,
            "bias": to_json(mean(score)),
            "spread": to_json(Estimate(spread, mean(squares).mcse / (2 * spread))),
            "outside": outside(pit, probability(len(names))),
        }
    return measured


def given(ranked: Ranked, exact: Ranked | None, place: int, level: float) -> dict[str, float] | None:
    """The exact posterior's probability of the intervals, on average over the data sets that both have."""
    if exact is None or exact.draws is None or ranked is exact:
        return None
    low, high = (ENDS.index((1 + sign * level) / 2) for sign in (-1, 1))
    rows = {number: row for row, number in enumerate(exact.sets.tolist())}
    both = [(row, rows[number]) for row, number in enumerate(ranked.sets.tolist()) if number in rows]
    ends = ranked.ends[[row for row, _ in both], place]
    draws = exact.draws[[row for _, row in both], :, place]
    return to_json(share(np.mean((draws >= ends[:, [low]]) & (draws <= ends[:, [high]]), axis=1)))


def widest(measured: Mapping[str, Mapping[str, Any]]) -> str:
    """The quantity furthest from uniform ranks: outside its band if any is, and rather a latent than the likelihood."""
    latents = [name for name in measured if name != LIKELIHOOD] or list(measured)
    broken = [name for name in latents if measured[name]["outside"]] or [n for n in measured if measured[n]["outside"]]
    if broken:
        return max(broken, key=lambda name: measured[name]["outside"])
    return max(latents, key=lambda name: abs(measured[name]["spread"]["value"] - 1))


def judge(measured: Mapping[str, Mapping[str, Any]], ranked: Ranked) -> Verdict:
    """A word and a sentence on one fit."""
    count, failed, name = len(ranked.pit), len(ranked.failed), widest(measured)
    lost = f" {failed} of {failed + count} data sets failed and are left out." if failed else ""
    if ranked.converged is not None and ranked.converged < count:
        lost += f" The optimiser arrived on {ranked.converged} of {count} data sets only."
    word, text = word_and_reason(measured, name)
    return Verdict(word, f"{sentence(text)}.{lost}")


def word_and_reason(measured: Mapping[str, Mapping[str, Any]], name: str) -> tuple[str, str]:
    """The verdict's word, and the reason: the ranks of the quantity furthest from uniform."""
    quantity = measured[name]
    if not quantity["outside"]:
        many = f"the ranks of all {len(measured)} quantities stay" if len(measured) > 1 else f"the ranks of {name} stay"
        return "agrees", f"{many} within the {1 - FAMILYWISE:.0%} band"
    left, centre, spread = f"the ranks of {name} leave their band", quantity["rank_mean"], quantity["spread"]
    shift, tension = ((number["value"] - ideal) / number["mcse"] for number, ideal in ((centre, 0.5), (spread, 1.0)))
    if abs(shift) > max(ERRORS, abs(tension)):
        return "off", f"{left}: its means are too {'low' if shift > 0 else 'high'} on average"
    if abs(tension) > ERRORS:
        word, inside = "narrow" if tension > 0 else "wide", quantity["coverage"]["80"]["value"]
        return word, f"{left}: it is too {word}, its 80% intervals hold the truth {inside:.1%} of the time"
    return "off", f"{left}, though neither mean nor width stands out"
