"""The objects that travel through a comparison. Nothing here imports the pipeline."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

__all__ = ["Layout"]

Element = tuple[str, tuple[int, ...]]
"""One element of a site: the site's name, and the index in it."""


@dataclass(frozen=True, eq=False)
class Layout:
    """What tracing a model on its data tells.

    Attributes:
        latents: The latent sites and their shapes.
        derived: The deterministic sites, and the quantities that the model adds, with their shapes.
        observed: The observed sites' values.
        reported: The elements that tables, plots and the summary show, of latents and derived quantities.
        notes: What a reader should know, one sentence each.
        log_joints: log p(x, z) in nats at a few draws from the prior; they tell apart models of the same source.
    """

    latents: dict[str, tuple[int, ...]]
    derived: dict[str, tuple[int, ...]]
    observed: dict[str, np.ndarray]
    reported: tuple[Element, ...]
    notes: tuple[str, ...] = ()
    log_joints: tuple[float, ...] = field(default=())

    @property
    def dimension(self) -> int:
        """The number of elements of all latents."""
        return sum(int(np.prod(shape)) for shape in self.latents.values())
