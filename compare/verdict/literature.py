"""Published results on the model, and on ways to judge a fit, beside what this comparison gives.

Those on one model are in its folder. Two are checked for every model of the catalogue: whether k-hat says of the fits
what Yao et al. 2018 read from it, and whether a reference meets the rules of posteriordb.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from compare import user_model
from compare.comparison import Comparison, Fit, Truth
from compare.fit.psis import log_ratios, smooth
from compare.measure.moments import Moments, distance, elements, true_moments, values
from compare.summary import Distance, FitSummary
from compare.verdict.thresholds import (
    ERRORS,
    KHAT,
    KHAT_GOOD,
    MEAN,
    POSTERIORDB_DRAWS,
    POSTERIORDB_E_BFMI,
    POSTERIORDB_ESS,
    POSTERIORDB_R_HAT,
    SPREAD,
    mean_excess,
    sd_excess,
    worst,
)
from models.contract import Published

YAO = "Yao, Vehtari, Simpson & Gelman 2018, Yes, but Did It Work?: Evaluating Variational Inference"
POSTERIORDB = "posteriordb (Magnusson et al. 2025), doc/REFERENCE_POSTERIOR_DEFINITION.md"
RIGHT = f"right: every mean within {MEAN} sd and every sd within {SPREAD:.0%} of the truth's, or within {ERRORS} errors"


class Judged(NamedTuple):
    """A fit that has a k-hat, and its elements' distances from the truth: as it is, and with its draws reweighted."""

    name: str
    khat: float
    relative_ess: float | None
    plain: Mapping[str, Distance]
    reweighted: Mapping[str, Distance]

    @property
    def size(self) -> str:
        """The relative ESS of its weights, as words to follow k-hat."""
        return "" if self.relative_ess is None else f", relative ESS {self.relative_ess:.2f}"


def published(comparison: Comparison) -> tuple[Published, ...]:
    """Every claim with its source, what is published, and what this comparison gives; none on a user's model."""
    if user_model.knows(comparison.model.name):
        return ()
    own = comparison.model.literature.published if comparison.model.literature else None
    claims = own(comparison.data, comparison.summary) if own else []
    khats = of_khat(comparison.summaries, comparison.fits, comparison.truth)
    return (*claims, *khats, *of_reference(comparison.summaries.get("reference"), comparison.fits.get("reference")))


def of_khat(summaries: Mapping[str, FitSummary], fits: Mapping[str, Fit], truth: Truth | None) -> list[Published]:
    """The three bands of k-hat: what Yao et al. read from each, and how many of its fits bear that out."""
    judged = [
        Judged(
            name,
            khat,
            summary.diagnostics.relative_ess,
            {e: v.distance for e, v in summary.variables.items()},
            reweighted(fits[name], truth),
        )
        for name, summary in summaries.items()
        if (khat := summary.diagnostics.khat) is not None and truth is not None
    ]
    good = [fit for fit in judged if fit.khat < KHAT_GOOD]
    usable = [fit for fit in judged if KHAT_GOOD <= fit.khat < KHAT]
    beyond = [fit for fit in judged if fit.khat >= KHAT]
    as_they_are = sum(is_right(fit.plain) for fit in usable)
    return [
        Published(
            f"k-hat below {KHAT_GOOD} tells a fit that is close to the posterior ({RIGHT})",
            YAO,
            f"below {KHAT_GOOD}: close enough, may be used",
            *tally("right", "wrong", good, lambda fit: fit.plain, expected=True),
        ),
        Published(
            f"k-hat from {KHAT_GOOD} to {KHAT} tells a fit that reweighting its draws (PSIS) puts right",
            YAO,
            f"{KHAT_GOOD} to {KHAT}: not perfect, but useful; reweight",
            *tally(
                f"right when reweighted, {as_they_are} as they are",
                "still wrong",
                usable,
                lambda fit: fit.reweighted,
                expected=True,
            ),
        ),
        Published(
            f"k-hat above {KHAT} tells a fit that is not to be relied upon",
            YAO,
            f"above {KHAT}: change the guide or the model, or use MCMC",
            *tally("wrong", "right nevertheless", beyond, lambda fit: fit.plain, expected=False),
        ),
    ]


