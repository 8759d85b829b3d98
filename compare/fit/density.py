"""The model's log densities at draws of its latents, by the twin's own statements."""

from __future__ import annotations

from importlib import import_module

import numpy as np

from compare import registry, user_model
from compare.comparison import Job, Layout
from models.contract import Latents


def log_densities(job: Job, latents: Latents) -> tuple[np.ndarray, np.ndarray]:
    """log p(z) and log p(x | z) in nats, each of shape (n_draws,), of latents of shape (n_draws, *site).

    They come from the library that fits; where the method has none, from that of the job's twin.
    """
    library = registry.fitting_library(job)
    side = import_module(f"compare.user_model.density_{library}")
    data, static = side.split_arguments(job.data.arguments())
    return side.density(job.model, static)({site: latents[site] for site in layout_of(job).latents}, data)


def layout_of(job: Job) -> Layout:
    """What tracing the model on the job's data tells; traced now where the job was not planned."""
    return job.layout or user_model.trace(job.model, job.data, registry.fitting_library(job))


def derive(job: Job, latents: Latents) -> dict[str, np.ndarray]:
    """The deterministic sites and the model's own quantities at latents of shape (n_draws, *site)."""
    model, layout = registry.load(job.model), layout_of(job)
    part = model.quantities
    quantities = part.derive(job.data, latents) if part and part.derive else {}
    names = [name for name in layout.derived if name not in quantities]
    if not names:
        return quantities
    side = import_module(f"compare.user_model.in_{registry.fitting_library(job)}")
    known = {site: latents[site] for site in layout.latents}
    return side.derive(job.model, job.data.arguments(), names, known) | quantities
