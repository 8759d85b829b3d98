"""What the zoo's own autoguides in NumPyro have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro import handlers
from numpyro.infer.autoguide import AutoContinuous
from numpyro.infer.initialization import init_to_uniform


class AutoScaled(AutoContinuous):
    """A guide over the entire latent space; ``init_scale`` is the sd that every latent starts with."""

    def __init__(
        self,
        model: Callable[..., Any],
        *,
        prefix: str = "auto",
        init_loc_fn: Callable[..., Any] = init_to_uniform,
        init_scale: float = 0.1,
    ) -> None:
        if init_scale <= 0:
            raise ValueError(f"Expected init_scale > 0. but got {init_scale}")
        self._init_scale = init_scale
        super().__init__(model, prefix=prefix, init_loc_fn=init_loc_fn)


class AutoGaussian(AutoScaled):
    """A Gaussian over the entire latent space."""

    def get_posterior(self, params: dict[str, Any]) -> dist.Distribution:
        return handlers.substitute(self._get_posterior, params)()

    def median(self, params: dict[str, Any]) -> dict[str, Any]:
        return self._unpack_and_constrain(self.get_posterior(params).mean, params)

    def quantiles(self, params: dict[str, Any], quantiles: Any) -> dict[str, Any]:
        posterior = self.get_posterior(params)
        marginals = dist.Normal(posterior.mean, jnp.sqrt(posterior.variance))
        return self._unpack_and_constrain(marginals.icdf(jnp.array(quantiles)[..., None]), params)
