"""The power of a fit's draws: whether they could have shown a fault, and how many more would."""

from __future__ import annotations

import math

import guides
from compare.summary import Distance, Estimate, FitSummary
from compare.verdict.thresholds import ERRORS, MEAN, SPREAD, doubt, worst


def distances_of(summary: FitSummary) -> dict[str, Distance]:
    """The distances of all judged elements, by name."""
    return {name: variable.distance for name, variable in summary.judged.items()}


def of_how_many(summary: FitSummary) -> str:
    """The number of judged elements, where not all of them are printed."""
    return f" of {len(summary.judged):,} elements" if summary.unreported else ""


def about(value: float) -> str:
    """A number in two digits."""
    return f"{float(f'{value:.2g}'):,.10g}"


def what_decides(summary: FitSummary, reference: FitSummary | None) -> str | None:
    """Which fault could hide in a fit that is not convicted, and what would decide it; None where none could.

    Args:
        summary: The fit's numbers.
        reference: The numbers of the reference, where no posterior is exact.
    """
    distances = distances_of(summary)
    mean, mean_at = worst(distances, lambda apart: doubt(apart.mean_error, 0.0, MEAN))
    spread, sd_at = worst(distances, lambda apart: doubt(apart.sd_ratio, 1.0, SPREAD))
    if max(mean, spread) < 0:
        return None
    if mean >= spread:
        error = distances[mean_at].mean_error
        hidden = (
            f"the mean of {mean_at} is off by {error.value:+.2f} ± {error.mcse:.1g} sd, which may hide {2 * MEAN:g} sd"
        )
        return f"{hidden}; {remedy(error, 0.0, MEAN, own_error(summary, mean_at, 'mcse_mean'), summary, reference)}."
    ratio = distances[sd_at].sd_ratio
    hidden = f"the sd of {sd_at} is {ratio.value:.2f} ± {ratio.mcse:.1g} of the truth, which may hide {2 * SPREAD:.0%}"
    return f"{hidden}; {remedy(ratio, 1.0, SPREAD, own_error(summary, sd_at, 'mcse_sd'), summary, reference)}."


def arrival_without_gap(summary: FitSummary) -> str:
    """How a guide arrived whose optimisation gap is not known."""
    steps = summary.optimisation.steps if summary.optimisation else 0
    if summary.method == "guide":
        return f"the library's SVI has stopped gaining ({steps} rounds); its gap is not known"
    if summary.method != "svi":
        return f"the encoder's ELBO on the validation set has stopped rising ({steps} epochs)"
    if guides.load(str(summary.guide)).ways_of:
        return "its Gaussians are the best on their ways to a mode; the gap to the best mixture is not known"
    return "the optimiser has stopped gaining; its gap is not known"


def own_error(summary: FitSummary, name: str, which: str) -> float:
    """The fit's own part of the error of a distance, in true sds."""
    variable = summary.judged[name]
    return float(getattr(variable, which) * variable.sd_ratio / variable.sd) if variable.sd else 0.0


def remedy(
    apart: Estimate,
    ideal: float,
    tolerated: float,
    own: float,
    summary: FitSummary,
    reference: FitSummary | None,
) -> str:
    """How much longer a run must be to decide, if the distance stays as it is.

    A verdict is decided if the distance plus `ERRORS` errors is below twice the tolerance, or if a distance above the
    tolerance exceeds `ERRORS` errors.
    """
    distance = abs(apart.value - ideal)
    aim = max(2 * tolerated - distance, distance) / ERRORS
    if not math.isfinite(distance + apart.mcse):
        return "its draws have no finite mean or sd, and more of them would not help"
    others = math.sqrt(max(apart.mcse**2 - own**2, 0.0)) if reference is not None else 0.0
    is_fixed = reference is not None and reference.method == "importance"  # no option makes more draws of it
    if is_fixed and others >= aim:
        return "the reference, by importance sampling, is not known well enough to decide it"
    if min(own, others) >= aim:  # both are too short
        times = {"own": (own / aim) ** 2 * 2, "reference": (others / aim) ** 2 * 2}
    else:
        side, short, other = ("own", own, others) if is_fixed or own >= others else ("reference", others, own)
        times = {side: short**2 / (aim**2 - other**2)}
    parts = [longer(summary if side == "own" else reference, factor) for side, factor in times.items()]
    return f"{' and '.join(parts)} would decide it"


def longer(summary: FitSummary | None, times: float) -> str:
    """A run ``times`` as long, and the seconds that it takes."""
    assert summary is not None
    times = max(times, 1.1)
    seconds = f"about {about(times * summary.seconds)} s" if summary.seconds else "as many times as long"
    if summary.diagnostics.ess_bulk is not None:
        ess = f"an ESS of {about(times * summary.diagnostics.ess)} instead of {summary.diagnostics.ess:.0f}"
        if summary.method == "draws":  # their seconds are those of reading them
            return f"draws with {ess}"
        stands_in = summary.method == "reference"
        who, option = ("a reference", "--reference-budget") if stands_in else ("chains", "--budget")
        return f"{who} with {ess} ({seconds}, {option})"
    count = max((each.sd / each.mcse_mean) ** 2 for each in summary.judged.values() if each.mcse_mean)
    return f"{about(times * count)} draws of the guide instead of {count:.0f} ({seconds} at most, draws=... in Python)"


def printed(value: Estimate) -> str:
    """A value with its error, where it has one."""
    return f"{value.value:.2g}" + (f" ± {value.mcse:.1g}" if value.mcse else "")
