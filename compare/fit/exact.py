"""The exact posterior, or an estimate in its place, as a fit: draws from it, with their densities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from compare import registry
from compare.comparison import Drawn, Job
from compare.fit.density import log_densities
from compare.fit.tree import Draws, how_many
from models.contract import Latents

QUERIES = 256
"""Draws of the posteriors of other observations, where the data ask for those."""


def fit(job: Job) -> tuple[xr.DataTree, int]:
    """Draw from the posterior; ``log_guide`` is its own density."""
    model = registry.load(job.model)
    exact, rng, draws = model.exact(job.data), np.random.default_rng(job.fit_seed), Draws(job)
    count = how_many(job.options.draws, job.layout.dimension)
    for _ in range(4):
        latents = exact.draw(rng, count // 4)
        draws.add(latents, *densities_or_nan(job, latents), exact.log_posterior(latents))
    tree = draws.tree()
    if model.prediction and model.prediction.exact_queries:
        queries = model.prediction.exact_queries(job.data, rng, QUERIES)
        if queries is not None:
            variables = {site: (("draw", "query", "latent"), z) for site, z in queries.items()}
            tree["queries"] = xr.DataTree(xr.Dataset(variables))
    return tree, 0


def densities_or_nan(job: Job, latents: Latents) -> tuple[np.ndarray, np.ndarray]:
    """log p(z) and log p(x | z) by the twin; NaN where it cannot be run, as its own fits explain."""
    try:
        return log_densities(job, latents)
    except Exception:
        unknown = np.full(len(next(iter(latents.values()))), np.nan)
        return unknown, unknown


def draw_many(jobs: Sequence[Job], count: int) -> list[Drawn | Exception]:
    """Independent draws from the posterior of each job's data."""
    rng, model = np.random.default_rng([jobs[0].fit_seed, 5]), registry.load(jobs[0].model)
    results: list[Drawn | Exception] = []
    for job in jobs:
        exact = model.exact(job.data)
        unknown = ValueError("the posterior of these data is not known")
        results.append(Drawn(exact.draw(rng, count)) if exact else unknown)
    return results
