"""The climb: ELBO against gradient evaluations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from compare.report.plots.palette import family, looks
from compare.report.tables.elements import optimised
from models.plotting import EXACT

if TYPE_CHECKING:
    from compare.comparison import Comparison

__all__ = ["draw", "trajectory"]

MOST = 1500
"""Points drawn of one fit's trajectory."""
FEW = 16
"""Up to this many points are marked one by one."""
FLOOR = 1e-6
"""Nats below which no distance is drawn."""


def trajectory(comparison: Comparison, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradient evaluations so far, ELBO and its Monte Carlo error after each step.

    The evaluations are the variable or coordinate ``gradients`` of the group ``optimisation``; where it is absent they
    are taken to be spread evenly over the steps. For coordinate ascent an update
    counts as one.
    """
    group = comparison.fits[name].tree["optimisation"].dataset
    elbo = np.asarray(group["elbo"], dtype=float)
    error = np.asarray(group["elbo_mcse"], dtype=float) if "elbo_mcse" in group else np.zeros_like(elbo)
    if "gradients" in group.variables:
        spent = np.asarray(group["gradients"], dtype=float)
    else:
        total = comparison.fits[name].gradients or elbo.size
        spent = total * np.arange(1, elbo.size + 1) / max(elbo.size, 1)
    if elbo.size > MOST:
        keep = np.unique(np.geomspace(1, elbo.size, MOST).astype(int)) - 1
        spent, elbo, error = spent[keep], elbo[keep], error[keep]
    return spent, elbo, np.nan_to_num(error)


def draw(comparison: Comparison, path: Path) -> None:
    """Two panels: the ELBO near the log evidence, which it cannot cross, and the distance to it on a log scale.

    Bands are plus and minus two Monte Carlo standard errors. A distance not two errors from zero is drawn as its
    upper limit, with a triangle that points down.
    """
    names, look = list(optimised(comparison)), looks(comparison.fits.items())
    known = comparison.summary["log_evidence"]["value"]
    trees = optimised(comparison)
    log_evidence = max(float(t["optimisation"].attrs["elbo"]) for t in trees.values()) if known is None else known
    bound = "highest ELBO" if known is None else "log evidence"
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    near, far = figure.subplots(1, 2)
    ends, floor, curves = [], np.inf, []
    for name in names:
        spent, elbo, error = trajectory(comparison, name)
        colour, line, few = look[name].color, look[name].line, len(spent) <= FEW
        near.plot(spent, elbo, line, color=colour, lw=1.6, label=name, marker="o" if few else "", ms=4)
        near.fill_between(spent, elbo - 2 * error, elbo + 2 * error, color=colour, alpha=0.15, lw=0)
        gap = log_evidence - elbo
        curves.append((spent, gap))
        limit = gap <= np.maximum(2 * error, FLOOR)
        shown = np.where(limit, np.maximum(gap + 2 * error, FLOOR), gap)
        far.plot(spent, shown, line, color=colour, lw=1.6)
        if few:
            far.plot(spent[~limit], shown[~limit], "o", color=colour, ms=4)
            far.plot(spent[limit], shown[limit], "v", color=colour, ms=6)
        band = [np.maximum(gap + side * error, FLOOR) for side in (-2, 2)]
        far.fill_between(spent, *band, color=colour, alpha=0.15, lw=0)
        floor = min(floor, float(np.nanmin(shown)))
        ends.extend(gap[len(gap) // 2 :])
    drawn = {family(comparison.fits[name]): look[name].color for name in names}
    if "coordinate_ascent" in drawn:
        drawn.setdefault("mean_field", drawn["coordinate_ascent"])
    for name, colour in drawn.items():
        best = comparison.best.get(name)
        if best is not None and log_evidence - best.elbo > 1e-9:
            near.axhline(best.elbo, color=colour, ls=(0, (1, 2)), lw=1.4, label=f"best {name}")
            far.axhline(log_evidence - best.elbo, color=colour, ls=(0, (1, 2)), lw=1.4)
            ends.append(log_evidence - best.elbo)
            floor = min(floor, log_evidence - best.elbo)
    near.axhline(log_evidence, color=EXACT, lw=1.4, ls="-" if known is not None else ":", label=bound)
    finite = [value for value in ends if np.isfinite(value)]
    reach = max(float(np.quantile(finite, 0.9)) if finite else 1.0, 1e-3) * 2.5
    near.set_ylim(log_evidence - reach, log_evidence + 0.12 * reach)
    entered = [spent[np.argmax(gap < reach)] for spent, gap in curves if (gap < reach).any()]
    last = max(spent[-1] for spent, _ in curves)
    first = min(min(entered, default=1.0) / 1.2, last / 1.5)
    for axes in (near, far):
        axes.set_xscale("symlog", linthresh=1)
    near.set(xlim=(first, last * 1.05), xlabel="gradient evaluations", ylabel="ELBO (nats)")
    near.set_title("ELBO, near its bound" if known is not None else "ELBO, near the highest")
    far.set(yscale="log", xlabel="gradient evaluations", ylabel=f"{bound} - ELBO (nats)")
    far.set_title("the whole climb")
    if np.isfinite(floor):
        far.set_ylim(bottom=max(floor / 2, FLOOR / 2))
    far.set_xlim(-0.2, 1.3 * last)
    figure.legend(loc="outside lower center", ncols=4)
    figure.savefig(path, dpi=110)
