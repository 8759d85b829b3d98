"""The exact posterior as a fit: independent draws from it, with the densities that the closed form gives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from compare import registry
from compare.comparison import Drawn, Job
from compare.fit.density import log_densities
from compare.fit.tree import build, how_many, keep, pointwise, split
from compare.options import Options
from models.contract import Latents

__all__ = ["draw_many", "fit"]

QUERIES = 256
"""Draws of the posteriors of other observations, where the data ask for those."""


def fit(job: Job) -> tuple[xr.DataTree, int]:
    """Draw from the exact posterior; ``log_guide`` is the posterior's own density."""
    model = registry.load(job.model)
    exact = model.exact(job.data)
    rng = np.random.default_rng(job.fit_seed)
    options = job.options or Options()
    count = how_many(options.draws, job.layout.dimension)
    labels: dict[str, np.ndarray] = {}
    pieces = []
    for _ in range(4):
        latents = exact.draw(rng, count // 4)
        log_prior, log_likelihood = densities_or_nan(job, latents)
        kept, labels = keep(latents, job)
        stats = {
            "log_prior": log_prior,
            "log_joint": log_prior + log_likelihood,
            "log_guide": exact.log_posterior(latents),
        }
        pieces.append((kept, stats))
    kept, stats = (
        {name: np.concatenate([piece[part][name] for piece in pieces]) for name in pieces[0][part]} for part in (0, 1)
    )
    likelihood = pointwise(kept, job)
    tree = build(split(kept), split(stats), job.layout.observed, labels, log_likelihood=likelihood)
    if model.prediction and model.prediction.exact_queries:
        queries = model.prediction.exact_queries(job.data, rng, QUERIES)
        if queries is not None:
            variables = {site: (("draw", "query", "latent"), z) for site, z in queries.items()}
            tree["queries"] = xr.DataTree(xr.Dataset(variables))
    return tree, 0


def densities_or_nan(job: Job, latents: Latents) -> tuple[np.ndarray, np.ndarray]:
    """log p(z) and log p(x | z) by the twin; NaN where it cannot be run, of which its own fits say why."""
    try:
        return log_densities(job, latents)
    except Exception:
        unknown = np.full(len(next(iter(latents.values()))), np.nan)
        return unknown, unknown


def draw_many(jobs: Sequence[Job], count: int) -> list[Drawn | Exception]:
    """Independent draws from the posterior of each job's data."""
    rng, model = np.random.default_rng([jobs[0].fit_seed, 5]), registry.load(jobs[0].model)
    found: list[Drawn | Exception] = []
    for job in jobs:
        exact = model.exact(job.data)
        found.append(Drawn(exact.draw(rng, count)) if exact else ValueError("the posterior of these data is not known"))
    return found
