"""The ranks and the coverage as ArviZ draws them: ECDFs less the uniform one, in simultaneous bands."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import arviz_plots
import numpy as np
import xarray as xr

from compare.calibration.judge import band, probability
from compare.calibration.ranks import LIKELIHOOD
from compare.report.plots.panels import legend, panels, save
from models.plotting import GREY, looks, style
from models.selection import evenly

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from compare.calibration import Calibration

__all__ = ["CAPTIONS", "PICTURES", "figure_of"]

PANELS = 4

CAPTIONS = {
    "ranks": "ECDF of the true values' ranks less that of uniform ranks. Within the grey band (99% for a fit's "
    "quantities together) a line is what a right posterior gives. One that rises first and then falls is too narrow, "
    "one that falls first too wide; one that stays on a side is off.",
    "coverage": "How often central intervals hold the true value, less how often they should, for every probability. "
    "Below 0 a fit is overconfident.",
}


def choose_quantities(names: list[str]) -> list[str]:
    """The quantities that get a panel: some of the latents, evenly spread, and the log likelihood."""
    latents = [name for name in names if name != LIKELIHOOD]
    room = PANELS - (LIKELIHOOD in names)
    return [latents[number] for number in evenly(len(latents), room)] + [LIKELIHOOD] * (LIKELIHOOD in names)


def draw(calibration: Calibration, path: Path, as_coverage: bool) -> None:
    """Save `figure_of` as PNG."""
    with style():
        save(figure_of(calibration, as_coverage), path)


def figure_of(calibration: Calibration, as_coverage: bool) -> Figure:
    """The ECDFs of the ranks, or of the coverage, less the uniform one; all fits in each panel."""
    names, ranks = choose_quantities(calibration.quantities), calibration.ranks
    look = looks(ranks)
    collection, figure, axes = panels(names, min(len(names), 2), (4.6, 3.1))
    for fit, tree in calibration.trees.items():
        pit = tree["prior_sbc"].to_dataset()[names]
        lines = {"color": look[fit].color, "linestyle": look[fit].line, "width": 1.5}
        arviz_plots.plot_ecdf_pit(
            xr.DataTree.from_dict({"prior_sbc": 2 * np.abs(pit - 0.5) if as_coverage else pit}),
            plot_collection=collection,
            stats={"ecdf_pit": {"n_simulations": 2}},
            visuals={
                "ecdf_lines": lines,
                "credible_interval": False,
                "title": False,
                "xlabel": False,
                "ylabel": False,
                "remove_axis": False,
            },
        )
    most = max(len(ranked.pit) for ranked in ranks.values())
    points, low, high = band(most, probability(len(calibration.quantities)))
    for name, axis in axes.items():
        axis.fill_between(points, low - points, high - points, color=GREY, alpha=0.18, lw=0)
        axis.axhline(0, color=GREY, lw=0.8)
        axis.set_title(name)
        axis.set_xlabel("probability of the central interval" if as_coverage else "rank of the true value")
        axis.set_ylabel("coverage minus nominal" if as_coverage else "ECDF minus uniform")
    legend(figure, look, list(ranks), None)
    return figure


PICTURES: dict[str, Callable[..., None]] = {
    "ranks": partial(draw, as_coverage=False),
    "coverage": partial(draw, as_coverage=True),
}
