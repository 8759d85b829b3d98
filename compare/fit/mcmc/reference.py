"""A reference: a long NUTS run, in the model's own library, on the program of the twin that mixes best."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import xarray as xr

from compare import registry
from compare.comparison import Job
from compare.fit.mcmc import nuts
from compare.options import Options
from models.contract import Reference

__all__ = ["fit"]


def fit(library: nuts.Library, job: Job) -> tuple[xr.DataTree, int]:
    """Sample the posterior for the others to be compared with: the tree, and the number of leapfrog steps."""
    options = job.options or Options()
    way = registry.load(job.model).truth(job.data)
    if not isinstance(way, Reference):
        raise ValueError(f"the posterior of {job.model} is known exactly on these data: no reference is made")
    complete = way.complete
    rng = np.random.default_rng([job.fit_seed, 1])
    patient = replace(
        options, ess=options.reference_ess, budget=options.reference_budget, warmup=options.reference_warmup
    )
    return nuts.sample(
        library,
        replace(job, options=patient),
        way.program,
        dict if complete is None else lambda latents: complete(job.data, latents, rng),
        way.acceptance,
    )
