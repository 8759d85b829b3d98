"""The model's log densities at draws of its latents, by the twin's own statements."""

from __future__ import annotations

from importlib import import_module

import numpy as np

from compare import registry
from compare.comparison import Job
from models.contract import Latents

__all__ = ["log_densities"]


def log_densities(job: Job, latents: Latents) -> tuple[np.ndarray, np.ndarray]:
    """log p(z) and log p(x | z) in nats, each of shape (n_draws,), of latents of shape (n_draws, *site).

    They come from the library that fits; where the method has none, from that of the job's twin.
    """
    library = job.library or job.twin or registry.first_installed()
    side = import_module(f"compare.fit.svi.density_{library}")
    data, static = side.split_arguments(job.data.arguments())
    return side.density(job.model, static)(dict(latents), data)
