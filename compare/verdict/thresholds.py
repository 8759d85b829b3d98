"""The thresholds of the verdicts and of the literature's rules, and the verdicts' words with their rules."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from scipy import special

from compare.options import Options
from compare.summary import Diagnostics, Distance, Estimate, FitSummary

MEAN = 0.1
"""How far a mean may be off, in posterior sd."""

SPREAD = 0.1
"""How far an sd ratio may be from 1."""

FAR, KNOWN = 2.0, 0.3
"""From this sd ratio on its logarithm is judged too, if the relative error is at most `KNOWN`: with heavy tails, where
one draw makes half of the sd, the logarithm would convict right fits."""

ERRORS = 4
"""Standard errors that chance may explain."""

COMPARISONS = 40
"""The number of means and sds up to which `ERRORS` applies; for more, see `widen`."""

DECISIVE_ESS = round((ERRORS / (2 * MEAN)) ** 2)
"""The effective sample size below which no fault of twice the tolerated size can be ruled out."""

R_HAT_SHORT, R_HAT_SHORTEST = 1.05, 1.1
"""Of chains that missed their target of ESS: R-hat from which they are too far from mixing to contradict others, and
from which they contradict each other, whatever chance may do (`r_hat_allowed`)."""

E_BFMI = 0.3
"""The energies' Bayesian fraction of missing information below which chains are unreliable."""

DIVERGED = 0.01
"""The share of transitions that may diverge in chains whose means and sds are known to be right all the same."""

KHAT_GOOD, KHAT = 0.5, 0.7
"""Up to the first k-hat a guide is close to the posterior, up to the second reweighting helps (Yao et al. 2018)."""

RELATIVE_ESS = 1 / 1.1
"""The relative ESS from which weights count as equal: the tail that k-hat is fitted to is then noise around 1."""

EXTREME = 0.005
"""A posterior predictive p-value is extreme if it is below this, or that near to 1."""

NEAR = 3.0
"""Nats within which ELBOs are near: the lower of two modes may hold 5% of the mass."""

APART = 2.0
"""Two guides are in different modes if their means are further apart than this times the sum of their sds."""

MISSED = 0.05
"""Nats by which an ELBO may exceed a log evidence that is not exact: beyond, the latter misses 5% of the mass."""

TINY = 1e-6
"""The family gap in nats below which a family holds the posterior."""

POSTERIORDB_R_HAT, POSTERIORDB_E_BFMI, POSTERIORDB_DRAWS, POSTERIORDB_ESS = 1.01, 0.2, 10_000, 9_500
"""posteriordb's rules for a reference; an ESS of 9,500 counts as that of 10,000 independent draws."""


@dataclass(frozen=True)
class Thresholds:
    """The thresholds of a verdict that rests on nothing exact.

    Attributes:
        khat: The k-hat up to which reweighted draws are trusted.
        relative_ess: The relative ESS of the weights from which they are trusted whatever k-hat says.
        mean: How far a mean may be off, in sd.
        spread: How far an sd ratio may be from 1.
        errors: The number of standard errors that may be chance by reweighted draws.
        chains: The same beside NUTS.
        contradiction: The same where NUTS is to overrule reweighted draws.
        gap: How far the ELBO may be below the evidence that the draws give, in nats a latent dimension.
    """

    khat: float = 0.5
    relative_ess: float = RELATIVE_ESS
    mean: float = 0.1
    spread: float = 0.1
    errors: float = 0.0
    chains: float = 2.0
    contradiction: float = 4.0
    gap: float = 0.05


THRESHOLDS = Thresholds()


def excess(estimate: Estimate, ideal: float, tolerated: float, errors: float = ERRORS) -> float:
    """How far an estimate lies beyond both the tolerated distance from the ideal and ``errors`` of its errors."""
    beyond = abs(estimate.value - ideal) - max(tolerated, errors * estimate.mcse)
    return math.inf if math.isnan(beyond) else beyond


def mean_excess(distance: Distance, errors: float = ERRORS) -> float:
    """How far a mean lies beyond what a verdict allows."""
    return excess(distance.mean_error, 0.0, MEAN, errors)


def sd_excess(distance: Distance, errors: float = ERRORS) -> float:
    """How far an sd lies beyond what a verdict allows."""
    beyond = excess(distance.sd_ratio, 1.0, SPREAD, errors)
    if not is_far(distance.sd_ratio):
        return beyond
    return max(beyond, excess(by_logarithm(distance.sd_ratio), 0.0, SPREAD, errors))


def z_score(estimate: Estimate, ideal: float) -> float:
    """The distance to the ideal in standard errors; 0 where there is no error."""
    return abs(estimate.value - ideal) / estimate.mcse if estimate.mcse else 0.0


def sd_score(ratio: Estimate) -> float:
    """The distance of an sd ratio from 1 in standard errors, by its logarithm where it is far above."""
    return z_score(by_logarithm(ratio), 0.0) if is_far(ratio) else z_score(ratio, 1.0)


def is_far(ratio: Estimate) -> bool:
    """Whether an sd ratio is judged by its logarithm too."""
    return FAR <= ratio.value < math.inf and ratio.mcse <= KNOWN * ratio.value


def by_logarithm(ratio: Estimate) -> Estimate:
    """The logarithm of an sd ratio, with its error: an sd's error is proportional to the sd."""
    return Estimate(math.log(ratio.value), ratio.mcse / ratio.value)


