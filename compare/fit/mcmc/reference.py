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

__all__ = ["fit"]


def fit(library: ModuleType, job: Job) -> tuple[xr.DataTree, int]:
    """Sample the posterior for the others to be held against; the tree and the number of leapfrog steps.

    ``library`` is the file that samples in the job's library.
    """
    options = job.options or Options()
    way = registry.load(job.model).reference(job.data)
    rng = np.random.default_rng([fit_seed(job), 1])
    patient = replace(
        options, ess=options.reference_ess, budget=options.reference_budget, warmup=options.reference_warmup
    )
    return library.sample(
        replace(job, options=patient),
        way.program,
        lambda latents: way.complete(job.data, latents, rng),
        way.acceptance,
    )
