"""Full rank in Pyro: the library's own AutoMultivariateNormal, whose factor is scale times a unit triangle."""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
import torch
from pyro.infer.autoguide import AutoMultivariateNormal

from guides.contract import Implementation, Sites
from guides.full_rank import LOCAL_POSTERIOR


def guide(twin: Any) -> AutoMultivariateNormal:
    return AutoMultivariateNormal(twin.model)


def sites(parameters: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    scale = parameters["scale_tril"].diagonal()
    return {"loc": parameters["location"], "scale": scale, "scale_tril": parameters["scale_tril"] / scale[:, None]}


def parameters(sites: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {"location": sites["loc"], "scale_tril": sites["scale"][:, None] * sites["scale_tril"]}


def local_posterior(row: torch.Tensor, latent: int) -> dist.Distribution:
    part = LOCAL_POSTERIOR.split(row, latent)
    scale_tril = torch.diag_embed(torch.exp(part["log_scale"]))
    rows, columns = torch.tril_indices(latent, latent, -1)
    scale_tril[..., rows, columns] = part["below"]
    return dist.MultivariateNormal(part["location"], scale_tril=scale_tril)


IMPLEMENTATION = Implementation(guide, Sites(sites, parameters), local_posterior)
