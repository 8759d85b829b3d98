"""Priors of a user's Pyro model that have no density everywhere, or cannot be drawn from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch.distributions import biject_to, constraints

from compare.user_model.sites import layers

START = 2.0
"""Half the width of the unconstrained interval that starts lie in, as both libraries have it."""


class Startable(TorchDistribution):
    """A prior that cannot be drawn from: its draws are uniform on an unconstrained interval, its density is its own."""

    arg_constraints: dict[str, Any] = {}

    def __init__(self, base_dist: Any) -> None:
        self.base_dist = base_dist
        super().__init__(base_dist.batch_shape, base_dist.event_shape, validate_args=False)

    @constraints.dependent_property
    def support(self) -> Any:
        return self.base_dist.support

    def expand(self, batch_shape: Any, _instance: Any = None) -> Startable:
        return Startable(self.base_dist.expand(torch.Size(batch_shape)))

    def sample(self, sample_shape: Any = ()) -> torch.Tensor:
        transform = biject_to(self.support)
        shape = transform.inverse_shape(self.shape(torch.Size(sample_shape)))
        return transform(START * (2 * torch.rand(shape) - 1))

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        return self.base_dist.log_prob(value)


def startable(fn: Any) -> Any:
    """The prior, in a form that can be drawn from."""
    return Startable(fn) if any(isinstance(layer, dist.ImproperUniform) for layer in layers(fn)) else fn


def unmasked(fn: Any) -> tuple[Any, Any]:
    """The prior without its tensor of a mask, and that tensor; None where there is none.

    Nothing depends on an element that is masked out. Without the mask it has its prior, whose mass is one: the
    posterior of the others and the evidence are the same.
    """
    if isinstance(fn, dist.MaskedDistribution) and not isinstance(fn._mask, bool):
        return fn.base_dist, fn._mask
    if isinstance(fn, torch.distributions.Independent):
        inner, mask = unmasked(fn.base_dist)
        return (fn, None) if mask is None else (inner.to_event(fn.reinterpreted_batch_ndims), mask)
    return fn, None


def place(fn: Any, shape: tuple[int, ...], rng: np.random.Generator, radius: float) -> torch.Tensor:
    """A value by the site's shape and support alone: uniform within ``radius`` of the unconstrained origin."""
    transform = biject_to(fn.support)
    return transform(torch.tensor(rng.uniform(-radius, radius, tuple(transform.inverse_shape(torch.Size(shape))))))
