"""The chain against Kalman's filter, and its mean field against what is known of factorised Gaussians."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from models.chain.data import report
from models.chain.exact import DENSE, GaussianChain
from models.contract import Published
from models.published import by_formula, settled, threshold

if TYPE_CHECKING:
    from models.chain.data import Chain

__all__ = ["published"]

STEADY = 201
"""A chain this long forgets both its ends in the middle: what is left of them is below 1e-40."""

BISHOP = "Bishop 2006, Pattern Recognition and Machine Learning, section 10.1.2"
SHRINKAGE = "Margossian & Saul 2023, The shrinkage-delinkage trade-off (UAI)"


def published(data: Chain, summary: Mapping[str, Any]) -> list[Published]:
    """The filter's limits and its likelihood, and what the fits with a mean-field guide show."""
    return [*steady(type(data)), likelihood(data), *factorised(data, summary)]


def steady(chain: type[Chain]) -> list[Published]:
    """The variances at the end and in the middle of a long chain that is seen at every node.

    With unit variances the filter's P = (P + 1)/(P + 2) has the root (sqrt(5) - 1)/2. In the middle the precision is 3
    on the diagonal and -1 beside it without end, whose inverse has 1/sqrt(9 - 4) on its diagonal.
    """
    variance = GaussianChain(chain(STEADY, 0.0, "all")).variance
    return [
        by_formula(
            f"the filter's variance settles (last of {STEADY} nodes, each seen)",
            "Kalman 1960; the Riccati equation of the local level model",
            "(sqrt(5) - 1)/2",
            (math.sqrt(5) - 1) / 2,
            float(variance[-1]),
            1e-12,
        ),
        by_formula(
            "the smoother's variance settles (the node in its middle)",
            "Rue & Held 2005, Gaussian Markov Random Fields; the inverse of a tridiagonal Toeplitz matrix",
            "1/sqrt(5)",
            1 / math.sqrt(5),
            float(variance[STEADY // 2]),
            1e-12,
        ),
    ]


def filtered(data: Chain) -> float:
    """log p(x) in nats by Kalman's filter: the sum of the log densities of the prediction errors."""
    x = np.full(data.length, np.nan)
    x[slice(None) if data.observe == "all" else slice(-1, None)] = data.x
    mean, variance, total = 0.0, 0.0, 0.0
    for seen in x.tolist():
        variance += 1.0
        if not math.isnan(seen):
            error, spread = seen - mean, variance + 1.0
            total -= 0.5 * (error * error / spread + math.log(2 * math.pi * spread))
            mean, variance = mean + variance / spread * error, variance / spread
    return total


def likelihood(data: Chain) -> Published:
    """The evidence of these data by two ways that share nothing."""
    value, exact = filtered(data), GaussianChain(data)
    return by_formula(
        "log p(x) is the sum of the log densities of Kalman's prediction errors",
        "Harvey 1989, Forecasting, Structural Time Series Models and the Kalman Filter, section 3.4",
        "that sum",
        value,
        exact.log_evidence,
        1e-10 * (10 + data.length + abs(value)),
    )


def factorised(data: Chain, summary: Mapping[str, Any]) -> list[Published]:
    """Mean-field fits that arrived: their means, their sds and what they cost."""
    fits = dict(settled(summary, "mean_field"))
    right = summary["fits"].get("coordinate_ascent")  # not the text's updates, which go elsewhere
    if right and right["status"] == "done" and short(right) <= right["optimisation"]["tolerance"]:
        fits = {"coordinate_ascent": right, **fits}
    exact = GaussianChain(data)
    predicted = 1 / np.sqrt(exact.precision_diagonal * exact.variance)
    nodes = [index for _, (index,) in report(data)]
    narrow = float(predicted[nodes].min())
    claims = (
        "a factorised Gaussian has the posterior's means",
        "its variances are 1/P_ii, one over the diagonal of the posterior's precision: it is too compact",
        "it underestimates every variance, and the entropy with them",
    )
    if not fits:
        none = "no fit with a mean-field guide arrived"
        sources = (BISHOP, f"{BISHOP}; by formula", SHRINKAGE)
        said = ("exactly", f"sd ratios from {narrow:.4f}", "q's entropy is below the posterior's")
        return [
            Published(claim, source, one, none, None) for claim, source, one in zip(claims, sources, said, strict=True)
        ]
    bound = threshold(2 * len(nodes) * len(fits))
    shifts, ratios = [], []
    for fit in fits.values():
        left = math.sqrt(2 * short(fit))  # so many nats move a Gaussian's mean by so many of its sds
        for node in nodes:
            found = fit["variables"][f"z[{node}]"]
            ratio, error = (found[key] / predicted[node] for key in ("sd_ratio", "mcse_sd_ratio"))
            shifts.append((abs(found["mean_error"]), bound * found["mcse_mean_error"] + left))
            ratios.append((abs(ratio - 1), bound * error + left))
    (shift, allowed), (off, room) = (max(pairs, key=lambda one: one[0] - one[1]) for pairs in (shifts, ratios))
    found = [
        Published(
            claims[0],
            BISHOP,
            "exactly",
            f"within {shift:.3f} posterior sds in {', '.join(fits)} (Monte Carlo allows {allowed:.3f})",
            bool(shift <= allowed),
        ),
        Published(
            claims[1],
            f"{BISHOP}; by formula",
            f"sd ratios from {narrow:.4f}",
            f"from {min(least(fit) for fit in fits.values()):.4f}; each within {off:.1%} of the formula's "
            f"(Monte Carlo allows {room:.1%})",
            bool(off <= room),
        ),
    ]
    if data.length <= DENSE:
        found.append(entropy(data, claims[2], fits, summary))
    return found


def entropy(data: Chain, claim: str, fits: Mapping[str, Any], summary: Mapping[str, Any]) -> Published:
    """What the smaller variances cost in entropy, which for a Gaussian with the right means is the evidence gap.

    The difference of the entropies is half of the sum of the logs of P_ii less half of log|P|, with P written down
    here from the model's definition.
    """
    precision = 2 * np.eye(data.length) - np.eye(data.length, k=1) - np.eye(data.length, k=-1)
    precision[-1, -1] = 1.0
    seen = np.ones(data.length) if data.observe == "all" else np.eye(data.length)[-1]
    precision += np.diag(seen)
    value = 0.5 * float(np.log(np.diagonal(precision)).sum() - np.linalg.slogdet(precision)[1])
    gaps = {name: fit["ledger"]["evidence_gap"] for name, fit in fits.items()}
    far = max(gaps, key=lambda name: abs(gaps[name]["value"] - value))
    gap = gaps[far]
    tolerance = 4 * gap["mcse"] + short(fits[far]) + 1e-7 * (1 + value)
    return by_formula(
        claim,
        SHRINKAGE,
        "(sum log P_ii - log|P|)/2",
        value,
        gap["value"],
        tolerance,
        f" ± {gap['mcse']:.1g} nats: the evidence gap of {far}, the furthest off",
    )


def short(fit: Mapping[str, Any]) -> float:
    """So many nats a fit may be short of the best of its family: as it estimates itself, or as is known."""
    own, known = fit["optimisation"]["gap"], fit["ledger"]["optimisation_gap"]
    return own["value"] + 4 * own["mcse"] if own else abs(known["value"])


def least(fit: Mapping[str, Any]) -> float:
    return min(one["sd_ratio"] for one in fit["variables"].values())
