"""The climb: ELBO against gradient evaluations."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from compare.comparison import Comparison
from compare.report.tables.elements import optimised
from models.plotting import EXACT, Look, looks, new_figure

N_POINTS = 1500  # most points drawn of a fit's trajectory
FEW = 16  # up to this many points are marked one by one
FLOOR = 1e-6  # Nats. No smaller distance is drawn.


@dataclass(frozen=True)
class Curve:
    """A fit's trajectory.

    Attributes:
        spent: Gradient evaluations so far at each step.
        elbo: The ELBO after each step, in nats.
        error: Its Monte Carlo standard error.
        gap: How far it is below the bound.
        gap_error: Standard error of ``gap``, the bound's own included.
    """

    spent: np.ndarray
    elbo: np.ndarray
    error: np.ndarray
    gap: np.ndarray
    gap_error: np.ndarray

    @property
    def is_limit(self) -> np.ndarray:
        """Whether the distance to the bound is within two errors of zero, at each step."""
        return self.gap <= np.maximum(2 * self.gap_error, FLOOR)

    @property
    def shown(self) -> np.ndarray:
        """The distance to the bound as drawn: its upper limit where it is within two errors of zero."""
        return np.where(self.is_limit, np.maximum(self.gap + 2 * self.gap_error, FLOOR), self.gap)


def trajectory(comparison: Comparison, name: str, bound: float) -> Curve:
    """A fit's trajectory.

    Gradient evaluations are the variable or coordinate ``gradients`` of the group ``optimisation``. Where it is absent
    they are spread evenly over the steps; for coordinate ascent, an update counts as one.
    """
    group = comparison.fits[name].tree["optimisation"].dataset
    values = np.asarray(group["elbo"], dtype=float)
    error = np.asarray(group["elbo_mcse"], dtype=float) if "elbo_mcse" in group else np.zeros_like(values)
    if "gradients" in group.variables:
        spent = np.asarray(group["gradients"], dtype=float)
    else:
        total = comparison.fits[name].gradients or values.size
        spent = total * np.arange(1, values.size + 1) / max(values.size, 1)
    if values.size > N_POINTS:
        some = np.unique(np.geomspace(1, values.size, N_POINTS).astype(int)) - 1
        spent, values, error = spent[some], values[some], error[some]
    error = np.nan_to_num(error)
    gap_error = np.hypot(error, comparison.log_evidence.mcse or 0.0)
    return Curve(spent, values, error, bound - values, gap_error)


def best_gaps(comparison: Comparison, bound: float) -> dict[str, float]:
    """How far the best member of each drawn family is below the bound, in nats, where that is known and not zero."""
    families = [look.family for look in looks(optimised(comparison)).values()]
    if "coordinate_ascent" in families:
        families.append("mean_field")
    best = {name: comparison.best.get(name) for name in families}
    gaps = {name: bound - optimum.elbo for name, optimum in best.items() if optimum is not None}
    return {name: gap for name, gap in gaps.items() if gap > 1e-9}


def elbo(comparison: Comparison, path: Path) -> None:
    """Draw two panels: the ELBO near the bound, which it cannot cross, and the distance to it on a log scale.

    The bound is the log evidence; where that is not known, the highest ELBO. Bands are plus and minus two Monte Carlo
    standard errors. A distance within two errors of zero is drawn as its upper limit, with a triangle pointing down.
    """
    known, trees, look = comparison.log_evidence.value, optimised(comparison), looks(comparison.fits)
    bound = known
    if bound is None:
        bound = max(float(tree["optimisation"].attrs["elbo"]) for tree in trees.values())
    curves = {name: trajectory(comparison, name, bound) for name in trees}
    gaps = best_gaps(comparison, bound)
    colors = {look[name].family: look[name].color for name in trees}
    colors.setdefault("mean_field", colors.get("coordinate_ascent", EXACT))
    figure = new_figure(10, 4.2)
    near, far = figure.subplots(1, 2)
    for name, curve in curves.items():
        draw_near(near, curve, look[name], name)
        draw_far(far, curve, look[name])
    for name, gap in gaps.items():
        dots = {"color": colors[name], "ls": (0, (1, 2)), "lw": 1.4}
        near.axhline(bound - gap, **dots, label=f"best {name}")
        far.axhline(gap, **dots)
    words = "highest ELBO" if known is None else "log evidence"
    near.axhline(bound, color=EXACT, lw=1.4, ls=":" if known is None else "-", label=words)
    frame(near, far, list(curves.values()), list(gaps.values()), bound)
    near.set(xlabel="gradient evaluations", ylabel="ELBO (nats)")
    near.set_title("ELBO, near the highest" if known is None else "ELBO, near its bound")
    far.set(xlabel="gradient evaluations", ylabel=f"{words} - ELBO (nats)", title="the whole climb")
    figure.legend(loc="outside lower center", ncols=4)
    figure.savefig(path, dpi=110)


def draw_near(axes: Axes, curve: Curve, look: Look, name: str) -> None:
    marker = "o" if len(curve.spent) <= FEW else ""
    axes.plot(curve.spent, curve.elbo, look.line, color=look.color, lw=1.6, label=name, marker=marker, ms=4)
    band = curve.elbo - 2 * curve.error, curve.elbo + 2 * curve.error
    axes.fill_between(curve.spent, *band, color=look.color, alpha=0.15, lw=0)


def draw_far(axes: Axes, curve: Curve, look: Look) -> None:
    axes.plot(curve.spent, curve.shown, look.line, color=look.color, lw=1.6)
    if len(curve.spent) <= FEW:
        for where, marker, size in ((~curve.is_limit, "o", 4), (curve.is_limit, "v", 6)):
            axes.plot(curve.spent[where], curve.shown[where], marker, color=look.color, ms=size)
    band = (np.maximum(curve.gap + side * curve.gap_error, FLOOR) for side in (-2, 2))
    axes.fill_between(curve.spent, *band, color=look.color, alpha=0.15, lw=0)


def frame(near: Axes, far: Axes, curves: list[Curve], gaps: list[float], bound: float) -> None:
    """Set the axes' limits and scales: near the bound those that most of the second half of the climb needs."""
    late = [*gaps, *(gap for curve in curves for gap in curve.gap[len(curve.gap) // 2 :])]
    finite = [gap for gap in late if np.isfinite(gap)]
    reach = max(float(np.quantile(finite, 0.9)) if finite else 1.0, 1e-3) * 2.5
    entered = [curve.spent[np.argmax(curve.gap < reach)] for curve in curves if (curve.gap < reach).any()]
    last = max(curve.spent[-1] for curve in curves)
    first = min(min(entered, default=1.0) / 1.2, last / 1.5)
    for axes in (near, far):
        axes.set_xscale("symlog", linthresh=1)
    near.set(xlim=(first, last * 1.05), ylim=(bound - reach, bound + 0.12 * reach))
    far.set(yscale="log", xlim=(-0.2, 1.3 * last))
    lowest = min([*gaps, *(float(gap) for curve in curves for gap in curve.shown if not np.isnan(gap))], default=np.inf)
    if np.isfinite(lowest):
        far.set_ylim(bottom=max(lowest / 2, FLOOR / 2))
