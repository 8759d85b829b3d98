"""Which arm each fit would pull, regret over time, and regret against the sd ratio of what is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.bandit.data import Bandit, text_of
from models.bandit.exact import Arms
from models.bandit.regret import RATIOS, by_ratio, expected_regret, fixed, prior, standard_policies
from models.contract import Picture
from models.literature import ERRORS
from models.plotting import CLASS_COLORS, EXACT, PALE, Fits, dataset, list_fits, new_figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_chances(axes: Axes, fits: Fits, data: Bandit, exact: Arms) -> None:
    """Draw the probability that the last arm is the best: the exact one as a line, each fit's with four errors."""
    from arviz_stats.base import array_stats  # slow to import

    chance = exact.chances()[-1]
    axes.axvline(chance, color=EXACT, lw=1.4, label=f"exact: {chance:.4f}")
    shown = list_fits(fits)
    for row, fit in enumerate(shown):
        is_best = dataset(fit.tree, "posterior")["lead"].values[..., -1] > 0  # (chain, draw)
        error = ERRORS * array_stats.mcse(is_best.astype(float), method="mean")
        axes.errorbar(is_best.mean(), row, xerr=error, fmt="o", color=fit.color, ms=5)
    axes.set_yticks(range(len(shown)), [fit.name for fit in shown])
    axes.set(xlabel=f"probability that arm {len(data.pulls) - 1} is pulled", ylim=(len(shown), -1))
    axes.set_title("the next pull")
    axes.legend(loc="lower right")


def draw_policies(axes: Axes, data: Bandit) -> None:
    """Draw the regret of every policy at the fixed arms."""
    worlds, time = [fixed(data.arms)], np.arange(1, data.horizon + 1)
    for number, (name, policy) in enumerate(standard_policies(data.alpha, data.beta, data.horizon).items()):
        color, line = CLASS_COLORS[number % len(CLASS_COLORS)], "--" if "greedy" in name or name == "random" else "-"
        axes.plot(time, expected_regret(policy, worlds, data.horizon)[0], color=color, ls=line, lw=1.5, label=name)
    axes.set(xlabel="pulls", ylabel=f"expected regret at arms {text_of(data.arms)}", title="policies, from no data")
    axes.legend(loc="upper left", fontsize=7)


def draw_ratios(axes: Axes, data: Bandit) -> None:
    """Draw Thompson sampling's regret against the sd ratio of its draws, over the regret of exact draws."""
    worlds = {f"arms {text_of(data.arms)}": fixed(data.arms), "arms from the prior": prior(data.alpha, data.beta)}
    ratios = np.append(RATIOS, 1.0)
    regret = by_ratio(data.alpha, data.beta, data.horizon, list(worlds.values()), ratios)[..., -1]
    for values, name, color in zip(regret.T, worlds, CLASS_COLORS, strict=False):
        if values[-1] > 1e-12:  # equal arms cost nothing
            axes.plot(RATIOS, values[:-1] / values[-1], "o-", color=color, ms=3, lw=1.5, label=name)
    axes.axhline(1, color=PALE, lw=1.2, zorder=0)
    axes.axvline(1, color=PALE, lw=1.2, zorder=0)
    axes.set(xlabel="sd of the draws / posterior sd", ylabel=f"regret after {data.horizon} pulls / that of exact draws")
    axes.set_title("narrow and wide draws")
    axes.legend(loc="lower right")


def regret(fits: Fits, data: Bandit, exact: Arms, path: Path) -> None:
    """Draw the three panels."""
    figure = new_figure(14.4, 4.6)
    chances, over_time, ratios = figure.subplots(1, 3)
    draw_chances(chances, fits, data, exact)
    draw_policies(over_time, data)
    draw_ratios(ratios, data)
    save(figure, path)


PICTURES = (
    Picture(
        "regret",
        "Left, how often Thompson sampling from each fit pulls the last arm next, with four standard errors. Middle, "
        "the exact expected regret of policies that start without data. Right, Thompson sampling's from draws that are "
        "narrower or wider than the posterior.",
        regret,
    ),
)
