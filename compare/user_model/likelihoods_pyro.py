"""Likelihoods of a user's Pyro model whose support depends on latents."""

from __future__ import annotations

import math
from typing import Any

import pyro.distributions as dist
import torch
from torch import distributions as torch_dist

from compare.user_model.likelihoods import with_bounds

LAYERS = {
    torch_dist.Independent: "base_dist",
    dist.ExpandedDistribution: "base_dist",
    dist.MaskedDistribution: "base_dist",
    torch_dist.TransformedDistribution: "base_dist",
    torch_dist.MixtureSameFamily: "_component_distribution",
}
"""Distributions that consist of another one, and the name under which they hold it."""


class Bounded:
    """A distribution with the density 0 outside of its support; its other base class says which."""

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        logs = super().log_prob(value)  # type: ignore[misc]
        return torch.where(self.support.check(value), logs, -math.inf)  # type: ignore[attr-defined]


class BoundedTransformed:
    """A transformed distribution with the density 0 at values that its base cannot produce."""

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        logs = super().log_prob(value)  # type: ignore[misc]
        return torch.where(logs.isnan(), -math.inf, logs)


def bounded(fn: Any) -> Any:
    """The likelihood with the density 0 outside of its support, where that is not the same for all latents."""
    return with_bounds(fn, LAYERS, {False: Bounded, True: BoundedTransformed})
