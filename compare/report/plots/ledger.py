"""The ledger as a figure: what each guide's approximation costs, in nats, by what is to blame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from compare.comparison import Comparison
from models.plotting import GREY, PALE, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["costs"]

PARTS = {
    "family_gap": ("family gap", "#0072B2"),
    "amortisation_gap": ("amortisation gap", "#E69F00"),
    "optimisation_gap": ("optimisation gap", "#D55E00"),
}


def costs(comparison: Comparison) -> Figure:
    """A bar a guide: its evidence gap, or, where the evidence is not known, how far its ELBO is below the highest; with
    two Monte Carlo errors either side.

    Raises:
        ValueError: no fit has an ELBO.
    """
    ledgers = {name: summary.ledger for name, summary in comparison.summaries.items()}
    elbos = {name: ledger.elbo for name, ledger in ledgers.items() if ledger.elbo and name != "exact"}
    elbos = {name: elbo for name, elbo in elbos.items() if np.isfinite(elbo.value)}
    if not elbos:
        raise ValueError("there is no ledger to plot: no guide was fitted")
    top = comparison.log_evidence.value
    is_known = top is not None
    top = max(elbo.value for elbo in elbos.values()) if top is None else top
    figure = new_figure(8.0, 1.2 + 0.4 * len(elbos))
    axes = figure.add_subplot()
    for place, (name, elbo) in enumerate(elbos.items()):
        left = 0.0
        for part, (label, color) in PARTS.items():
            term = getattr(ledgers[name], part)
            if is_known and term is not None and term.value > 0:
                axes.barh(place, term.value, left=left, color=color, label=label)
                left += term.value
        gap = top - elbo.value
        if left == 0:
            axes.barh(place, gap, color=PALE, label="not split: the family's best is not known")
        axes.errorbar(gap, place, xerr=2 * elbo.mcse, color=GREY, capsize=3)
    axes.set_yticks(range(len(elbos)), list(elbos))
    axes.invert_yaxis()
    axes.set_xlabel("evidence gap: log evidence - ELBO (nats)" if is_known else "nats below the highest ELBO")
    handles, labels = axes.get_legend_handles_labels()
    by_label = dict(zip(labels, handles, strict=True))
    figure.legend(by_label.values(), by_label.keys(), loc="outside lower center", ncols=max(1, len(by_label)))
    return figure
