"""What was written about the chain: by the founding text (the tutorial that the zoo began from), checked by computing
it; by Kalman; and about factorised Gaussians."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from models.chain.data import Chain, report
from models.chain.exact import DENSE, GaussianChain
from models.contract import Claim, Published
from models.literature import ERRORS, by_formula, settled, threshold

STEADY = 201  # A chain this long forgets both its ends in the middle: what is left of them is below 1e-40

BISHOP = "Bishop 2006, Pattern Recognition and Machine Learning, section 10.1.2"
SHRINKAGE = "Margossian & Saul 2023, The shrinkage-delinkage trade-off (UAI)"


def claims(data: Chain) -> list[Claim]:
    """The founding text's claims about its chain of two nodes with the last one seen; none for other chains."""
    if data.length != 2 or data.observe != "last":
        return []
    exact, x = GaussianChain(data), data.x[0]
    z = {"z": np.random.default_rng(0).normal(x, 1.0, (16, 2))}
    evidence = exact.log_joint(z) - exact.log_posterior(z)
    is_known = np.allclose(evidence, exact.log_evidence, rtol=1e-10)  # one number for every z: Bayes' theorem holds
    covariance = " ".join(pair(row) for row in exact.covariance())
    couplings, pulls, variances = updates(data)
    text = np.array([0.5, 0.5])  # mu1 = (mu2 + x)/2, mu2 = (mu1 + x)/2
    printed = np.linalg.solve(np.eye(2) - np.diag(text)[:, ::-1], x * text)
    first, second = zip(couplings, pulls, strict=True)
    return [
        Claim(
            "the chain's posterior is intractable",
            f"Gaussian: mean {pair(exact.location)}, covariance {covariance}, log p(x) = {exact.log_evidence:.6g}",
            not is_known,
        ),
        Claim(
            "coordinate update mu1 = (mu2 + x)/2",
            f"{formula('mu1', 'mu2', *first)}; the text's pair walks to {pair(printed)} instead of "
            f"{pair(exact.location)}",
            bool(np.allclose(first, text, atol=1e-9)),
        ),
        Claim(
            "coordinate update mu2 = (mu1 + x)/2",
            formula("mu2", "mu1", *second),
            bool(np.allclose(second, text, atol=1e-9)),
        ),
        Claim(
            "mean-field variances sigma1^2 = sigma2^2 = 1/2",
            float(variances.mean()) if np.isclose(*variances) else pair(variances),
            bool(np.allclose(variances, 0.5, atol=1e-9)),
        ),
    ]


def updates(data: Chain) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """a, b and the variance of the coordinate update of each of two nodes: mean = a * (the other mean) + b * x."""
    exact = GaussianChain(dataclasses.replace(data, x=1.0))
    variances = 1 / exact.precision_diagonal
    couplings = np.round(-np.linalg.inv(exact.covariance())[0, 1] * variances, 12)
    pulls = np.round(exact.location - couplings * exact.location[::-1], 12)  # at rest at the posterior's means
    return couplings, pulls, variances


def formula(target: str, other: str, coupling: float, pull: float) -> str:
    terms = [(f"{coupling:.4g}", other), (f"{pull:.4g}", "x")]
    return f"{target} = " + " + ".join(f"{value} {name}" for value, name in terms if float(value))


def pair(values: np.ndarray) -> str:
    return "(" + ", ".join(f"{value:.4g}" for value in values) + ")"


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
    updates = summary["fits"].get("coordinate_ascent")  # not the text's updates, which go elsewhere
    if updates and updates["status"] == "done" and shortfall(updates) <= updates["optimisation"]["tolerance"]:
        fits = {"coordinate_ascent": updates, **fits}
    exact = GaussianChain(data)
    predicted = 1 / np.sqrt(exact.precision_diagonal * exact.variance)
    nodes = [index for _, (index,) in report(data)]
    narrow = f"sd ratios from {float(predicted[nodes].min()):.4f}"
    means = "a factorised Gaussian has the posterior's means", BISHOP, "exactly"
    variances = (
        "its variances are 1/P_ii, one over the diagonal of the posterior's precision: it is too compact",
        f"{BISHOP}; by formula",
        narrow,
    )
    entropies = "it underestimates every variance, and the entropy with them"
    if not fits:
        none = "no fit with a mean-field guide arrived", None
        expected = SHRINKAGE, "q's entropy is below the posterior's"
        return [Published(*means, *none), Published(*variances, *none), Published(entropies, *expected, *none)]
    bound = threshold(2 * len(nodes) * len(fits))
    shifts, ratios = [], []
    for fit in fits.values():
        left = math.sqrt(2 * shortfall(fit))  # a Gaussian whose mean is off by t sds is t^2/2 nats short
        for node in nodes:
            z = fit["variables"][f"z[{node}]"]
            ratio, error = (z[key] / predicted[node] for key in ("sd_ratio", "mcse_sd_ratio"))
            shifts.append((abs(z["mean_error"]), bound * z["mcse_mean_error"] + left))
            ratios.append((abs(ratio - 1), bound * error + left))
    (shift, allowed), (off, room) = (max(pairs, key=lambda pair: pair[0] - pair[1]) for pairs in (shifts, ratios))
    least = min(z["sd_ratio"] for fit in fits.values() for z in fit["variables"].values())
    comparisons = [
        Published(
            *means,
            f"within {shift:.3f} posterior sds in {', '.join(fits)} (Monte Carlo allows {allowed:.3f})",
            bool(shift <= allowed),
        ),
        Published(
            *variances,
            f"from {least:.4f}; each within {off:.1%} of the formula's (Monte Carlo allows {room:.1%})",
            bool(off <= room),
        ),
    ]
    return comparisons + ([entropy(data, entropies, fits)] if data.length <= DENSE else [])


def entropy(data: Chain, claim: str, fits: Mapping[str, Any]) -> Published:
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
    return by_formula(
        claim,
        SHRINKAGE,
        "(sum log P_ii - log|P|)/2",
        value,
        gap["value"],
        ERRORS * gap["mcse"] + shortfall(fits[far]) + 1e-7 * (1 + value),
        f" ± {gap['mcse']:.1g} nats: the evidence gap of {far}, the furthest off",
    )


def shortfall(fit: Mapping[str, Any]) -> float:
    """How many nats a fit may be short of the best of its family: as it estimates itself, or as is known."""
    own, known = fit["optimisation"]["gap"], fit["ledger"]["optimisation_gap"]
    return own["value"] + ERRORS * own["mcse"] if own else abs(known["value"])
