"""The ledger as a figure: what each guide's approximation costs, in nats, by cause."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from compare.comparison import Comparison
from compare.summary import FitSummary
from models.plotting import GREY, PALE, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLORS = {
    "symmetry gap": "#CC79A7",
    "family gap": "#0072B2",
    "amortisation gap": "#E69F00",
    "auxiliary gap": "#009E73",
    "optimisation gap": "#D55E00",
    "optimisation gap, estimated": "#D55E00",
    "family gap, the rest": "#0072B2",
    "not split": PALE,
}
"""The colour of each part of a gap."""


def costs(comparison: Comparison) -> Figure:
    """A bar a guide: its evidence gap, split by cause, with two Monte Carlo errors either side. Where the
    evidence is not known, how far the ELBO is below the highest.

    Raises:
        ValueError: no guide was fitted.
    """
    summaries, log_evidence = comparison.summaries, comparison.log_evidence.value
    elbos = {
        name: elbo
        for name, summary in summaries.items()
        if name != "exact" and (elbo := summary.ledger.elbo) and math.isfinite(elbo.value)
    }
    if not elbos:
        raise ValueError("there is no ledger to plot: no guide was fitted")
    top = max(elbo.value for elbo in elbos.values()) if log_evidence is None else log_evidence
    figure = new_figure(8.0, 1.2 + 0.4 * len(elbos))
    axes = figure.add_subplot()
    for place, (name, elbo) in enumerate(elbos.items()):
        left = 0.0
        for part, value in split(summaries[name], top - elbo.value, log_evidence is not None).items():
            axes.barh(place, max(value, 0.0), left=left, color=COLORS[part], label=part)
            left += max(value, 0.0)
        gap = summaries[name].ledger.evidence_gap if log_evidence is not None else None  # with the evidence's own error
        axes.errorbar(top - elbo.value, place, xerr=2 * (gap or elbo).mcse, color=GREY, capsize=3)
    axes.set_yticks(range(len(elbos)), list(elbos))
    axes.invert_yaxis()
    known = "evidence gap: log evidence - ELBO (nats)"
    axes.set_xlabel(known if log_evidence is not None else "nats below the highest ELBO; the log evidence is not known")
    handles, labels = axes.get_legend_handles_labels()
    by_label = dict(zip(labels, handles, strict=True))
    figure.legend(by_label.values(), by_label.keys(), loc="outside lower center", ncols=len(by_label))
    return figure


def split(summary: FitSummary, gap: float, is_evidence_known: bool) -> dict[str, float]:
    """The parts of a gap in nats by name: those of the ledger, else the optimiser's own estimate and the rest."""
    ledger = summary.ledger
    terms = {"family gap": ledger.family_gap, "amortisation gap": ledger.amortisation_gap}
    terms |= {"auxiliary gap": ledger.auxiliary_gap, "optimisation gap": ledger.optimisation_gap}
    parts = {part: term.value for part, term in terms.items() if term}
    names = {"symmetry gap": ledger.symmetry_gap.value} if ledger.symmetry_gap and is_evidence_known else {}
    if ledger.family_gap:
        return names | parts
    gap -= sum(names.values())
    estimated = summary.optimisation.gap if summary.optimisation else None
    if estimated is None or not is_evidence_known or not math.isfinite(estimated.value):
        return names | {"not split": gap}
    left = min(max(estimated.value, 0.0), max(gap, 0.0))
    return names | {"family gap, the rest": gap - left, "optimisation gap, estimated": left}
