"""One element of a site at a time: what tables and plots take from a fit's tree."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from compare.comparison import Comparison, Element
from models.selection import evenly


def finished(comparison: Comparison) -> dict[str, xr.DataTree]:
    """The trees of the fits that ended well, by name."""
    return {name: fit.tree for name, fit in comparison.fits.items() if fit.status == "done" and fit.tree is not None}


def sampled(comparison: Comparison) -> dict[str, xr.DataTree]:
    """The trees of Markov chains."""
    return {n: t for n, t in finished(comparison).items() if comparison.fits[n].job.is_mcmc}


def optimised(comparison: Comparison) -> dict[str, xr.DataTree]:
    """The trees of the fits that have a trajectory of the ELBO."""
    trees = finished(comparison)
    steps = {n: t["optimisation"] for n, t in trees.items() if "optimisation" in t}
    return {n: trees[n] for n, s in steps.items() if "elbo" in s.dataset and "objective" not in s.attrs}


def reported_elements(comparison: Comparison, most: int | None = None) -> list[Element]:
    """The elements that the comparison reports; at most ``most``, spread evenly over them."""
    elements = list(comparison.layout.reported_elements)
    return elements if most is None else [elements[place] for place in evenly(len(elements), most)]


def draws(tree: xr.DataTree, site: str, index: tuple[int, ...]) -> xr.DataArray:
    """A fit's draws of one element, dimensions (chain, draw). A tree may hold only some elements of a site."""
    values = tree["posterior"].dataset[site]
    for dimension, i in zip([d for d in values.dims if d not in ("chain", "draw")], index, strict=True):
        if dimension in values.indexes:
            values = values.sel({dimension: i}, drop=True)
        else:
            values = values.isel({dimension: i}, drop=True)
    return values.transpose("chain", "draw").astype(np.float64)


def tree_of(tree: xr.DataTree, elements: Mapping[str, Element]) -> xr.DataTree:
    """A tree with one scalar variable an element, of the names given, and its divergences, if any."""
    posterior = xr.Dataset({name: draws(tree, *e).drop_vars(["chain", "draw"]) for name, e in elements.items()})
    chains, count = posterior.sizes["chain"], posterior.sizes["draw"]
    axes = {"chain": np.arange(chains), "draw": np.arange(count)}
    groups = {"posterior": posterior.assign_coords(axes)}
    if "sample_stats" in tree and "diverging" in tree["sample_stats"].dataset:
        diverging = np.asarray(tree["sample_stats"].dataset["diverging"])
        groups["sample_stats"] = xr.Dataset({"diverging": (("chain", "draw"), diverging)}, coords=axes)
    return xr.DataTree.from_dict(groups)


def interval_error(values: xr.DataArray) -> float:
    """The larger Monte Carlo standard error of the ends of the 95% interval of draws, shape (chain, draw)."""
    from arviz_stats.base import array_stats  # slow to import, and a cached report does without

    return max(float(array_stats.mcse(np.asarray(values), method="quantile", prob=p)) for p in (0.025, 0.975))
