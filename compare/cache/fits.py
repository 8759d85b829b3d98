"""Fits that are kept: the tree as NetCDF, and beside it what the fit cost, as JSON."""

from __future__ import annotations

import io
import json

import xarray as xr

from compare.cache.keys import Uncacheable, digest, fit_document, sources_of_fit
from compare.cache.store import Store
from compare.comparison import Fit, Job

__all__ = ["FitCache"]

KIND = "fits"


class FitCache:
    """The fits in a store. Those that were made are kept; what failed or was skipped is tried again the next time.

    A fit that its budget ended is kept too. A longer budget is another key, and asks for another fit.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.read: dict[tuple[str, str | None, str | None], dict[str, str]] = {}

    def key(self, job: Job) -> str | None:
        """The job's key; None where it depends on something whose content cannot be told."""
        of = (job.model, job.library, job.guide)
        if of not in self.read:  # once a run: what this process has loaded does not change
            self.read[of] = sources_of_fit(*of)
        try:
            return digest(fit_document(job, self.read[of]))
        except (Uncacheable, RecursionError):
            return None

    def load(self, job: Job) -> Fit | None:
        """The fit, as it was when it was made; None if it is not there."""
        key = self.key(job) if job.reason is None else None
        found = self.store.read(KIND, key) if key else None
        if found is None:
            return None
        try:
            cost = json.loads(found["cost.json"])
            with xr.open_datatree(io.BytesIO(found["tree.nc"]), engine="h5netcdf") as tree:
                return Fit(job, "done", None, cost["seconds"], cost["gradients"], tree.load(), cached=True)
        except Exception:  # whole, but not what this version writes
            self.store.remove(KIND, key)
            return None

    def save(self, fit: Fit) -> None:
        """Keep a fit, if it was made."""
        key = self.key(fit.job) if fit.status == "done" and fit.tree is not None else None
        if key is None:
            return
        try:
            tree = bytes(fit.tree.to_netcdf(engine="h5netcdf"))
        except Exception as error:  # the tree holds what NetCDF has no form for
            self.store.complain(" ".join(str(error).split())[:200])
            return
        cost = json.dumps({"seconds": fit.seconds, "gradients": fit.gradients})
        self.store.write(KIND, key, {"cost.json": cost.encode(), "tree.nc": tree})
