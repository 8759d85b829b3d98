"""The tree that every fit ends in: ArviZ's schema, dimensions (chain, draw)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import arviz_base
import numpy as np
import xarray as xr

from compare import registry
from compare.comparison import Job
from compare.fit.density import derive
from models.contract import Latents

__all__ = ["LONG", "N_CHAINS", "build", "how_many", "keep", "pointwise", "reported_indices", "split"]

LONG = 1000
"""Elements of a site beyond which a tree keeps the reported ones only."""

N_CHAINS = 4
"""Independent draws are dealt to this many chains, so that one schema and one set of diagnostics serves all fits."""


def split(draws: Mapping[str, np.ndarray], chains: int = N_CHAINS) -> dict[str, np.ndarray]:
    """Independent draws, shape (count, ...), as (chains, count / chains, ...)."""
    return {name: np.reshape(value, (chains, -1, *np.shape(value)[1:])) for name, value in draws.items()}


def how_many(draws: int, dimension: int) -> int:
    """How many draws a tree gets: as many as asked for, fewer where one of them is long; a multiple of 64."""
    if dimension <= LONG:
        return max(64, draws // 64 * 64)
    return 1024 if dimension <= 10 * LONG else 256


def build(
    posterior: Mapping[str, np.ndarray],
    sample_stats: Mapping[str, np.ndarray],
    observed: Mapping[str, np.ndarray],
    coordinates: Mapping[str, np.ndarray] | None = None,
    optimisation: Mapping[str, np.ndarray] | None = None,
    attributes: Mapping[str, Any] | None = None,
    log_likelihood: Mapping[str, np.ndarray] | None = None,
) -> xr.DataTree:
    """A tree from arrays of shape (chain, draw, ...).

    ``coordinates`` gives ``SITE_dim_0`` its labels where only some elements of a long site are kept. The group
    ``log_likelihood`` is there if there is one, observation by observation.
    ``optimisation`` holds arrays over the steps, ``attributes`` what is to be said of the optimisation as a whole.
    """
    groups = {"posterior": dict(posterior), "sample_stats": dict(sample_stats), "observed_data": dict(observed)}
    if log_likelihood:
        groups["log_likelihood"] = dict(log_likelihood)
    tree = arviz_base.from_dict(groups, coords=dict(coordinates or {}))
    if optimisation is not None:
        steps = {name: ("step", np.asarray(value)) for name, value in optimisation.items()}
        tree["optimisation"] = xr.DataTree(xr.Dataset(steps, attrs=dict(attributes or {})))
    return tree


def keep(latents: Latents, job: Job) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What of the draws, shape (n_draws, *site), goes into a tree: latents and what the model derives from them.

    Of a site of more than `LONG` elements only the reported ones, if any are.

    Returns:
        The draws and the labels of the elements (for `build`'s ``coordinates``).
    """
    draws, labels = {}, {}
    for site, value in {**latents, **derive(job, latents)}.items():
        indices = reported_indices(job, site)
        if value.ndim == 2 and value.shape[1] > LONG and len(indices):
            draws[site], labels[f"{site}_dim_0"] = value[:, indices], indices
        else:
            draws[site] = value
    return draws, labels


def reported_indices(job: Job, site: str) -> np.ndarray:
    """The positions of the reported elements of a site with one dimension."""
    return np.array([index[0] for name, index in job.layout.reported if name == site and len(index) == 1], dtype=int)


def pointwise(latents: Latents, job: Job) -> dict[str, np.ndarray]:
    """The log likelihood of each observation, shape (chains, draws, observations), of draws, shape (n_draws, *site)."""
    part = registry.load(job.model).prediction
    return split(part.pointwise(job.data, latents)) if part and part.pointwise else {}
