"""What can be said of a guide where nothing is known exactly: its own draws, reweighted, and NUTS beside it.

The ratios p(x, z) / q(z) of a guide's draws are importance weights, and Pareto smoothing says by its k-hat whether they
can be trusted (Vehtari, Simpson, Gelman, Yao & Gabry 2024, Pareto smoothed importance sampling; Yao, Vehtari, Simpson &
Gelman 2018, Yes, but did it work?). Where they can, the reweighted draws have the posterior's means and sds, and the
distance of the guide's own from these is an estimate of its errors. Where they cannot, a NUTS run that met its targets
stands in. The thresholds were set on one half of many fits of the zoo, whose posteriors are known, and tried on the
other: `tests/experiments/verdicts.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from compare.comparison import Fit
from compare.measure.measures import Number, digits, smoothed, values
from models.contract import element

__all__ = ["KEYS", "THRESHOLDS", "Estimate", "Thresholds", "Weighed", "assess", "beside", "decide", "weigh"]

KEYS = ("word", "sentence", "by", "mean_error", "sd_ratio", "evidence", "khat")
"""What a summary says of a guide without the truth."""


@dataclass(frozen=True)
class Thresholds:
    """``khat`` up to which, or ``dispersion`` below which, reweighted draws are trusted; ``mean`` (in sds) and
    ``spread`` (of the sd ratio from 1): how far a guide may be off, and within how many standard errors nothing is
    said, ``errors`` by reweighted draws and ``chains`` beside NUTS; ``contradiction``: the same where a NUTS run is to
    overrule reweighted draws; ``gap``: how far the ELBO may be below the evidence that the draws give, in nats a latent
    dimension."""

    khat: float = 0.5
    dispersion: float = 0.1
    mean: float = 0.1
    spread: float = 0.1
    errors: float = 0.0
    chains: float = 2.0
    contradiction: float = 4.0
    gap: float = 0.05


THRESHOLDS = Thresholds()

DRAWS, NUTS = "by its own draws, reweighted", "beside NUTS"
"""What a verdict rests on."""


@dataclass(frozen=True)
class Estimate:
    """A guide's mean errors and sd ratios, element by element, each with its error."""

    mean_error: dict[str, Number]
    sd_ratio: dict[str, Number]

    def verdict(self, thresholds: Thresholds, errors: float) -> tuple[str, str, str]:
        """The word, and the elements whose mean and whose sd are furthest off."""
        off = {name: excess(one, 0.0, thresholds.mean, errors) for name, one in self.mean_error.items()}
        askew = {name: excess(one, 1.0, thresholds.spread, errors) for name, one in self.sd_ratio.items()}
        mean_at, spread_at = max(off, key=off.__getitem__), max(askew, key=askew.__getitem__)
        if off[mean_at] > 0:
            word = "off"
        elif askew[spread_at] > 0:
            word = "narrow" if self.sd_ratio[spread_at]["value"] < 1 else "wide"
        else:
            word = "agrees"
        return word, mean_at, spread_at


@dataclass(frozen=True)
class Weighed(Estimate):
    """The same by importance weights; the log evidence that they give, and how far the ELBO is below it, in nats;
    k-hat; ``dispersion``, the variance of the weights where their mean is 1; and the latents' ``dimension``."""

    evidence: Number
    gap: Number
    khat: float
    dispersion: float
    dimension: int

    def trusted(self, thresholds: Thresholds) -> bool:
        """Whether the weights can be believed: a heavy tail does no harm where all of them are nearly alike."""
        return self.khat <= thresholds.khat or self.dispersion <= thresholds.dispersion


def excess(number: Number, ideal: float, tolerated: float, errors: float) -> float:
    """By how much a number is further from what it should be than is tolerated, and than so many of its errors."""
    return abs(number["value"] - ideal) - max(tolerated, errors * number["mcse"])


def weigh(fit: Fit) -> Weighed:
    """By Pareto smoothed importance sampling from the guide's own draws, shape (chain, draw).

    Raises:
        ValueError: the fit has no densities of its draws, or they are not finite.
    """
    stats = fit.tree["sample_stats"]
    if "log_guide" not in stats:
        raise ValueError("the fit has no guide whose draws could be weighed")
    ratio = (stats["log_joint"] - stats["log_guide"]).values.ravel()
    if not np.isfinite(ratio).all():
        raise ValueError("the log densities of some draws are not finite")
    if float(ratio.std()) <= 1e-9:  # q is the posterior: what is left is rounding
        ratio = np.full(ratio.size, ratio.mean())
        weights, khat = np.full(ratio.size, 1 / ratio.size), -math.inf
    else:
        weights, khat = smoothed(ratio)
    highest = ratio.max()
    relative = np.exp(ratio - highest)
    relative /= relative.mean()
    evidence = {
        "value": float(highest + math.log(np.exp(ratio - highest).mean())),
        "mcse": digits(relative.std(ddof=1) / math.sqrt(ratio.size), 6),
    }
    between = relative - 1 - (ratio - ratio.mean())  # the same draws give both: their noise cancels in part
    gap = {
        "value": evidence["value"] - float(ratio.mean()),
        "mcse": digits(between.std(ddof=1) / math.sqrt(ratio.size), 6),
    }
    mean_error, sd_ratio = {}, {}
    for site, index in fit.job.data.reported():
        name = element(site, index)
        mean_error[name], sd_ratio[name] = moments(values(fit.tree, site, index).ravel(), weights)
    dimension = sum(math.prod(shape) for shape in fit.job.data.shapes().values())
    return Weighed(mean_error, sd_ratio, evidence, gap, khat, float(relative.var(ddof=1)), dimension)


