"""The plots of Markov chains: their traces and their ranks, drawn with ArviZ."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import arviz_plots
import xarray as xr
from arviz_plots import PlotCollection

from compare.comparison import Comparison
from compare.report.plots.panels import panels, save
from compare.report.tables.elements import reported_elements, sampled, tree_of
from models.plotting import GREY, legend_line

N_ELEMENTS = 4  # most elements that are drawn

CHAIN_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")

N_RANKED = 200  # draws a chain that are ranked: thinning makes them nearly independent, as the band assumes
N_SIMULATIONS = 250  # simulations behind the band of the rank plot


def draw_chains(
    comparison: Comparison, path: Path, plot: Callable[[xr.DataTree, PlotCollection], None], xlabel: str, ylabel: str
) -> None:
    """Draw a panel an element and fit, a colour a chain.

    Args:
        comparison: The comparison.
        path: Where to.
        plot: Draws a tree's variables on the panels of their names.
        xlabel: The horizontal label, a format of the ``element``.
        ylabel: The vertical label, likewise.
    """
    elements = reported_elements(comparison, N_ELEMENTS)
    trees = {
        name: tree_of(tree, {f"{comparison.label(e)}  {name}": e for e in elements})
        for name, tree in sampled(comparison).items()
    }
    cells = {f"{comparison.label(e)}  {name}": (comparison.label(e), name) for e in elements for name in trees}
    count = max(tree["posterior"].sizes["chain"] for tree in trees.values())
    colors = [CHAIN_COLORS[i % len(CHAIN_COLORS)] for i in range(count)]
    wrap, aes = len(trees) if len(trees) > 1 else min(len(cells), 2), {"color": ["chain"], "overlay": ["chain"]}
    collection, figure, axes = panels(list(cells), wrap, (9.0 / wrap, 2.2), chains=count, aes=aes, color=colors)
    for tree in trees.values():
        plot(tree, collection)
    for name, (words, fit) in cells.items():
        axes[name].set(xlabel=xlabel.format(element=words), ylabel=ylabel.format(element=words), title=fit)
    lines = [legend_line(f"chain {i + 1}", color, lw=1.8) for i, color in enumerate(colors)]
    figure.legend(handles=lines, loc="outside lower center", ncols=min(count, 6))
    save(figure, path)


def trace(comparison: Comparison, path: Path) -> None:
    """Draw every chain against the number of the draw; ticks below mark divergences."""

    def plot(tree: xr.DataTree, collection: PlotCollection) -> None:
        visuals: Any = {"trace": {"width": 0.6, "alpha": 0.8}, "title": False, "xlabel": False}
        arviz_plots.plot_trace(tree, plot_collection=collection, visuals=visuals)

    draw_chains(comparison, path, plot, "draw", "{element}")


def rank(comparison: Comparison, path: Path) -> None:
    """Draw the ranks of each chain's draws among all: within the band (95%) where the chains agree."""

    def plot(tree: xr.DataTree, collection: PlotCollection) -> None:
        step = max(1, tree["posterior"].sizes["draw"] // N_RANKED)
        thinned = tree["posterior"].to_dataset().isel(draw=slice(None, None, step))
        band: Any = {"credible_interval": {"color": GREY, "alpha": 0.15}}
        arviz_plots.plot_rank(
            xr.DataTree.from_dict({"posterior": thinned}),
            plot_collection=collection,
            ci_prob=0.95,
            stats={"ecdf_pit": {"n_simulations": N_SIMULATIONS}},
            visuals=band | dict.fromkeys(("title", "xlabel", "remove_axis"), False),
        )

    draw_chains(comparison, path, plot, "fractional rank of {element}", "ECDF minus uniform")
