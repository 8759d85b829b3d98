"""What others published of the model, and of the ways to judge a fit, held against what this comparison found.

What is particular to a model is in its folder. Of all models the same are asked: whether k-hat says of the fits what
Yao et al. 2018 read from it, and whether a reference meets the rules of posteriordb.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from compare.comparison import Fit
from compare.measure.measures import smoothed, values
from compare.measure.truth import Truth
from compare.verdict.judge import ERRORS, MEAN, SPREAD, excess
from models.contract import Model, Published

__all__ = ["published"]

GOOD, USABLE = 0.5, 0.7
"""Where Yao et al. 2018 draw the lines."""

YAO = "Yao, Vehtari, Simpson & Gelman 2018, Yes, but Did It Work?: Evaluating Variational Inference"
POSTERIORDB = "posteriordb (Magnusson et al. 2025), doc/REFERENCE_POSTERIOR_DEFINITION.md"
DRAWS = 10_000
E_BFMI = 0.2
RIGHT = f"right: every mean within {MEAN} sd and every sd within {SPREAD:.0%} of the truth's, or within {ERRORS} errors"


class Distance(NamedTuple):
    """How far a fit is from the truth in marginal means and sds: the worst of each, and whether that is right."""

    shift: float
    ratio: float
    right: bool

    def __str__(self) -> str:
        return f"mean {self.shift:+z.2f} sd, sd ratio {self.ratio:.2f}"


class Judged(NamedTuple):
    """A fit that has a k-hat: as it is, and with its draws reweighted."""

    name: str
    khat: float
    plain: Distance
    reweighted: Distance


def published(
    model: Model, data: Any, summary: Mapping[str, Any], fits: Mapping[str, Fit], known: Truth | None
) -> list[dict[str, Any]]:
    """Every claim with its source, what is published, and what is found here, as in the summary."""
    found = [*papers(model, data, summary), *of_khat(data, summary, fits, known), *of_reference(summary, fits)]
    return [dataclasses.asdict(one) for one in found]


def papers(model: Model, data: Any, summary: Mapping[str, Any]) -> list[Published]:
    """The model's own published claims; none if it has none."""
    return model.literature.published(data, summary) if model.literature and model.literature.published else []


def of_khat(data: Any, summary: Mapping[str, Any], fits: Mapping[str, Fit], known: Truth | None) -> list[Published]:
    """The three bands of k-hat: what is read from each, and how many of the fits in it are so."""
    khats = {name: one["diagnostics"]["khat"] for name, one in summary["fits"].items()}
    found = [
        Judged(name, khat, plain(summary["fits"][name]), reweighted(data, fits[name], known))
        for name, khat in khats.items()
        if khat is not None and known is not None
    ]
    good = [one for one in found if one.khat < GOOD]
    usable = [one for one in found if GOOD <= one.khat < USABLE]
    beyond = [one for one in found if one.khat >= USABLE]
    return [
        Published(
            f"k-hat below {GOOD} tells a fit that is close to the posterior ({RIGHT})",
            YAO,
            f"below {GOOD}: close enough, may be used",
            count("right", "wrong", [(one, one.plain, one.plain.right) for one in good]),
            all(one.plain.right for one in good) if good else None,
        ),
        Published(
            f"k-hat from {GOOD} to {USABLE} tells a fit that reweighting its draws (PSIS) puts right",
            YAO,
            f"{GOOD} to {USABLE}: not perfect, but useful; reweight",
            count(
                f"right when reweighted, {sum(one.plain.right for one in usable)} as they are",
                "still wrong",
                [(one, one.reweighted, one.reweighted.right) for one in usable],
            ),
            all(one.reweighted.right for one in usable) if usable else None,
        ),
        Published(
            f"k-hat above {USABLE} tells a fit that is not to be relied upon",
            YAO,
            f"above {USABLE}: change the guide or the model, or use MCMC",
            count("wrong", "right nevertheless", [(one, one.plain, not one.plain.right) for one in beyond]),
            not any(one.plain.right for one in beyond) if beyond else None,
        ),
    ]