def doubt(estimate: Estimate, ideal: float, tolerated: float) -> float:
    """How far a distance plus `ERRORS` of its errors exceeds twice the tolerance; from 0 on such a fault may hide."""
    beyond = abs(estimate.value - ideal) + ERRORS * estimate.mcse - 2 * tolerated
    return math.inf if math.isnan(beyond) else beyond


def widen(errors: float, comparisons: int) -> float:
    """The number of errors beyond which chance does not explain the largest of many distances.

    Any comparison exceeds it with the same probability as one of `COMPARISONS` exceeds ``errors`` (Bonferroni 1936).
    """
    if comparisons <= COMPARISONS:
        return errors
    return float(-special.ndtri(special.ndtr(-errors) * COMPARISONS / comparisons))


def is_short(chains: Diagnostics, options: Options) -> bool:
    """Whether chains missed their target of ESS."""
    return chains.ess_bulk is not None and not chains.ess >= options.ess


def r_hat_allowed(chains: Diagnostics, options: Options) -> float:
    """R-hat below which chains do not contradict each other: of short ones, what chance makes of chains alike."""
    if not is_short(chains, options) or chains.r_hat_by_chance is None:
        return options.r_hat
    return max(options.r_hat, min(chains.r_hat_by_chance, R_HAT_SHORTEST))


def few_diverged(summary: FitSummary, reference: FitSummary | None) -> str | None:
    """How many transitions diverged, in words; None without any, or where they are not excused.

    More than `DIVERGED` are not, nor any beside a reference that is a run of NUTS: both may lack the same neck of a
    funnel, and shorter steps raise no flag.
    """
    count, transitions = summary.diagnostics.divergences, summary.diagnostics.transitions
    is_run = reference is not None and reference.diagnostics.ess_bulk is not None
    if not count or not transitions or count > DIVERGED * transitions or is_run:
        return None
    return f"{count:,} of {transitions:,} transitions diverged"


def worst(distances: Mapping[str, Distance], score: Callable[[Distance], float]) -> tuple[float, str]:
    """The largest score of an element, and the element's name."""
    scores = {name: float(score(distance)) for name, distance in distances.items()}
    name = max(scores, key=scores.__getitem__)
    return scores[name], name


def rules(options: Options | None = None) -> tuple[tuple[str, str], ...]:
    """The verdicts' words and their rules under these options, in the order in which they are tried."""
    options = options or Options()
    return (
        (
            "exact",
            "the posterior itself, by the method and to the tolerance stated (importance sampling or a long NUTS run "
            "that stands in its place is called the reference, never exact)",
        ),
        ("skipped", "not attempted, or given up early, for the reason given"),
        ("failed", "attempted and ended in an error, which is given"),
        (
            "unreliable",
            f"NUTS chains contradict each other: R-hat (below {options.r_hat:g}; where the ESS is below "
            f"{options.ess:g}, below what chance makes of chains as long and alike, {R_HAT_SHORTEST:g} at most), "
            "divergences (none, but for those of a reference in a flow's coordinates that a second run confirms, and "
            f"up to {DIVERGED:.0%} of the transitions of chains beside a posterior that is exact or a reference by "
            f"importance sampling: these are judged as guides are), E-BFMI (at least {E_BFMI}); or those of the "
            "reference do, or have not seen modes that a search finds (a model of your own), or a tail, with 1% of the "
            "mass; or "
            "the first tenth of draws that you bring is not like their second half; or fits contradict each other "
            "where no posterior is exact: "
            f"guides in two modes with ELBOs within {NEAR:g} nats, of which the reference holds one at most; NUTS with "
            f"a mean that is more than {MEAN} sd and {ERRORS} standard errors from the reference's; an ELBO or an "
            f"importance estimate that is more than {MISSED} nats and {ERRORS} standard errors above the reference's "
            f"log evidence, where that is known; or its own ELBO is above the log evidence by more than {ERRORS} "
            "standard errors and what that may be off, so that it is no ELBO: of every fit where the log evidence is "
            "exact, of a guide of your own (or of its family's best member, by the optimiser's tolerance besides) also "
            "where a reference gives it",
        ),
        (
            "not converged",
            "a guide whose estimated optimisation gap plus two of its errors exceeds the tolerance "
            f"({options.tolerance:g} nats); coordinate ascent that ran out of sweeps, or whose ELBO is that far below "
            "the best of its family",
        ),
        (
            "off",
            f"some mean is wrong by more than {MEAN} posterior sd and {ERRORS} standard errors, the truth's included "
            f"(of more than {COMPARISONS} means and sds, by more errors, so that the chance of any false alarm stays "
            "the same)",
        ),
        (
            "narrow",
            f"means right, but some sd is more than {SPREAD:.0%} and {ERRORS} standard errors below the truth",
        ),
        (
            "wide",
            f"the same above the truth (from {FAR:g} times the truth on, also by the ratio's logarithm, if the error "
            f"is at most {KNOWN:.0%} of it)",
        ),
        (
            "undecided",
            f"none of these, but the draws are too few to show a fault of twice that size: a distance plus {ERRORS} "
            f"standard errors reaches {2 * MEAN:g} sd or {2 * SPREAD:.0%} (NUTS: only where a transition diverged or "
            f"its ESS is below {options.ess:g}; a reference: where its ESS is below {DECISIVE_ESS}); or there is no "
            "reference. The sentence says what would decide it",
        ),
        ("agrees", "none of these: it may be used in the posterior's place for means, sds and intervals"),
    )
