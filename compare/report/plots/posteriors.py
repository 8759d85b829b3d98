"""The plots of the posteriors and of the chains, drawn with ArviZ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import arviz_plots
import matplotlib
import numpy as np
import xarray as xr
from arviz_plots import PlotCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from compare.report.plots.palette import Look, family, looks
from compare.report.tables.elements import Element, draws, finished, reported, sampled, tree_of
from models.contract import element
from models.plotting import EXACT, GREY

if TYPE_CHECKING:
    from compare.comparison import Comparison

__all__ = ["forest", "posterior", "rank", "trace"]

matplotlib.use("agg")

PANELS = 4
ROWS = 12
CHAINS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
NAMED = 48
"""Up to this many intervals are named one by one; more are told apart by colour."""
RANKED = 200
"""Draws a chain that the ranks are taken of: thinning makes them nearly independent, as the band assumes."""
SIMULATIONS = 250
"""Simulations behind the band of the rank plot."""


def save(figure: Figure, path: Path) -> None:
    from matplotlib import pyplot

    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def panels(
    names: Sequence[str], wrap: int, size: tuple[float, float], **kwargs: Any
) -> tuple[PlotCollection, Figure, dict[str, Any]]:
    """A grid of empty plots, one a name, for ArviZ to draw variables of those names on."""
    rows = math.ceil(len(names) / wrap)
    columns = min(len(names), wrap)
    chains = kwargs.pop("chains", 1)
    empty = xr.Dataset(
        {name: (("chain", "draw"), np.zeros((chains, 2))) for name in names},
        coords={"chain": range(chains), "draw": range(2)},
    )
    figsize = (max(size[0] * columns, 5.0), size[1] * rows + 0.7)
    collection = PlotCollection.wrap(
        empty,
        cols=["__variable__"],
        col_wrap=wrap,
        backend="matplotlib",
        figure_kwargs={"figsize": figsize, "figsize_units": "inches", "layout": "constrained"},
        **kwargs,
    )
    axes = {name: collection.get_target(name, {}) for name in names}
    return collection, next(iter(axes.values())).figure, axes


def reach(comparison: Comparison, e: Element) -> tuple[float, float]:
    """Where the bulk of one element's true posterior lies; where that is not known, of all fits' draws."""
    if comparison.truth is None:
        pooled = np.concatenate([np.ravel(draws(tree, *e)) for tree in finished(comparison).values()])
        low, high = np.quantile(pooled, [5e-4, 1 - 5e-4])
        return float(low), float(high)
    low, high = (float(np.asarray(comparison.truth.quantile(p)[e[0]])[e[1]]) for p in (5e-4, 1 - 5e-4))
    return low, high


def legend(figure: Figure, look: dict[str, Look], names: Sequence[str], exact: str | None) -> None:
    lines = [Line2D([], [], color=look[n].color, ls=look[n].line, lw=1.8, label=n) for n in names]
    if exact:
        lines.insert(0, Line2D([], [], color=EXACT, lw=1.4, label=exact))
    figure.legend(handles=lines, loc="outside lower center", ncols=min(len(lines), 4))


def posterior(comparison: Comparison, path: Path) -> None:
    """`densities` as a file."""
    save(densities(comparison), path)


def densities(comparison: Comparison) -> Figure:
    """Small multiples, a row an element and a column a family: the fits' densities over the exact one."""
    trees = {n: t for n, t in finished(comparison).items() if n != comparison.reference_fit}
    look, elements = looks(comparison.fits.items()), reported(comparison, PANELS)
    families = list(dict.fromkeys(family(comparison.fits[n]) for n in trees)) or [comparison.reference_fit]
    cells = [(f"{element(*e)}  {f}", e, f) for e in elements for f in families]
    wrap = len(families) if len(elements) > 1 else min(len(families), 4 if len(families) != 5 else 5)
    collection, figure, axes = panels([name for name, _, _ in cells], wrap, (2.9, 2.3))
    heights = {}
    for name, e, _ in cells:
        low, high = reach(comparison, e)
        if comparison.truth is None:
            continue
        grid = np.linspace(low, high, 300)
        density = np.nan_to_num(np.asarray(comparison.truth.density(*e, grid), dtype=float), posinf=np.nan)
        axes[name].fill_between(grid, density, color="#dddddd", lw=0)
        axes[name].plot(grid, density, color=EXACT, lw=1.4)
        heights[name] = 1.35 * float(np.nanmax(density[3:-3]))
    for fit, tree in trees.items():
        mine = family(comparison.fits[fit])
        named = xr.Dataset({n: draws(tree, *e).reset_coords(drop=True) for n, e, f in cells if f == mine})
        arviz_plots.plot_dist(
            xr.DataTree.from_dict({"posterior": named}),
            kind="kde",
            plot_collection=collection,
            visuals={
                "dist": {"color": look[fit].color, "linestyle": look[fit].line, "width": 1.8},
                "credible_interval": False,
                "point_estimate": False,
                "point_estimate_text": False,
                "title": False,
                "remove_axis": False,
            },
        )
    for name, e, f in cells:
        low, high = reach(comparison, e)
        row = [axes[n].dataLim for n, other, _ in cells if other == e]
        least, most, width = min(d.x0 for d in row), max(d.x1 for d in row), high - low
        axes[name].set(xlim=(max(least, low - width), min(most, high + width)), ylim=(0, heights.get(name)))
        axes[name].set_xlabel(element(*e))
        axes[name].set_title(f, color="#222222")
        axes[name].set_yticks([])
        axes[name].spines["left"].set_visible(False)
    legend(figure, look, list(trees), comparison.reference_fit if comparison.truth else None)
    return figure