def count(word: str, otherwise: str, band: list[tuple[Judged, Distance, bool]]) -> str:
    """How many fits of a band are as is read from it, and which are not, with their distances."""
    if not band:
        return "no fit with such a k-hat could be held against the posterior"
    text = f"{sum(so for _, _, so in band)} of {len(band)} fits {word}"
    others = [f"{one.name} (k-hat {one.khat:.2f}: {found})" for one, found, so in band if not so]
    return f"{text}; {otherwise}: {', '.join(others)}" if others else text


def plain(fit: Mapping[str, Any]) -> Distance:
    """The distance of a fit as the summary has it."""
    rows = [
        (one["mean_error"], one["mcse_mean_error"], one["sd_ratio"], one["mcse_sd_ratio"])
        for one in fit["variables"].values()
    ]
    return distance(np.array(rows).T)


def distance(rows: np.ndarray) -> Distance:
    """From the mean errors, their standard errors, the sd ratios and theirs, each a row of one number an element."""
    shifts, shift_errors, ratios, ratio_errors = rows
    over = (
        [excess(*one) for one in zip(np.abs(shifts), [MEAN] * len(shifts), shift_errors, strict=True)],
        [excess(*one) for one in zip(np.abs(ratios - 1), [SPREAD] * len(ratios), ratio_errors, strict=True)],
    )
    right = max(*over[0], *over[1]) <= 0
    return Distance(float(shifts[np.argmax(over[0])]), float(ratios[np.argmax(over[1])]), right)


def reweighted(data: Any, fit: Fit, known: Truth) -> Distance:
    """The distance of the draws' weighted moments, with Pareto-smoothed weights p(x, z) / q(z) that add up to 1.

    Standard errors are those of self-normalised importance sampling, with the truth's own where it has some.
    """
    stats = fit.tree["sample_stats"]
    weights, _ = smoothed((stats["log_joint"] - stats["log_guide"]).values.ravel())
    means, sds, rows = known.mean(), known.sd(), []
    for site, index in data.reported():
        draws = values(fit.tree, site, index).ravel()
        true_mean, true_sd = float(means[site][index]), float(sds[site][index])
        mean = float(weights @ draws)
        squares = (draws - mean) ** 2
        variance = float(weights @ squares)
        sd = np.sqrt(variance)
        error = np.linalg.norm(weights * (draws - mean))
        spread = np.linalg.norm(weights * (squares - variance)) / (2 * sd)
        own = known.errors(site, index) if hasattr(known, "errors") else (0.0, 0.0)
        rows.append(
            (
                (mean - true_mean) / true_sd,
                np.hypot(error, own[0]) / true_sd,
                sd / true_sd,
                np.hypot(spread, sd / true_sd * own[1]) / true_sd,
            )
        )
    return distance(np.array(rows).T)


def of_reference(summary: Mapping[str, Any], fits: Mapping[str, Fit]) -> list[Published]:
    """posteriordb's rules, on the elements that are reported; nothing where no reference was made."""
    made = summary["fits"].get("reference")
    if made is None or made["status"] != "done":
        return []
    found, posterior = made["diagnostics"], fits["reference"].tree["posterior"]
    chains, draws = posterior.sizes["chain"], posterior.sizes["draw"]
    ess = min(found["ess_bulk"], found["ess_tail"])
    return [
        Published(
            "a reference's chains agree, none diverges, and each explores the energies",
            POSTERIORDB,
            f"R-hat below 1.01, no divergence, E-FMI above {E_BFMI}",
            f"R-hat {found['r_hat']:.4f} at most, {found['divergences']} divergences, E-BFMI {found['e_bfmi']:.2f} at "
            f"least, over {len(made['variables'])} elements",
            bool(found["r_hat"] < 1.01 and not found["divergences"] and found["e_bfmi"] > E_BFMI),
        ),
        Published(
            "a reference holds so many draws that are nearly independent",
            POSTERIORDB,
            f"{DRAWS:,} draws, with the ESS of as many independent ones",
            f"{chains} chains of {draws:,} draws, ESS at least {ess:,.0f}: its own error is in every distance",
            bool(chains * draws >= DRAWS and ess >= 0.95 * DRAWS),
        ),
    ]
