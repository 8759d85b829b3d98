"""One element of a site at a time: what the tables and the plots take from a fit's tree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from arviz_stats.base import array_stats

from models.contract import element

if TYPE_CHECKING:
    from compare.comparison import Comparison

__all__ = ["Element", "draws", "errors", "finished", "optimised", "reported", "sampled", "tree_of"]

Element = tuple[str, tuple[int, ...]]


def finished(comparison: Comparison) -> dict[str, xr.DataTree]:
    """The trees of the fits that were made, by name."""
    return {name: fit.tree for name, fit in comparison.fits.items() if fit.status == "done" and fit.tree is not None}


def sampled(comparison: Comparison) -> dict[str, xr.DataTree]:
    """The trees that NUTS made."""
    return {n: t for n, t in finished(comparison).items() if comparison.fits[n].job.is_mcmc}


def optimised(comparison: Comparison) -> dict[str, xr.DataTree]:
    """The trees of the fits that have a trajectory."""
    trees = finished(comparison)
    return {n: t for n, t in trees.items() if "optimisation" in t and "elbo" in t["optimisation"].dataset}


def reported(comparison: Comparison, most: int | None = None) -> list[Element]:
    """The elements that the comparison speaks of; no more than ``most``, spread evenly over them."""
    elements = list(comparison.data.reported())
    if most is None or len(elements) <= most:
        return elements
    return [elements[i] for i in np.unique(np.linspace(0, len(elements) - 1, most).round().astype(int))]


def draws(tree: xr.DataTree, site: str, index: tuple[int, ...]) -> xr.DataArray:
    """The draws of one element, shape (chain, draw). Raises ``KeyError`` where the tree has them not."""
    values = tree["posterior"].dataset[site]
    for dimension, i in zip([d for d in values.dims if d not in ("chain", "draw")], index, strict=True):
        if dimension in values.indexes:
            values = values.sel({dimension: i}, drop=True)
        else:
            values = values.isel({dimension: i}, drop=True)
    return values.transpose("chain", "draw").astype(np.float64)


def tree_of(tree: xr.DataTree, elements: Sequence[Element], suffix: str = "") -> xr.DataTree:
    """A tree with one scalar variable an element, named ``z[0]`` plus ``suffix``, and its divergences, if any."""
    posterior = xr.Dataset({element(*e) + suffix: draws(tree, *e).drop_vars(["chain", "draw"]) for e in elements})
    chains, count = posterior.sizes["chain"], posterior.sizes["draw"]
    axes = {"chain": np.arange(chains), "draw": np.arange(count)}
    groups = {"posterior": posterior.assign_coords(axes)}
    if "sample_stats" in tree and "diverging" in tree["sample_stats"].dataset:
        diverging = np.asarray(tree["sample_stats"].dataset["diverging"])
        groups["sample_stats"] = xr.Dataset({"diverging": (("chain", "draw"), diverging)}, coords=axes)
    return xr.DataTree.from_dict(groups)


def errors(values: xr.DataArray) -> dict[str, float]:
    """Monte Carlo standard errors of the sd and of the ends of the 95% interval of draws, shape (chain, draw)."""
    array = np.asarray(values)
    axes = {"chain_axis": 0, "draw_axis": 1}
    return {
        "sd": float(array_stats.mcse(array, method="sd", **axes)),
        "q2.5": float(array_stats.mcse(array, method="quantile", prob=0.025, **axes)),
        "q97.5": float(array_stats.mcse(array, method="quantile", prob=0.975, **axes)),
    }