def bounds(comparison: Comparison, elements: Sequence[Element]) -> tuple[xr.Dataset, xr.Dataset, xr.Dataset]:
    """The 95% and 50% intervals and the medians of every fit: the truth's own, the other fits' from their draws."""
    trees = finished(comparison)
    probabilities = (0.025, 0.25, 0.5, 0.75, 0.975)
    known = [comparison.truth.quantile(p) for p in probabilities] if comparison.truth else None
    names = [n for n in trees if n != comparison.reference_fit]
    found = {}
    for e in elements:
        truth = [[float(np.asarray(q[e[0]])[e[1]]) for q in known]] if known else []
        found[element(*e)] = np.array([*truth, *(np.quantile(draws(trees[n], *e), probabilities) for n in names)])
    models = {"model": [comparison.reference_fit, *names] if known else names}

    def ends(low: int, high: int) -> xr.Dataset:
        coords = {**models, "ci_bound": ["lower", "upper"]}
        return xr.Dataset({v: (("model", "ci_bound"), q[:, [low, high]]) for v, q in found.items()}, coords=coords)

    middle = xr.Dataset({v: (("model",), q[:, 2]) for v, q in found.items()}, coords=models)
    return ends(0, 4), ends(1, 3), middle


def forest(comparison: Comparison, path: Path) -> None:
    """Medians with 50% and 95% equal-tailed intervals of every fit, the truth first."""
    elements, look = reported(comparison, ROWS), looks(comparison.fits.items())
    twig, trunk, middle = bounds(comparison, elements)
    names = [str(n) for n in middle["model"].values]
    colours = [look[n].color if n in look else EXACT for n in names]
    height = min(0.9 + 0.2 * len(names) * len(elements), 16.0) + 0.9
    shell = middle.expand_dims(chain=1, draw=2).transpose("chain", "draw", "model")
    plot = arviz_plots.plot_forest(
        {n: xr.DataTree.from_dict({"posterior": shell.sel(model=n, drop=True)}) for n in names},
        combined=True,
        ci_kind="eti",
        ci_probs=(0.5, 0.95),
        backend="matplotlib",
        color=colours,
        y=list(0.6 * np.arange(max(len(elements), 2))),
        stats={"twig": twig, "trunk": trunk, "point_estimate": middle},
        visuals={"point_estimate": {"size": 22}, "trunk": {"width": 3}, "twig": {"width": 1.3}},
        figure_kwargs={
            "figsize": (9, height),
            "figsize_units": "inches",
            "width_ratios": [1, 8],
            "layout": "constrained",
        },
    )
    axes = plot.viz["plot"].sel(column="forest").item()
    figure = axes.figure
    if len(elements) == 1 and comparison.truth:
        axes.axvline(
            float(middle[element(*elements[0])].sel(model=comparison.reference_fit)),
            color=GREY,
            lw=0.7,
            ls=":",
            zorder=0,
        )
    axes.set_xlabel("median, 50% and 95% intervals (equal-tailed)")
    labels = plot.viz["plot"].sel(column="labels").item()
    labels.grid(visible=False)
    labels.spines["bottom"].set_visible(False)
    labels.set_xticks([])
    labels.tick_params(axis="y", length=0, labelleft=False)
    if len(names) * len(elements) <= NAMED:
        height_of = plot.get_aes_as_dataset("y")
        ticks = [(float(height_of[v].sel(model=n)), n) for v in middle.data_vars for n in names]
        axes.set_yticks([y for y, _ in ticks], [n for _, n in ticks], fontsize=8)
        axes.tick_params(axis="y", length=0, labelleft=True)
        labels.tick_params(axis="y", length=0, labelleft=False)
    else:
        legend(figure, look | {comparison.reference_fit: Look(EXACT, "-")}, names, exact=None)
    axes.grid(visible=False, axis="y")
    save(figure, path)


