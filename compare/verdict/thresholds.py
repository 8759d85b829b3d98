"""Every threshold that verdicts and the literature's rules rest on, and the verdicts' words with their rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from compare.options import Options
from compare.summary import Distance, Estimate

__all__ = [
    "ERRORS",
    "E_BFMI",
    "KHAT",
    "KHAT_GOOD",
    "MEAN",
    "POSTERIORDB_DRAWS",
    "POSTERIORDB_ESS",
    "POSTERIORDB_E_BFMI",
    "POSTERIORDB_R_HAT",
    "REFERENCE_ESS",
    "SPREAD",
    "THRESHOLDS",
    "TINY",
    "Thresholds",
    "excess",
    "mean_excess",
    "rules",
    "sd_excess",
    "worst",
]

MEAN = 0.1
"""How far a mean may be off, in posterior sd."""

SPREAD = 0.1
"""How far an sd ratio may be from 1."""

ERRORS = 4
"""The number of standard errors that may be chance."""

REFERENCE_ESS = 1000
"""The effective sample size below which a reference convicts nobody."""

E_BFMI = 0.3
"""The energies' Bayesian fraction of missing information below which chains are unreliable."""

KHAT_GOOD, KHAT = 0.5, 0.7
"""Up to the first k-hat a guide is close to the posterior, up to the second reweighting helps (Yao et al. 2018)."""

TINY = 1e-6
"""The family gap in nats below which a family holds the posterior."""

POSTERIORDB_R_HAT, POSTERIORDB_E_BFMI, POSTERIORDB_DRAWS, POSTERIORDB_ESS = 1.01, 0.2, 10_000, 9_500
"""What posteriordb asks of a reference; the last is the ESS that counts as that of as many independent draws."""


@dataclass(frozen=True)
class Thresholds:
    """The thresholds of a verdict that rests on nothing exact.

    Attributes:
        khat: The k-hat up to which reweighted draws are trusted.
        dispersion: The variance of the weights below which they are trusted whatever k-hat says.
        mean: How far a mean may be off, in sd.
        spread: How far an sd ratio may be from 1.
        errors: The number of standard errors that may be chance by reweighted draws.
        chains: The same beside NUTS.
        contradiction: The same where NUTS is to overrule reweighted draws.
        gap: How far the ELBO may be below the evidence that the draws give, in nats a latent dimension.
    """

    khat: float = 0.5
    dispersion: float = 0.1
    mean: float = 0.1
    spread: float = 0.1
    errors: float = 0.0
    chains: float = 2.0
    contradiction: float = 4.0
    gap: float = 0.05


THRESHOLDS = Thresholds()


def excess(estimate: Estimate, ideal: float, tolerated: float, errors: float = ERRORS) -> float:
    """By how much an estimate is further from the ideal than is tolerated and than ``errors`` of its errors."""
    return abs(estimate.value - ideal) - max(tolerated, errors * estimate.mcse)


def mean_excess(distance: Distance) -> float:
    """By how much a mean is further off than a verdict allows."""
    return excess(distance.mean_error, 0.0, MEAN)


def sd_excess(distance: Distance) -> float:
    """By how much an sd is further off than a verdict allows."""
    return excess(distance.sd_ratio, 1.0, SPREAD)


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
            "the posterior itself, by the method and to the tolerance stated (a long NUTS run that stands in its place "
            "is called the reference, never exact)",
        ),
        ("skipped", "not attempted, for the reason given"),
        ("failed", "attempted and ended in an error, which is given"),
        (
            "unreliable",
            f"NUTS missed a target: R-hat (below {options.r_hat:g}), bulk and tail ESS (at least {options.ess:g}; a "
            f"reference {REFERENCE_ESS:,}), divergences (none), E-BFMI (at least {E_BFMI}); or the reference it is "
            "compared with did, or is missing",
        ),
        (
            "not converged",
            "a guide whose estimated optimisation gap plus two of its errors exceeds the tolerance "
            f"({options.tolerance:g} nats); coordinate ascent that ran out of sweeps, or whose ELBO is that far below "
            "the best of its family",
        ),
        (
            "off",
            f"some mean is wrong by more than {MEAN} posterior sd and {ERRORS} standard errors (NUTS: by more than "
            f"{ERRORS} standard errors)",
        ),
        (
            "narrow",
            f"means right, but some sd is more than {SPREAD:.0%} and {ERRORS} standard errors below the truth (NUTS: "
            f"more than {ERRORS} standard errors)",
        ),
        ("wide", "the same above the truth"),
        ("agrees", "none of these: it may be used in the posterior's place for means, sds and intervals"),
    )
