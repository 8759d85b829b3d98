"""The tree that every fit ends in: ArviZ's schema, dimensions (chain, draw)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import arviz_base
import numpy as np
import xarray as xr
from scipy import stats

from compare.comparison import MOST_JUDGED, Job
from compare.fit.density import derive
from models.contract import Latents

LONG = 1000
"""Elements of all latents beyond which fewer draws are made."""

ROUNDING = 1e-12
"""Relative differences between draws up to here are rounding, as those of a simplex's sum."""

N_CHAINS = 4
"""Independent draws are dealt to this many chains, so that one schema and one set of diagnostics serves all fits."""


def split(draws: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Draws, shape (count, ...), as (chains, count / chains, ...)."""
    return {name: np.reshape(value, (N_CHAINS, -1, *np.shape(value)[1:])) for name, value in draws.items()}


def joined(blocks: Sequence[Mapping[str, np.ndarray]], axis: int = 0) -> dict[str, np.ndarray]:
    return {name: np.concatenate([block[name] for block in blocks], axis=axis) for name in blocks[0]}


def how_many(draws: int, dimension: int) -> int:
    """How many draws a tree gets: as many as asked for, fewer where one of them is long; a multiple of 64."""
    if dimension <= LONG:
        return max(64, draws // 64 * 64)
    return 2048 if dimension <= 10 * LONG else 256


def build(
    posterior: Mapping[str, np.ndarray],
    sample_stats: Mapping[str, np.ndarray],
    observed: Mapping[str, np.ndarray],
    coordinates: Mapping[str, np.ndarray] | None = None,
    optimisation: Mapping[str, np.ndarray] | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> xr.DataTree:
    """A tree from arrays of shape (chain, draw, ...).

    Args:
        coordinates: The labels of ``SITE_dim_0`` where only some elements of a long site are kept.
        optimisation: Arrays over the steps.
        attributes: What is to be said of the optimisation as a whole.
    """
    groups = {"posterior": dict(posterior), "sample_stats": dict(sample_stats), "observed_data": dict(observed)}
    tree = arviz_base.from_dict(groups, coords=dict(coordinates or {}))
    if optimisation is not None:
        steps = {name: ("step", np.asarray(value)) for name, value in optimisation.items()}
        tree["optimisation"] = xr.DataTree(xr.Dataset(steps, attrs=dict(attributes or {})))
    return tree


def keep(latents: Latents, job: Job) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What of the draws, shape (n_draws, *site), goes into a tree: latents and what the model derives from them.

    Of a site with more elements than verdicts look at (`MOST_JUDGED`) only the reported ones, if any are.

    Returns:
        The draws and the labels of the elements (for `build`'s ``coordinates``).
    """
    draws, labels = {}, {}
    for site, value in {**latents, **derive(job, latents)}.items():
        shown = [index[0] for name, index in job.layout.reported_elements if name == site and len(index) == 1]
        if value.ndim == 2 and value.shape[1] > MOST_JUDGED and shown:
            draws[site], labels[f"{site}_dim_0"] = value[:, shown], np.array(shown)
        else:
            draws[site] = value
    return draws, labels


class Draws:
    """A job's independent draws with their log densities, which come block by block and end in a tree."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.blocks: list[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]] = []

    def add(
        self, latents: Latents, log_prior: np.ndarray, log_likelihood: np.ndarray, log_guide: np.ndarray | None
    ) -> None:
        """Add a block, with None for the log density of a guide that has none."""
        draws, self.labels = keep(latents, self.job)
        densities = {"log_prior": log_prior, "log_joint": log_prior + log_likelihood}
        if log_guide is not None:
            densities["log_guide"] = log_guide
        self.blocks.append((draws, densities))

    def largest_kurtosis(self) -> float:
        """The largest kurtosis of an element's draws; 0 if none varies by more than rounding."""
        draws = joined([block for block, _ in self.blocks])
        columns = np.concatenate([np.reshape(value, (len(value), -1)) for value in draws.values()], axis=1)
        varied = columns[:, np.ptp(columns, axis=0) > ROUNDING * np.abs(columns).max(axis=0)]
        kurtosis = stats.kurtosis(varied, fisher=False)
        return float(kurtosis[np.isfinite(kurtosis)].max(initial=0.0))

    def tree(
        self, optimisation: Mapping[str, np.ndarray] | None = None, attributes: Mapping[str, Any] | None = None
    ) -> xr.DataTree:
        """The tree of all draws, with `build`'s ``optimisation`` and ``attributes``."""
        draws, densities = (joined([block[part] for block in self.blocks]) for part in (0, 1))
        observed = self.job.layout.observed
        return build(split(draws), split(densities), observed, self.labels, optimisation, attributes)
