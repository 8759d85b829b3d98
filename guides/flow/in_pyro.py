"""The flow in Pyro: the library's AffineAutoregressive, its networks' weights given, or params."""

from __future__ import annotations

import math
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from pyro.distributions.transforms import AffineAutoregressive, ComposeTransform, LowerCholeskyAffine, Permute
from pyro.nn import PyroParam
from torch import nn
from torch.distributions import Transform

from guides.autoguide_pyro import AutoScaled
from guides.contract import Implementation, sites_named
from guides.flow import CLIP, STEPS, masks, networks, step_names, steps


class AutoFlow(AutoScaled):
    """A Gaussian over the entire latent space that two autoregressive steps bend: z = loc + scale_tril f(eps).

    It starts as independent normals of sd ``init_scale``, which the steps leave as they are.
    """

    def _setup_prototype(self, *args: Any, **kwargs: Any) -> None:
        super()._setup_prototype(*args, **kwargs)
        self.loc = nn.Parameter(self._init_loc())
        scale_tril = self._init_scale * torch.eye(self.latent_dim, dtype=self.loc.dtype)
        self.scale_tril = PyroParam(scale_tril, constraints.lower_cholesky)
        for number, part in enumerate(networks(self.latent_dim)):
            for name, value in part.items():
                setattr(self, f"{name}_{number}", nn.Parameter(torch.as_tensor(value, dtype=self.loc.dtype)))

    def get_base_dist(self) -> Any:
        return dist.Normal(torch.zeros_like(self.loc), 1.0).to_event(1)

    def get_transform(self, *args: Any, **kwargs: Any) -> Transform:
        transforms: list[Transform] = []
        for number in range(STEPS):
            part = {name: getattr(self, f"{name}_{number}") for name in step_names()}
            transforms += step(part, self.latent_dim, number, (-math.inf, math.inf))
        return ComposeTransform([*transforms, LowerCholeskyAffine(self.loc, self.scale_tril, cache_size=1)])


def guide(twin: Any) -> AutoFlow:
    return AutoFlow(twin.model)


class Network(nn.Module):
    """An autoregressive network: z of the step before, shape (..., images, latent), to mean and log scale."""

    def __init__(self, part: dict[str, torch.Tensor], latent: int) -> None:
        super().__init__()
        own = masks(latent, part["biases"].shape[-1])
        slope, inward, outward = (torch.as_tensor(mask, dtype=part["shift"].dtype) for mask in own)
        self.slope, self.inward = slope * part["slope"], inward * part["inward"]
        self.mean, self.stretch = outward * part["mean"], outward * part["stretch"]
        self.biases, self.shift, self.level = part["biases"], part["shift"], part["level"]
        self.growth = slope * part["growth"] if "growth" in part else None
        self.permutation = range(latent)

    def forward(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        units = torch.tanh(times(z, self.inward) + self.biases)
        mean = times(z, self.slope) + times(units, self.mean) + self.shift
        log_scale = times(units, self.stretch) + self.level
        return mean, log_scale if self.growth is None else log_scale + times(z, self.growth)


def step(part: dict[str, torch.Tensor], latent: int, number: int, clip: tuple[float, float]) -> list[Transform]:
    """The step's transforms: every second one takes the elements from the last to the first."""
    transform = AffineAutoregressive(Network(part, latent), *clip)
    backwards = Permute(torch.arange(latent).flip(0))
    return [backwards, transform, backwards] if number % 2 else [transform]


def times(vectors: torch.Tensor, matrices: torch.Tensor) -> torch.Tensor:
    """Each row's vector, shape (..., images, m), times its matrix, shape (images, m, n)."""
    return (vectors.unsqueeze(-2) @ matrices).squeeze(-2)


def local_posterior(row: torch.Tensor, latent: int) -> dist.Distribution:
    location, log_scale, parts = steps(row, latent)
    transforms = [transform for number, part in enumerate(parts) for transform in step(part, latent, number, CLIP)]
    return dist.TransformedDistribution(dist.Normal(location, torch.exp(log_scale)).to_event(1), transforms)


IMPLEMENTATION = Implementation(guide, sites_named(), local_posterior, is_forward=True)
