"""The hypernetwork in Pyro: a factorised normal with its means and scales from a network."""

from __future__ import annotations

import math
from typing import Any

import pyro.distributions as dist
import torch
from torch import nn

from guides.autoguide_pyro import AutoGaussian
from guides.contract import Implementation, sites_named
from guides.hypernetwork import EMBEDDING, HIDDEN, SPREAD


class AutoHypernetwork(AutoGaussian):
    """Independent normals over the entire latent space; one network makes their means and scales from embeddings.

    Embeddings and weights start random, of such a size that means start of order 1 and standard deviations of order
    ``init_scale``.
    """

    def _setup_prototype(self, *args: Any, **kwargs: Any) -> None:
        super()._setup_prototype(*args, **kwargs)
        self.embeddings = nn.Parameter(torch.randn(self.latent_dim, EMBEDDING))
        self.hidden_weights = nn.Parameter(EMBEDDING**-0.5 * torch.randn(EMBEDDING, HIDDEN))
        self.hidden_biases = nn.Parameter(torch.zeros(HIDDEN))
        self.output_weights = nn.Parameter(HIDDEN**-0.5 * torch.tensor(SPREAD) * torch.randn(HIDDEN, 2))
        self.output_biases = nn.Parameter(torch.tensor([0.0, math.log(self._init_scale)]))

    def get_posterior(self, *args: Any, **kwargs: Any) -> Any:
        units = torch.tanh(self.embeddings @ self.hidden_weights + self.hidden_biases)
        mean, log_scale = (units @ self.output_weights + self.output_biases).unbind(-1)
        return dist.Normal(mean, log_scale.exp()).to_event(1)


def guide(twin: Any) -> AutoHypernetwork:
    return AutoHypernetwork(twin.model)


IMPLEMENTATION = Implementation(guide, sites_named())
