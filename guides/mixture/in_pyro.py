"""The mixture in Pyro: the library's MixtureSameFamily of independent normals."""

from __future__ import annotations

import pyro.distributions as dist
import torch

from guides.contract import Implementation
from guides.mixture import LOCAL_POSTERIOR


def local_posterior(row: torch.Tensor, latent: int) -> dist.Distribution:
    part = LOCAL_POSTERIOR.split(row, latent)
    components = dist.Normal(part["location"], torch.exp(part["log_scale"])).to_event(1)
    return dist.MixtureSameFamily(dist.Categorical(logits=part["logits"]), components)


IMPLEMENTATION = Implementation(local_posterior=local_posterior)
