"""A reference: a long NUTS run, in the model's own library, on the program of the twin that mixes best."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import numpy as np
import xarray as xr

from compare import registry
from compare.comparison import Job
from compare.fit import fit_seed
from compare.options import Options
from models.contract import Reference

__all__ = ["fit"]


def fit(library: ModuleType, job: Job) -> tuple[xr.DataTree, int]:
    """Sample the posterior for the others to be held against; the tree and the number of leapfrog steps.

    ``library`` is the file that samples in the job's library.
    """
    options = job.options or Options()
    way = registry.load(job.model).truth(job.data)
    if not isinstance(way, Reference):
        raise ValueError(f"the posterior of {job.model} is known exactly on these data: no reference is made")
    rng = np.random.default_rng([fit_seed(job), 1])
    patient = replace(
        options, ess=options.reference_ess, budget=options.reference_budget, warmup=options.reference_warmup
    )
    return library.sample(
        replace(job, options=patient),
        way.program,
        dict if way.complete is None else lambda latents: way.complete(job.data, latents, rng),
        way.acceptance,
    )