def moments(draws: np.ndarray, weights: np.ndarray) -> tuple[Number, Number]:
    """(own mean - reweighted mean) / reweighted sd and own sd / reweighted sd, with their errors by the delta method.

    The same draws serve both sides, and so do their fluctuations: the errors are those of the differences.
    """
    count = len(draws)
    own, own_variance = draws.mean(), draws.var()
    mean = float(weights @ draws)
    variance = float(weights @ (draws - mean) ** 2)
    if not variance > 0 or not own_variance > 0 or np.ptp(weights) == 0:
        nothing = {"value": 0.0, "mcse": 0.0}
        return nothing, {"value": 1.0, "mcse": 0.0}
    sd, scaled = math.sqrt(variance), count * weights
    error, ratio = float(own - mean) / sd, math.sqrt(own_variance / variance)
    widening = scaled * ((draws - mean) ** 2 / variance - 1) / 2  # each draw's part in the log of the sd
    shift = ((draws - own) - scaled * (draws - mean)) / sd - error * widening
    stretch = ratio * (((draws - own) ** 2 / own_variance - 1) / 2 - widening)
    return (
        {"value": error, "mcse": digits(shift.std() / math.sqrt(count), 6)},
        {"value": ratio, "mcse": digits(stretch.std() / math.sqrt(count), 6)},
    )


def beside(summary: dict[str, Any], chains: dict[str, Any]) -> Estimate:
    """The guide's mean errors and sd ratios against a NUTS run's, in its sds, with the errors of both."""
    mean_error, sd_ratio = {}, {}
    for name, mine in summary["variables"].items():
        theirs = chains["variables"][name]
        sd, ratio = theirs["sd"], mine["sd"] / theirs["sd"]
        error = math.hypot(mine["mcse_mean"], theirs["mcse_mean"]) / sd
        mean_error[name] = {"value": (mine["mean"] - theirs["mean"]) / sd, "mcse": digits(error, 6)}
        error = math.hypot(mine["mcse_sd"], ratio * theirs["mcse_sd"]) / sd
        sd_ratio[name] = {"value": ratio, "mcse": digits(error, 6)}
    return Estimate(mean_error, sd_ratio)


def assess(fit: Fit, summary: dict[str, Any], chains: dict[str, Any] | None) -> dict[str, Any] | None:
    """The verdict on a guide that rests on nothing exact; None for what is no guide.

    ``summary`` is the fit's own, of which only what needs no truth is looked at; ``chains`` that of a NUTS run on the
    same data that met its targets, None if there is none.
    """
    optimisation = summary["optimisation"]
    if fit.tree is None or optimisation is None:
        return None
    blank = dict.fromkeys(KEYS)
    try:
        weighed = weigh(fit)
    except ValueError as error:
        return blank | {"word": "unreliable", "sentence": f"{str(error)[:1].upper()}{str(error)[1:]}."}
    blank |= {"khat": weighed.khat if math.isfinite(weighed.khat) else None, "evidence": weighed.evidence}
    if not optimisation["converged"]:
        reason = optimisation["reason"] or "the optimiser has not arrived"
        return blank | {"word": "not converged", "sentence": f"{reason[:1].upper()}{reason[1:]}."}
    return blank | decide(weighed, beside(summary, chains) if chains else None, THRESHOLDS)


def decide(weighed: Weighed, chains: Estimate | None, thresholds: Thresholds) -> dict[str, Any]:
    """The word on a guide whose optimiser arrived, the sentence, and the numbers that they rest on."""
    estimate, source, errors = weighed, DRAWS, thresholds.errors
    short = excess(weighed.gap, 0.0, thresholds.gap * weighed.dimension, thresholds.errors) > 0
    if not weighed.trusted(thresholds):
        if chains is None:
            lost = f"k-hat is {weighed.khat:.2f}: its draws cannot be reweighted, and there is no NUTS run to ask."
            return {"word": "unreliable", "sentence": lost}
        estimate, source, errors = chains, NUTS, thresholds.chains
    elif chains is not None and chains.verdict(thresholds, thresholds.contradiction)[0] != "agrees":
        estimate, source, errors = chains, NUTS, thresholds.contradiction
    word, mean_at, spread_at = estimate.verdict(thresholds, errors)
    if word == "agrees" and short:
        word, mean_at, spread_at = estimate.verdict(replace(thresholds, mean=0.0, spread=0.0), 0.0)
    mean, spread = estimate.mean_error[mean_at], estimate.sd_ratio[spread_at]
    if word == "off":
        sentence = f"The mean of {mean_at} is off by {mean['value']:+.2f} ± {mean['mcse']:.1g} sd, {source}"
    elif word != "agrees":
        sentence = f"The sd of {spread_at} is {spread['value']:.2f} ± {spread['mcse']:.1g} of the truth, {source}"
    else:
        worst = f"{mean['value']:+.2f} ± {mean['mcse']:.1g} sd, sd {spread['value']:.2f} ± {spread['mcse']:.1g}"
        sentence = f"No error is found {source}: mean off by {worst} of the truth at worst"
    if short:
        gap = f"{weighed.gap['value']:.2g} ± {weighed.gap['mcse']:.1g}"
        sentence = f"{sentence}; the ELBO is {gap} nats below the evidence that its draws give"
    return {"word": word, "sentence": f"{sentence}.", "by": source, "mean_error": mean, "sd_ratio": spread}