def tally(
    word: str, otherwise: str, band: Sequence[Judged], side: Callable[[Judged], Mapping[str, Distance]], expected: bool
) -> tuple[str, bool | None]:
    """How many fits of a band are right, or wrong, as expected, the others with their distances; and whether all are.

    None where there are no fits in the band.
    """
    if not band:
        return "no fit with such a k-hat could be compared with the posterior", None
    others = [fit for fit in band if is_right(side(fit)) is not expected]
    text = f"{len(band) - len(others)} of {len(band)} fits {word}"
    listed = ", ".join(f"{fit.name} (k-hat {fit.khat:.2f}{fit.size}: {describe(side(fit))})" for fit in others)
    return f"{text}; {otherwise}: {listed}" if others else text, not others


def is_right(distances: Mapping[str, Distance]) -> bool:
    """Whether every mean and sd is as close to the truth as a verdict allows."""
    return max(worst(distances, mean_excess)[0], worst(distances, sd_excess)[0]) <= 0


def describe(distances: Mapping[str, Distance]) -> str:
    """The worst mean error and sd ratio."""
    _, mean_at = worst(distances, mean_excess)
    _, sd_at = worst(distances, sd_excess)
    shift, ratio = distances[mean_at].mean_error.value, distances[sd_at].sd_ratio.value
    return f"mean {shift:+z.2f} sd, sd ratio {ratio:.2f}"


def reweighted(fit: Fit, truth: Truth) -> dict[str, Distance]:
    """The distances of the draws' weighted moments, with Pareto-smoothed weights p(x, z) / q(z) that sum to 1.

    Standard errors are those of self-normalised importance sampling, with the truth's own where it has some.
    """
    weights, _ = smooth(log_ratios(fit.tree))
    shown, distances = elements(fit.job), {}
    for name, true in true_moments(truth, shown).items():
        draws = values(fit.tree, *shown[name]).ravel()
        mean = float(weights @ draws)
        squares = (draws - mean) ** 2
        variance = float(weights @ squares)
        sd = float(np.sqrt(variance))
        mcse_mean = float(np.linalg.norm(weights * (draws - mean)))
        mcse_sd = float(np.linalg.norm(weights * (squares - variance))) / (2 * sd)
        distances[name] = distance(Moments(mean, sd, mcse_mean, mcse_sd), true)
    return distances


def of_reference(summary: FitSummary | None, fit: Fit | None) -> list[Published]:
    """posteriordb's rules on the reported elements; empty unless the reference is a long NUTS run."""
    if summary is None or fit is None or summary.status != "done" or summary.method != "reference":
        return []
    chains, sizes = summary.diagnostics, fit.tree["posterior"].sizes
    mixed = chains.r_hat < POSTERIORDB_R_HAT and not chains.divergences and chains.e_bfmi > POSTERIORDB_E_BFMI
    return [
        Published(
            "a reference's chains agree, none diverges, and each explores the energies",
            POSTERIORDB,
            f"R-hat below {POSTERIORDB_R_HAT}, no divergence, E-FMI above {POSTERIORDB_E_BFMI}",
            f"R-hat {chains.r_hat:.4f} at most, {chains.divergences} divergences, E-BFMI {chains.e_bfmi:.2f} at "
            f"least, over {len(summary.variables)} elements",
            bool(mixed),
        ),
        Published(
            "a reference holds enough nearly independent draws",
            POSTERIORDB,
            f"{POSTERIORDB_DRAWS:,} draws, with the ESS of as many independent ones",
            f"{sizes['chain']} chains of {sizes['draw']:,} draws, ESS at least {chains.ess:,.0f}: its own error is in "
            "every distance",
            bool(sizes["chain"] * sizes["draw"] >= POSTERIORDB_DRAWS and chains.ess >= POSTERIORDB_ESS),
        ),
    ]
