"""The flow in Pyro: the library's AffineAutoregressive, with networks whose weights are given."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from pyro.distributions.transforms import AffineAutoregressive, Permute
from torch import nn
from torch.distributions import Transform

from guides.contract import Implementation
from guides.flow import masks, steps


class Network(nn.Module):
    """An autoregressive network: z of the step before, shape (..., images, latent), to mean and log scale."""

    def __init__(self, part: dict[str, torch.Tensor], latent: int) -> None:
        super().__init__()
        slope, inward, outward = (torch.as_tensor(mask, dtype=part["shift"].dtype) for mask in masks(latent))
        self.slope, self.inward = slope * part["slope"], inward * part["inward"]
        self.mean, self.stretch = outward * part["mean"], outward * part["stretch"]
        self.biases, self.shift, self.level = part["biases"], part["shift"], part["level"]
        self.permutation = range(latent)

    def forward(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        units = torch.tanh(times(z, self.inward) + self.biases)
        mean = times(z, self.slope) + times(units, self.mean) + self.shift
        return mean, times(units, self.stretch) + self.level


def times(vectors: torch.Tensor, matrices: torch.Tensor) -> torch.Tensor:
    """Each row's vector, shape (..., images, m), times its matrix, shape (images, m, n)."""
    return (vectors.unsqueeze(-2) @ matrices).squeeze(-2)


def local_posterior(row: torch.Tensor, latent: int) -> dist.Distribution:
    location, log_scale, parts = steps(row, latent)
    backwards = Permute(torch.arange(latent).flip(0))
    transforms: list[Transform] = []
    for number, part in enumerate(parts):
        step = AffineAutoregressive(Network(part, latent))
        transforms += [backwards, step, backwards] if number % 2 else [step]
    return dist.TransformedDistribution(dist.Normal(location, torch.exp(log_scale)).to_event(1), transforms)


IMPLEMENTATION = Implementation(local_posterior=local_posterior)
