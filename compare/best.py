"""The draws to use, of all that a comparison has, and why these."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
import xarray as xr

from compare.comparison import Comparison, Fit, Layout
from compare.fit.psis import has_equal_weights, log_ratios, relative_ess, smooth
from compare.fit.reference.importance import systematic
from compare.measure.many import blocks, columns, moments
from compare.measure.moments import Moments, distance, moments_of
from compare.summary import Distance, FitSummary
from compare.verdict.contradictions import modes_apart
from compare.verdict.judge import complaints, convict
from compare.verdict.thresholds import DECISIVE_ESS, KHAT, RELATIVE_ESS, is_short
from compare.verdict.without_truth import beside

SEED = 8
"""Seed of the resampling, so that every call gives the same draws."""


@dataclass(frozen=True, eq=False)
class BestDraws:
    """Draws that may be used in the posterior's place.

    Attributes:
        fit: The fit that they come from; None where none may be used.
        why: Why these, or why none, in one sentence.
        posterior: The draws, dimensions (chain, draw) and the sites' own; None where none may be used.
    """

    fit: str | None
    why: str
    posterior: xr.Dataset | None


class Resampled(NamedTuple):
    """A guide's draws, resampled by their weights.

    Attributes:
        posterior: The draws, dimensions (chain, draw) and the sites' own.
        khat: Pareto k-hat of the weights; -inf where all of them are equal.
        worth: The effective sample size of the weights.
    """

    posterior: xr.Dataset
    khat: float
    worth: float

    @property
    def why(self) -> str:
        """Why they may be used."""
        if not math.isfinite(self.khat):
            return "the guide is the posterior: all of its importance weights are equal"
        return (
            f"the guide's weights p(x, z) / q(z) can be trusted (k-hat {self.khat:.2f}): its draws, Pareto smoothed "
            f"and resampled, are worth {self.worth:,.0f} independent ones"
        )


def best_draws(comparison: Comparison) -> BestDraws:
    """The draws to use, and why.

    In this order: the exact posterior's; those of importance sampling; a reference's whose chains agree, unless it is
    short and a guide's reweighted draws agree with it and are worth more; where there is no reference, those of a fit
    that agrees with the truth, or of NUTS that met its targets; a guide's, Pareto smoothed and resampled, where its
    weights can be trusted and no guide is in another mode (Vehtari, Simpson, Gelman, Yao & Gabry 2024, Pareto smoothed
    importance sampling).
    """
    summaries = {name: summary for name, summary in comparison.summaries.items() if summary.status == "done"}
    guides = [name for name, summary in summaries.items() if summary.optimisation is not None]
    guides.sort(key=lambda name: -(elbo.value if (elbo := summaries[name].ledger.elbo) else -math.inf))
    if "exact" in summaries:
        return plain(comparison, "exact", f"independent draws from the posterior ({comparison.log_evidence.method})")
    reference = summaries.get("reference")
    if reference is None:
        ready = [name for name, summary in summaries.items() if is_ready(comparison, summary)]
        if ready and not divided(summaries, guides):
            return plain(comparison, ready[0], f"there is no reference; {summaries[ready[0]].verdict.sentence}")
    elif reference.method == "importance" and reference.verdict.word == "agrees":
        return plain(comparison, "reference", f"draws by their weights ({comparison.log_evidence.method})")
    elif reference.verdict.word in ("agrees", "undecided"):
        return beside_reference(comparison, reference, guides)
    elif not complaints(reference, comparison.request.options):  # other fits contradict it
        return BestDraws(None, f"no draws may be used: {reference.verdict.sentence}", None)
    return unconfirmed(comparison, summaries, guides)


def is_ready(comparison: Comparison, summary: FitSummary) -> bool:
    """Whether a fit agrees with the truth, or, where that is not known, is NUTS that met its targets."""
    options = comparison.request.options
    is_clean = not is_short(summary.diagnostics, options) and not complaints(summary, options)
    return summary.verdict.word == "agrees" or (summary.method == "nuts" and is_clean)


def beside_reference(comparison: Comparison, reference: FitSummary, guides: Sequence[str]) -> BestDraws:
    """The reference's draws; where they are few, those of a guide whose reweighted draws agree with them."""
    ess = reference.diagnostics.ess
    for name in guides if ess < DECISIVE_ESS else ():
        draws = resampled(comparison.fits[name])
        if draws and not convict(distances(draws, comparison.layout, reference))[0]:
            why = f"{draws.why}, and agree with the reference, which is short (ESS {ess:.0f})"
            return BestDraws(name, why, draws.posterior)
    return plain(comparison, "reference", f"a long run whose chains agree, worth {ess:,.0f} independent draws")