def chains(comparison: Comparison) -> tuple[list[str], dict[str, xr.DataTree], int]:
    """The names of the panels, an element each and fit, the trees with variables of those names, the most chains."""
    elements = reported(comparison, PANELS)
    trees = {n: tree_of(t, elements, f"  {n}") for n, t in sampled(comparison).items()}
    names = [f"{element(*e)}  {n}" for e in elements for n in trees]
    return names, trees, max(t["posterior"].sizes["chain"] for t in trees.values())


def by_chain(names: Sequence[str], fits: int, count: int) -> tuple[PlotCollection, Figure, dict]:
    wrap = fits if fits > 1 else min(len(names), 2)
    colours = [CHAINS[i % len(CHAINS)] for i in range(count)]
    aes = {"color": ["chain"], "overlay": ["chain"]}
    return panels(names, wrap, (9.0 / wrap, 2.2), chains=count, aes=aes, color=colours)


def chain_legend(figure: Figure, count: int) -> None:
    lines = [Line2D([], [], color=CHAINS[i % len(CHAINS)], lw=1.8, label=f"chain {i + 1}") for i in range(count)]
    figure.legend(handles=lines, loc="outside lower center", ncols=min(count, 6))


def trace(comparison: Comparison, path: Path) -> None:
    """Every chain of every NUTS fit against the draw's number; a tick below marks a divergence."""
    names, trees, count = chains(comparison)
    collection, figure, axes = by_chain(names, len(trees), count)
    for tree in trees.values():
        arviz_plots.plot_trace(
            tree,
            plot_collection=collection,
            visuals={"trace": {"width": 0.6, "alpha": 0.8}, "title": False, "xlabel": False},
        )
    for name, axis in axes.items():
        axis.set(xlabel="draw", ylabel=name.split("  ")[0])
        axis.set_title(name.split("  ")[1])
    chain_legend(figure, count)
    save(figure, path)


def rank(comparison: Comparison, path: Path) -> None:
    """Ranks of each chain's draws among all: within the band where the chains tell the same story (95%)."""
    names, trees, count = chains(comparison)
    collection, figure, axes = by_chain(names, len(trees), count)
    for tree in trees.values():
        step = max(1, tree["posterior"].sizes["draw"] // RANKED)
        thinned = tree["posterior"].to_dataset().isel(draw=slice(None, None, step))
        arviz_plots.plot_rank(
            xr.DataTree.from_dict({"posterior": thinned}),
            plot_collection=collection,
            ci_prob=0.95,
            stats={"ecdf_pit": {"n_simulations": SIMULATIONS}},
            visuals={
                "title": False,
                "xlabel": False,
                "remove_axis": False,
                "credible_interval": {"color": GREY, "alpha": 0.15},
            },
        )
    for name, axis in axes.items():
        axis.set(xlabel=f"fractional rank of {name.split('  ')[0]}", ylabel="ECDF minus uniform")
        axis.set_title(name.split("  ")[1])
    chain_legend(figure, count)
    save(figure, path)
