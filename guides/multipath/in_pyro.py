"""Multi-path Pathfinder in Pyro: the library's MixtureSameFamily of multivariate normals."""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from pyro.nn import PyroParam
from torch import nn
from torch.special import ndtr, ndtri

from guides.autoguide_pyro import AutoScaled
from guides.contract import Implementation, sites_named


class GaussianMixture(dist.MixtureSameFamily):
    """A mixture of multivariate normals whose draws are made of as many standard normals as one of them has."""

    def from_base(self, eps: torch.Tensor) -> torch.Tensor:
        """The first normal's rank chooses the component; where it lies within that one's share is a rank again."""
        component, share = self.component_distribution, self.mixture_distribution.probs
        rank, upper = ndtr(eps[..., :1]), share.cumsum(-1)
        edge = torch.finfo(eps.dtype)
        inner = ((rank - upper + share) / share).clamp(edge.tiny, 1 - edge.eps / 2)
        others = eps.unsqueeze(-2)[..., 1:].expand(*inner.shape, eps.shape[-1] - 1)
        each = torch.cat([ndtri(inner).unsqueeze(-1), others], dim=-1)
        values = component.loc + (component.scale_tril @ each.unsqueeze(-1)).squeeze(-1)
        count = (rank > upper[..., :-1]).sum(-1, keepdim=True)
        chosen = (count == torch.arange(share.shape[-1])).to(eps.dtype)
        return (chosen.unsqueeze(-1) * values).sum(-2)


class AutoMultipath(AutoScaled):
    """A mixture of Gaussians over the entire latent space, as many as its params say: 1 where it starts."""

    def _setup_prototype(self, *args: Any, **kwargs: Any) -> None:
        super()._setup_prototype(*args, **kwargs)
        location = self._init_loc()
        self.logits = nn.Parameter(torch.zeros(1, dtype=location.dtype))
        self.locations = nn.Parameter(location.unsqueeze(0))
        scale = self._init_scale * torch.eye(self.latent_dim, dtype=location.dtype).unsqueeze(0)
        self.scale_trils = PyroParam(scale, constraints.lower_cholesky)

    def get_posterior(self, *args: Any, **kwargs: Any) -> dist.Distribution:
        components = dist.MultivariateNormal(self.locations, scale_tril=self.scale_trils)  # type: ignore[arg-type]
        return GaussianMixture(dist.Categorical(logits=self.logits), components)


def guide(twin: Any) -> AutoMultipath:
    return AutoMultipath(twin.model)


IMPLEMENTATION = Implementation(guide, sites_named())
