"""The hypernetwork in Pyro: a factorised normal with its means and scales from a network."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pyro.distributions as dist
import torch
from pyro.infer.autoguide import AutoContinuous
from pyro.infer.autoguide.initialization import init_to_median
from torch import nn

from guides.contract import Implementation, sites_named
from guides.hypernetwork import EMBEDDING, HIDDEN, SPREAD


class AutoHypernetwork(AutoContinuous):
    """Independent normals over the entire latent space; one network makes their means and scales from embeddings.

    Embeddings and weights start random, of such a size that means start of order 1 and standard deviations of order
    ``init_scale``.
    """

    def __init__(
        self,
        model: Callable[..., Any],
        embedding: int = EMBEDDING,
        hidden: int = HIDDEN,
        init_loc_fn: Callable[..., Any] = init_to_median,
        init_scale: float = 0.1,
    ) -> None:
        if not init_scale > 0:
            raise ValueError(f"Expected init_scale > 0. but got {init_scale}")
        self._embedding, self._hidden, self._init_scale = embedding, hidden, init_scale
        super().__init__(model, init_loc_fn=init_loc_fn)

    def _setup_prototype(self, *args: Any, **kwargs: Any) -> None:
        super()._setup_prototype(*args, **kwargs)
        embedding, hidden = self._embedding, self._hidden
        self.embeddings = nn.Parameter(torch.randn(self.latent_dim, embedding))
        self.hidden_weights = nn.Parameter(embedding**-0.5 * torch.randn(embedding, hidden))
        self.hidden_biases = nn.Parameter(torch.zeros(hidden))
        self.output_weights = nn.Parameter(hidden**-0.5 * torch.tensor(SPREAD) * torch.randn(hidden, 2))
        self.output_biases = nn.Parameter(torch.tensor([0.0, math.log(self._init_scale)]))

    def get_posterior(self, *args: Any, **kwargs: Any) -> Any:
        units = torch.tanh(self.embeddings @ self.hidden_weights + self.hidden_biases)
        mean, log_scale = (units @ self.output_weights + self.output_biases).unbind(-1)
        return dist.Normal(mean, log_scale.exp()).to_event(1)

    def _loc_scale(self, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        posterior = self.get_posterior()
        return posterior.mean, posterior.stddev


def guide(twin: Any) -> AutoHypernetwork:
    return AutoHypernetwork(twin.model)


IMPLEMENTATION = Implementation(guide, sites_named())
