"""The draws to use, of all that a comparison has, and why these."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import xarray as xr

from compare.comparison import Comparison
from compare.fit.tree import N_CHAINS
from compare.measure.psis import has_equal_weights, log_ratios, smooth
from compare.verdict.thresholds import KHAT

__all__ = ["BestDraws", "best_draws"]

SEED = 8
"""Resampling is the same in every call."""


@dataclass(frozen=True, eq=False)
class BestDraws:
    """Draws that may be used in the posterior's place.

    Attributes:
        fit: The fit that they come from; None where none may be used.
        why: Why these, in one sentence.
        posterior: The draws, dimensions (chain, draw) and the sites' own; None where none may be used.
    """

    fit: str | None
    why: str
    posterior: xr.Dataset | None


def best_draws(comparison: Comparison) -> BestDraws:
    """The exact posterior's; else the reference's, if its chains agree; else those of chains or of a guide that agrees;
    else those of the guide of the highest ELBO whose weights can be trusted, reweighted."""
    summaries = comparison.summaries
    done = {name: summary for name, summary in summaries.items() if comparison.fits[name].tree is not None}
    words = {name: summary.verdict.word for name, summary in done.items()}
    if "exact" in done:
        return plain(
            comparison, "exact", f"they are independent draws from the posterior ({comparison.log_evidence.method})"
        )
    if words.get("reference") in ("agrees", "undecided"):
        ess = summaries["reference"].diagnostics.ess
        return plain(comparison, "reference", f"a long run whose chains agree, worth {ess:,.0f} independent draws")
    elbos = {name: elbo.value for name, summary in done.items() if (elbo := summary.ledger.elbo)}
    order = sorted(done, key=lambda name: (name in elbos, -elbos.get(name, 0.0)))  # chains first, then by the ELBO
    agreeing = [name for name in order if words[name] == "agrees"]
    if agreeing:
        return plain(comparison, agreeing[0], summaries[agreeing[0]].verdict.sentence)
    for name in order:
        khat = done[name].diagnostics.khat
        if name in elbos and khat is not None and khat <= KHAT and math.isfinite(elbos[name]):
            return resampled(comparison, name)
    return BestDraws(None, "no fit may be used: none agrees, and no guide's weights can be trusted", None)


def plain(comparison: Comparison, name: str, why: str) -> BestDraws:
    """A fit's draws as they are."""
    return BestDraws(name, why, comparison.fits[name].tree["posterior"].to_dataset())


def resampled(comparison: Comparison, name: str) -> BestDraws:
    """A guide's draws, resampled by their Pareto-smoothed importance weights: as many, some of them more than once."""
    tree = comparison.fits[name].tree
    posterior, ratio = tree["posterior"].to_dataset(), log_ratios(tree)
    if has_equal_weights(ratio):
        return plain(comparison, name, "the guide is the posterior: all of its importance weights are equal")
    weights, khat = smooth(ratio)
    rng, count = np.random.default_rng(SEED), ratio.size
    edges = np.cumsum(weights)
    chosen = np.searchsorted(edges / edges[-1], (np.arange(count) + rng.random()) / count)  # systematic: least noise
    chosen = rng.permutation(np.minimum(chosen, count - 1))
    size = 1 / float(np.sum(weights**2))
    why = (
        f"its weights p(x, z) / q(z) can be trusted (k-hat {khat:.2f}): its draws are Pareto-smoothed and resampled, "
        f"worth {size:,.0f} independent ones"
    )
    flat = {
        str(site): (
            (*values.dims[:2], *values.dims[2:]),
            regrouped(values.transpose("chain", "draw", ...).values, chosen),
        )
        for site, values in posterior.data_vars.items()
    }
    return BestDraws(name, why, xr.Dataset(flat, coords=posterior.coords))


def regrouped(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """The chosen of all draws, dealt to the chains again."""
    flat = values.reshape(-1, *values.shape[2:])[chosen]
    return flat.reshape(N_CHAINS, -1, *values.shape[2:])
