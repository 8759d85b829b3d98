"""What the zoo's own autoguides in Pyro have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from pyro.infer.autoguide import AutoContinuous
from pyro.infer.autoguide.initialization import init_to_median


class AutoScaled(AutoContinuous):
    """A guide over the entire latent space; ``init_scale`` is the sd that every latent starts with."""

    def __init__(
        self, model: Callable[..., Any], init_loc_fn: Callable[..., Any] = init_to_median, init_scale: float = 0.1
    ) -> None:
        if not init_scale > 0:
            raise ValueError(f"Expected init_scale > 0. but got {init_scale}")
        self._init_scale = init_scale
        super().__init__(model, init_loc_fn=init_loc_fn)


class AutoGaussian(AutoScaled):
    """A Gaussian over the entire latent space."""

    def _loc_scale(self, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        posterior = self.get_posterior()
        return posterior.mean, posterior.variance.sqrt()
