"""Mean field in Pyro: the library's own AutoDiagonalNormal."""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
import torch
from pyro.infer.autoguide import AutoDiagonalNormal

from guides.contract import Implementation, sites_named
from guides.mean_field import LOCAL_POSTERIOR


def guide(twin: Any) -> AutoDiagonalNormal:
    return AutoDiagonalNormal(twin.model)


def local_posterior(row: torch.Tensor, latent: int) -> dist.Distribution:
    part = LOCAL_POSTERIOR.split(row, latent)
    return dist.Normal(part["location"], torch.exp(part["log_scale"])).to_event(1)


IMPLEMENTATION = Implementation(guide, sites_named(), local_posterior)
