"""A reference in NumPyro: a long NUTS run, on the program of the twin that mixes best."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import xarray as xr

from compare import named
from compare.fits import Job, fit_seed
from compare.fits.nuts_numpyro import sample
from compare.fits.options import Options

__all__ = ["fit"]


def fit(job: Job) -> tuple[xr.DataTree, int]:
    """Sample the posterior for the others to be held against; the tree and the number of leapfrog steps."""
    options = job.options or Options()
    way = named.load(job.model).reference(job.data)
    rng = np.random.default_rng([fit_seed(job), 1])
    patient = replace(
        options, ess=options.reference_ess, budget=options.reference_budget, warmup=options.reference_warmup
    )
    return sample(
        replace(job, options=patient),
        way.program,
        lambda latents: way.complete(job.data, latents, rng),
        way.acceptance,
    )
