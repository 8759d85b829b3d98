"""Cached fits: the tree as NetCDF, and beside it what the fit cost, as JSON."""

from __future__ import annotations

import functools
import io
import json

import xarray as xr

from compare.cache.keys import Uncacheable, digest, fit_document, fit_sources
from compare.cache.store import Store
from compare.comparison import Fit, Job
from compare.messages import one_line
from compare.registry import fitting_library

KIND = "fits"


class FitCache:
    """The fits in a store. Only finished fits are cached; failed and skipped ones are tried again by the next run.

    That includes fits that ran out of their budget: a longer budget is another key.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.sources = functools.cache(fit_sources)  # the source that this process has loaded does not change

    def key(self, job: Job) -> str | None:
        """The job's key; None where it depends on a value that cannot be hashed."""
        if job.is_brought:
            return None
        library = fitting_library(job)
        try:
            return digest(fit_document(job, library, self.sources(job.model, library, job.guide)))
        except (Uncacheable, RecursionError):
            return None

    def load(self, job: Job) -> Fit | None:
        key = self.key(job) if job.reason is None else None
        files = self.store.read(KIND, key) if key else None
        if key is None or files is None:
            return None
        try:
            cost = json.loads(files["cost.json"])
            # not DataTree.load, which passes over a variable that has a group's name: log_prior
            groups = xr.open_groups(io.BytesIO(files["tree.nc"]), engine="h5netcdf")
            tree = xr.DataTree.from_dict({path: group.load() for path, group in groups.items()})
            return Fit(job, "done", None, cost["seconds"], cost["gradients"], tree, cached=True)
        except Exception:  # undamaged, but written by another version
            self.store.remove(KIND, key)
            return None

    def save(self, fit: Fit) -> None:
        if fit.status != "done" or fit.tree is None:
            return
        key = self.key(fit.job)
        if key is None:
            return
        try:
            tree = bytes(fit.tree.to_netcdf(engine="h5netcdf"))
        except Exception as error:  # the tree holds a value that NetCDF cannot
            self.store.warn(one_line(error, bare=True))
            return
        cost = json.dumps({"seconds": fit.seconds, "gradients": fit.gradients})
        self.store.write(KIND, key, {"cost.json": cost.encode(), "tree.nc": tree})