def unconfirmed(comparison: Comparison, summaries: Mapping[str, FitSummary], guides: Sequence[str]) -> BestDraws:
    """A guide's reweighted draws where nothing else can be used; none where guides are in two modes."""
    apart = divided(summaries, guides)
    if apart:
        return BestDraws(None, f"no draws may be used: {apart}", None)
    for name in guides:
        draws = resampled(comparison.fits[name])
        if draws:
            why = f"{draws.why}; nothing confirms them: a mode that the guide misses does not show in its weights"
            return BestDraws(name, why, draws.posterior)
    lost = "there is no reference whose chains agree, and no guide's weights can be trusted"
    return BestDraws(None, f"no draws may be used: {lost}", None)


def divided(summaries: Mapping[str, FitSummary], guides: Sequence[str]) -> str:
    """Which two guides, or two runs of NUTS, are in different places; empty where none are."""
    for left, right in combinations(guides, 2):
        if modes_apart(summaries[left], summaries[right]):
            return f"{left} and {right} are in different modes"
    runs = [name for name, summary in summaries.items() if summary.method == "nuts"]
    for left, right in combinations(runs, 2):
        if convict(beside(summaries[left], summaries[right]))[0]:
            return f"{left} and {right} differ by more than their errors"
    return ""


def plain(comparison: Comparison, name: str, why: str) -> BestDraws:
    """A fit's draws as they are."""
    return BestDraws(name, why, comparison.fits[name].tree["posterior"].to_dataset())


def resampled(fit: Fit) -> Resampled | None:
    """A guide's draws, resampled to the same number by their Pareto-smoothed importance weights.

    None where its weights cannot be trusted, or are worth fewer than `DECISIVE_ESS` draws.
    """
    if "log_guide" not in fit.tree["sample_stats"]:
        return None
    ratio, posterior = log_ratios(fit.tree), fit.tree["posterior"].to_dataset()
    if not np.isfinite(ratio).all():
        return None
    if has_equal_weights(ratio):
        return Resampled(posterior, -math.inf, ratio.size)
    weights, khat = smooth(ratio)
    worth = 1 / float(np.sum(weights**2))
    is_trusted = khat <= KHAT or relative_ess(ratio) >= RELATIVE_ESS  # where all are alike k-hat is noise
    if not is_trusted or worth < DECISIVE_ESS:
        return None
    chosen = systematic(weights, ratio.size, np.random.default_rng(SEED))
    return Resampled(posterior.map(lambda values: reordered(values, chosen)), khat, worth)


def reordered(values: xr.DataArray, chosen: np.ndarray) -> xr.DataArray:
    """The chosen of all draws, dealt to the chains again."""
    values = values.transpose("chain", "draw", ...)
    flat = values.values.reshape(-1, *values.shape[2:])
    return values.copy(data=flat[chosen].reshape(values.shape))


def distances(draws: Resampled, layout: Layout, reference: FitSummary) -> dict[str, Distance]:
    """How far the draws' means and sds are from the reference's, by element, with the errors of both."""
    tree, apart, theirs = xr.DataTree.from_dict({"posterior": draws.posterior}), {}, reference.judged
    widening = math.sqrt(draws.posterior.sizes["chain"] * draws.posterior.sizes["draw"] / draws.worth)
    for site, indices in blocks(layout.judged):
        own = moments(columns(tree, site, indices), independent=True)
        for place, index in enumerate(indices):
            known = theirs.get(layout.label(site, index))
            if known is not None:
                mean, sd, *errors = (float(part[place]) for part in own)
                ours = Moments(mean, sd, *(widening * error for error in errors))
                apart[layout.label(site, index)] = distance(ours, moments_of(known))
    return apart
