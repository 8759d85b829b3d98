"""What a NumPyro user would write: `SVI.run` with Adam, and `MCMC(NUTS(model))`, in float64."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jax.flatten_util import ravel_pytree
from numpyro.infer import MCMC, NUTS, SVI, Trace_ELBO

import guides
from compare.bench.baseline import bind

numpyro.enable_x64()


class Svi:
    """A guide fitted by Adam; one object, as a user would keep it, for all seeds (each of its runs compiles anew)."""

    def __init__(
        self, module: ModuleType, family: str, arguments: Mapping[str, Any], steps: int, learning_rate: float = 0.01
    ) -> None:
        twin, self.data = bind(module, arguments, jnp.asarray)
        self.family, self.steps = guides.implementation(family, "numpyro"), steps
        assert self.family.guide is not None  # the benchmark runs on no model with encoders
        self.svi = SVI(twin.model, self.family.guide(twin), numpyro.optim.Adam(learning_rate), Trace_ELBO())

    def warm_up(self, seed: int) -> None:
        """Leave behind what a first fit does for the next."""
        self.fit(seed)

    def fit(self, seed: int) -> dict[str, np.ndarray]:
        """The family's parameters after all steps."""
        result = self.svi.run(jax.random.key(seed), self.steps, **self.data, progress_bar=False)
        if self.family.sites is not None:
            parameters = self.family.sites.to_parameters(result.params)
        else:
            parameters = {"flat": ravel_pytree(self.svi.optim.get_params(result.state.optim_state))[0]}
        return {name: np.asarray(value) for name, value in parameters.items()}


class Nuts:
    """Four vectorised chains of 500 + 1,000; one object, as a user would keep it (each of its runs compiles anew)."""

    def __init__(self, module: ModuleType, arguments: Mapping[str, Any]) -> None:
        twin, self.data = bind(module, arguments, jnp.asarray)
        settings: dict[str, Any] = {"num_warmup": 500, "num_samples": 1000, "num_chains": 4}
        self.mcmc = MCMC(NUTS(twin.model), **settings, chain_method="vectorized", progress_bar=False)

    def warm_up(self, seed: int) -> None:
        """Leave behind what a first run does for the next."""
        self.fit(seed)

    def fit(self, seed: int) -> dict[str, np.ndarray]:
        """The draws by site, each of shape (chain, draw, *site)."""
        self.mcmc.run(jax.random.key(seed), **self.data)
        return {name: np.asarray(value) for name, value in self.mcmc.get_samples(group_by_chain=True).items()}
