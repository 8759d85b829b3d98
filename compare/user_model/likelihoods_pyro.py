"""Likelihoods of a user's Pyro model whose support depends on latents."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.distributions import Distribution, TransformedDistribution

from compare.user_model.likelihoods import with_bounds


class Bounded:
    """A distribution with the density 0 outside of its support; its other base class says which."""

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        logs = super().log_prob(value)  # type: ignore[misc]
        return torch.where(self.support.check(value), logs, -math.inf)  # type: ignore[attr-defined]


def bounded(fn: Any) -> Any:
    """The likelihood with the density 0 outside of its support, where that is not the same for all latents."""
    return with_bounds(fn, Distribution, TransformedDistribution, Bounded)
