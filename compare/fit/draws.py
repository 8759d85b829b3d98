"""Draws that somebody else made, as a fit: with the model's log densities, and what is derived from them."""

from __future__ import annotations

import xarray as xr

from compare.comparison import Job
from compare.fit.density import log_densities
from compare.fit.tree import build, keep
from compare.user_model import draws


def fit(job: Job) -> tuple[xr.DataTree, int]:
    """The tree of the given draws; it took no gradient evaluations."""
    given = draws.find(job.model)
    latents = {site: value.reshape(-1, *value.shape[2:]) for site, value in given.sites.items()}
    log_prior, log_likelihood = log_densities(job, latents)
    stats = {"log_prior": log_prior, "log_joint": log_prior + log_likelihood}
    shape = given.shape
    shown, labels = keep(latents, job)
    shown = {name: value.reshape(*shape, *value.shape[1:]) for name, value in shown.items()}
    all_stats = {name: value.reshape(shape) for name, value in stats.items()} | dict(given.stats)
    return build(shown, all_stats, job.layout.observed, labels), 0
