"""Pyro guides as smooth functions of standard normal draws.

`BaseDraws` gives a guide's sample sites their values from rows of draws instead of from the random number generator.
Fixed draws turn the ELBO into an ordinary smooth function of the guide's parameters.
"""

from __future__ import annotations

import math
from typing import Any

import pyro.distributions as dist
import torch
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample

from compare.fit.svi.draws import beta_quantile
from compare.user_model.sites import is_delta


class BaseDraws(Messenger):
    """Feed draws to a guide's latent sites, in the order they come.

    Either rows of them, shape (rows, columns), inside a particle plate, with ``nesting`` plate dimensions between the
    particles and the events; or one draw, shape (columns,), without a ``nesting``. ``values`` holds what the fed sites
    became, ``latents`` what the model's sites became.
    """

    def __init__(self, draws: torch.Tensor, nesting: int | None = None) -> None:
        super().__init__()
        self.draws, self.nesting, self.used = draws, nesting, 0
        self.values: dict[str, torch.Tensor] = {}
        self.latents: dict[str, torch.Tensor] = {}

    def _pyro_sample(self, message: Any) -> None:
        if message["is_observed"] or message["done"] or is_delta(message["fn"]):
            return
        if site_is_subsample(message):  # the indices of a plate
            return
        size = columns(message["fn"], self.nesting)
        message["value"] = from_base(message["fn"], self.draws[..., self.used : self.used + size], self.nesting)
        message["done"] = True
        self.values[message["name"]] = message["value"]
        self.used += size

    def _pyro_post_sample(self, message: Any) -> None:
        if not (message["is_observed"] or message["infer"].get("is_auxiliary") or site_is_subsample(message)):
            self.latents[message["name"]] = message["value"]


def columns(fn: Any, nesting: int | None = None) -> int:
    """How many standard normals one value of the distribution is made of, particles not counted."""
    batch = fn.batch_shape if nesting is None else fn.batch_shape[-nesting:] if nesting else ()
    return math.prod(batch) * math.prod(event_of(fn))


def event_of(fn: Any) -> tuple[int, ...]:
    """The shape of the standard normals that one event is made of: a simplex takes fewer than it has elements."""
    if isinstance(fn, dist.LowRankMultivariateNormal):
        return (sum(fn.cov_factor.shape[-2:]),)
    if hasattr(fn, "from_base"):
        return tuple(fn.event_shape)
    if isinstance(fn, torch.distributions.Independent):
        dims = fn.reinterpreted_batch_ndims
        return (*fn.base_dist.batch_shape[len(fn.base_dist.batch_shape) - dims :], *event_of(fn.base_dist))
    if isinstance(fn, dist.ExpandedDistribution | torch.distributions.TransformedDistribution):
        return event_of(fn.base_dist)
    return tuple(fn.event_shape)


def from_base(fn: Any, eps: torch.Tensor, nesting: int | None = None) -> torch.Tensor:
    """The values of the distribution that rows of standard normals, shape (rows, columns), stand for; or one value."""
    if nesting is None:
        return transform(fn, eps.reshape(tuple(fn.batch_shape) + event_of(fn)))
    batch = fn.batch_shape[-nesting:] if nesting else torch.Size()
    batch = torch.Size((1,) * (nesting - len(batch))) + batch
    return transform(fn, eps.reshape(tuple(eps.shape[:1]) + tuple(batch) + event_of(fn)))


def mask_probability(fn: Any) -> torch.Tensor | None:
    """P(1) of each element of a dropout mask: Bernoulli variables whose probabilities do not count in the objective.

    None for any other distribution.
    """
    if not isinstance(fn, dist.MaskedDistribution) or fn._mask is not False:
        return None
    base = fn.base_dist
    while isinstance(base, dist.Independent | dist.ExpandedDistribution):
        base = base.base_dist
    return base.probs.expand(fn.batch_shape + fn.event_shape) if isinstance(base, dist.Bernoulli) else None


def transform(fn: Any, eps: torch.Tensor) -> torch.Tensor:
    probability = mask_probability(fn)
    if probability is not None:
        return (torch.special.ndtr(eps) < probability).to(eps.dtype)
    if hasattr(fn, "from_base"):
        return fn.from_base(eps)
    if isinstance(fn, torch.distributions.Independent | dist.ExpandedDistribution):
        return transform(fn.base_dist, eps)
    if isinstance(fn, torch.distributions.TransformedDistribution):  # Pyro's own LogNormal is one of torch's only
        value = transform(fn.base_dist, eps)
        for part in fn.transforms:
            value = part(value)
        return value
    if isinstance(fn, dist.Normal):
        return fn.loc + fn.scale * eps
    if isinstance(fn, dist.MultivariateNormal):
        return fn.loc + (fn.scale_tril @ eps.unsqueeze(-1)).squeeze(-1)
    if isinstance(fn, dist.LowRankMultivariateNormal):
        own, common = eps.split(fn.cov_factor.shape[-2:], dim=-1)
        return fn.loc + (fn.cov_factor @ common.unsqueeze(-1)).squeeze(-1) + fn.cov_diag.sqrt() * own
    if isinstance(fn, dist.Beta):
        return BetaFromBase.apply(fn.concentration1, fn.concentration0, eps)[0]
    raise NotImplementedError(
        f"a guide with a {type(fn).__name__} site cannot be fed fixed draws; give its distribution a method "
        "from_base(eps), or fit it with --optimiser adam"
    )


class BetaFromBase(torch.autograd.Function):
    """The Beta(a, b) value with the rank that eps has among standard normals; the draws are constants."""

    @staticmethod
    def forward(a: torch.Tensor, b: torch.Tensor, eps: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(map(torch.as_tensor, beta_quantile(a.numpy(), b.numpy(), eps.numpy())))

    @staticmethod
    def setup_context(context: Any, inputs: Any, output: Any) -> None:
        a, b, _ = inputs
        _, slope_a, slope_b = output
        context.mark_non_differentiable(slope_a, slope_b)
        context.save_for_backward(a, b, slope_a, slope_b)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor, *_: Any) -> tuple[Any, ...]:
        a, b, slope_a, slope_b = context.saved_tensors
        return (gradient * slope_a / a).sum_to_size(a.shape), (gradient * slope_b / b).sum_to_size(b.shape), None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *parts: torch.Tensor) -> tuple[Any, tuple[int, ...]]:
        """Element by element, the mapped dimension first."""
        rank = max(part.ndim - (at is not None) for part, at in zip(parts, in_dims, strict=True))
        aligned = []
        for part, at in zip(parts, in_dims, strict=True):
            if at is not None:
                part = part.movedim(at, 0)
                part = part.reshape(part.shape[0], *(1,) * (rank + 1 - part.ndim), *part.shape[1:])
            aligned.append(part)
        return BetaFromBase.apply(*aligned), (0, 0, 0)
