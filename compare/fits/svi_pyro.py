"""SVI in Pyro: the library's SVI, ELBO and guides, driven by `compare.fits.svi`."""

from __future__ import annotations

import xarray as xr

from compare.fits import Job
from compare.fits.objective_pyro import density, prepare, split_arguments
from compare.fits.svi import fit_guide

__all__ = ["fit"]


def fit(job: Job) -> tuple[xr.DataTree, int]:
    """Fit the job's guide to the job's model; the tree and the number of gradient evaluations."""
    data, static = split_arguments(job.data.arguments())
    return fit_guide(job, prepare(job.model, job.guide, static), density(job.model, static), data)
