"""The verdict on a guide where nothing is known exactly: by its own draws, reweighted, or by NUTS beside it.

The ratios p(x, z) / q(z) of a guide's draws are importance weights, and Pareto smoothing says by its k-hat whether they
can be trusted (Vehtari, Simpson, Gelman, Yao & Gabry 2024, Pareto smoothed importance sampling; Yao, Vehtari, Simpson &
Gelman 2018, Yes, but did it work?). Where they can, the reweighted draws have the posterior's means and sds, and the
distance of the guide's own from these is an estimate of its errors. Where they cannot, a NUTS run that met its targets
stands in. The thresholds were set on one half of many fits of the zoo, whose posteriors are known, and tried on the
other: `tests/experiments/verdicts.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from compare.comparison import Fit
from compare.fit.density import layout_of
from compare.fit.psis import has_equal_weights, log_ratios, relative_ess, smooth
from compare.measure.many import blocks, columns
from compare.measure.moments import digits, distance, moments_of
from compare.summary import Distance, Estimate, FitSummary, WithoutTruth
from compare.verdict.judge import sentence
from compare.verdict.points import BY_ITSELF, is_point
from compare.verdict.thresholds import THRESHOLDS, Thresholds, excess, widen, worst

DRAWS, NUTS = "by its own draws, reweighted", "beside NUTS"
"""What a verdict rests on."""

Distances = Mapping[str, Distance]


@dataclass(frozen=True)
class Weighed:
    """A guide by its importance weights.

    Attributes:
        distances: The distance of each element's own moments from the reweighted ones.
        evidence: The log evidence that the weights give, in nats.
        gap: How far the ELBO is below that, in nats.
        khat: Pareto k-hat of the weights.
        relative_ess: The relative ESS of the weights.
        dimension: The number of elements of all latents.
    """

    distances: Distances
    evidence: Estimate
    gap: Estimate
    khat: float
    relative_ess: float
    dimension: int

    def is_trusted(self, thresholds: Thresholds) -> bool:
        """Whether the weights can be trusted: a heavy tail does no harm where all of them are nearly equal."""
        return self.khat <= thresholds.khat or self.relative_ess >= thresholds.relative_ess


def weigh(fit: Fit) -> Weighed:
    """Pareto smoothed importance sampling from the guide's own draws.

    Raises:
        ValueError: the fit has no densities of its draws, or they are not finite.
    """
    if "log_guide" not in fit.tree["sample_stats"]:
        raise ValueError("the guide has no density, and draws without one cannot be weighed")
    ratio = log_ratios(fit.tree)
    count = ratio.size
    if not np.isfinite(ratio).all():
        raise ValueError("the log densities of some draws are not finite")
    if has_equal_weights(ratio):
        ratio = np.full(count, ratio.mean())
        weights, khat = np.full(count, 1 / count), -math.inf
    else:
        weights, khat = smooth(ratio)
    layout, relative = layout_of(fit.job), np.exp(ratio - ratio.max())
    evidence = float(ratio.max() + math.log(relative.mean()))
    relative /= relative.mean()
    between = relative - 1 - (ratio - ratio.mean())  # the same draws give both: their noise cancels in part
    return Weighed(
        {
            layout.label(site, index): own_distance(draws, weights)
            for site, indices in blocks(layout.judged)
            for index, draws in zip(indices, columns(fit.tree, site, indices).reshape(count, -1).T, strict=True)
        },
        estimate(evidence, relative.std(ddof=1), count),
        estimate(evidence - float(ratio.mean()), between.std(ddof=1), count),
        khat,
        relative_ess(ratio),
        layout.dimension,
    )


def estimate(value: float, sd: float, count: int) -> Estimate:
    """A mean of ``count`` draws with this sd."""
    return Estimate(value, digits(sd / math.sqrt(count), 6))


def own_distance(draws: np.ndarray, weights: np.ndarray) -> Distance:
    """(own mean - reweighted mean) / reweighted sd and own sd / reweighted sd, with their errors by the delta method.

    The same draws serve both sides, and so do their fluctuations: the errors are those of the differences.

    Args:
        draws: One element's draws, shape (count,).
        weights: Their weights, shape (count,), which sum to 1.
    """
    count = len(draws)
    own, own_variance = draws.mean(), draws.var()
    mean = float(weights @ draws)
    variance = float(weights @ (draws - mean) ** 2)
    if not variance > 0 or not own_variance > 0 or np.ptp(weights) == 0:
        return Distance(Estimate(0.0), Estimate(1.0))
    sd, scaled = math.sqrt(variance), count * weights
    error, ratio = float(own - mean) / sd, math.sqrt(own_variance / variance)
    widening = scaled * ((draws - mean) ** 2 / variance - 1) / 2  # each draw's part in the log of the sd
    shift = ((draws - own) - scaled * (draws - mean)) / sd - error * widening
    stretch = ratio * (((draws - own) ** 2 / own_variance - 1) / 2 - widening)
    return Distance(estimate(error, shift.std(), count), estimate(ratio, stretch.std(), count))


def beside(summary: FitSummary, chains: FitSummary) -> Distances:
    """The guide's distances from a NUTS run's moments, in its sds, with the errors of both."""
    ours, theirs = summary.judged, chains.judged
    return {name: distance(moments_of(own), moments_of(theirs[name])) for name, own in ours.items() if name in theirs}


def assess(fit: Fit, summary: FitSummary, chains: FitSummary | None) -> WithoutTruth | None:
    """The verdict on a guide that rests on nothing exact; None for what is no guide.

    Args:
        fit: The fit, with its draws.
        summary: Its numbers, of which only those are used that need no truth.
        chains: The numbers of a NUTS run on the same data that met its targets; None if there is none.
    """
    optimisation = summary.optimisation
    if fit.tree is None or optimisation is None:
        return None
    if is_point(summary) and optimisation.converged:
        return WithoutTruth("narrow", f"{BY_ITSELF}.")
    try:
        weighed = weigh(fit)
    except ValueError as error:
        return WithoutTruth("undecided", f"{sentence(str(error))}.")
    if optimisation.converged:
        verdict = decide(weighed, beside(summary, chains) if chains else None, THRESHOLDS)
    else:
        reason = optimisation.reason or "the optimiser has not arrived"
        verdict = WithoutTruth("not converged", f"{sentence(reason)}.")
    khat = weighed.khat if math.isfinite(weighed.khat) else None
    return replace(verdict, evidence=None if layout_of(fit.job).improper else weighed.evidence, khat=khat)


def decide(weighed: Weighed, chains: Distances | None, thresholds: Thresholds) -> WithoutTruth:
    """The word on a guide whose optimiser arrived, the sentence, and the numbers that they rest on."""
    count = 2 * len(weighed.distances)
    distances, source, errors = weighed.distances, DRAWS, widen(thresholds.errors, count)
    if not weighed.is_trusted(thresholds):
        if chains is None:
            lost = f"k-hat is {weighed.khat:.2f}: its draws cannot be reweighted, and there is no NUTS run beside it."
            return WithoutTruth("undecided", lost)
        distances, source, errors = chains, NUTS, widen(thresholds.chains, count)
    elif chains is not None:
        many = widen(thresholds.contradiction, count)
        if name_error(chains, thresholds, many)[0] != "agrees":
            distances, source, errors = chains, NUTS, many
    word, mean_at, sd_at = name_error(distances, thresholds, errors)
    is_short = excess(weighed.gap, 0.0, thresholds.gap * weighed.dimension, thresholds.errors) > 0
    if word == "agrees" and is_short:
        word, mean_at, sd_at = name_error(distances, replace(thresholds, mean=0.0, spread=0.0), 0.0)
    mean, ratio = distances[mean_at].mean_error, distances[sd_at].sd_ratio
    shift, spread = f"{mean.value:+.2f} ± {mean.mcse:.1g} sd", f"{ratio.value:.2f} ± {ratio.mcse:.1g} of the truth"
    if word == "off":
        text = f"The mean of {mean_at} is off by {shift}, {source}"
    elif word != "agrees":
        text = f"The sd of {sd_at} is {spread}, {source}"
    else:
        text = f"No error is found {source}: mean off by {shift}, sd {spread} at worst"
    if is_short:
        gap = f"{weighed.gap.value:.2g} ± {weighed.gap.mcse:.1g}"
        text = f"{text}; the ELBO is {gap} nats below the evidence that its draws give"
    return WithoutTruth(word, f"{text}.", source, mean, ratio)


def name_error(distances: Distances, thresholds: Thresholds, errors: float) -> tuple[str, str, str]:
    """The word, and the elements whose mean and whose sd are furthest off."""
    off, mean_at = worst(distances, lambda apart: excess(apart.mean_error, 0.0, thresholds.mean, errors))
    askew, sd_at = worst(distances, lambda apart: excess(apart.sd_ratio, 1.0, thresholds.spread, errors))
    if off > 0:
        return "off", mean_at, sd_at
    if askew > 0:
        return "narrow" if distances[sd_at].sd_ratio.value < 1 else "wide", mean_at, sd_at
    return "agrees", mean_at, sd_at
