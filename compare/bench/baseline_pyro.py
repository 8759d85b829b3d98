"""What a Pyro user would write: `svi.step` in a loop with Adam, and `MCMC(NUTS(model))`, in float64.

The library's argument checks are off, as they are in the zoo's own fits.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
import pyro
import torch
from pyro.infer import MCMC, NUTS, SVI, Trace_ELBO

import guides
from compare.bench.baseline import bind

torch.set_default_dtype(torch.float64)


class Svi:
    """A guide fitted by Adam."""

    def __init__(
        self, module: ModuleType, family: str, arguments: Mapping[str, Any], steps: int, learning_rate: float = 0.01
    ) -> None:
        self.twin, self.data = bind(module, arguments, torch.tensor)
        self.family, self.steps, self.learning_rate = guides.implementation(family, "pyro"), steps, learning_rate

    def warm_up(self, seed: int) -> None:
        """Leave behind what a first fit does for the next: imports and pools, which a few steps bring as well."""
        self.fit(seed, steps=min(self.steps, 50))

    def fit(self, seed: int, steps: int | None = None) -> dict[str, np.ndarray]:
        """The family's parameters after all steps."""
        pyro.clear_param_store()
        pyro.set_rng_seed(seed)
        optimiser = pyro.optim.Adam({"lr": self.learning_rate})  # type: ignore[attr-defined]
        assert self.family.guide is not None  # the benchmark runs on no model with encoders
        svi = SVI(self.twin.model, self.family.guide(self.twin), optimiser, Trace_ELBO())
        with pyro.validation_enabled(False):
            for _ in range(steps or self.steps):
                svi.step(**self.data)
        store = pyro.get_param_store()
        if self.family.sites is not None:
            parameters = self.family.sites.to_parameters(
                {name.rpartition(".")[2]: value.detach() for name, value in store.items()}
            )
        else:
            parameters = {"flat": torch.cat([value.detach().reshape(-1) for _, value in store.named_parameters()])}
        return {name: value.numpy().copy() for name, value in parameters.items()}


class Nuts:
    """Four chains of 500 + 1,000, side by side or one after another as the library decides."""

    def __init__(self, module: ModuleType, arguments: Mapping[str, Any]) -> None:
        twin, self.data = bind(module, arguments, torch.tensor)
        self.model = twin.model

    def warm_up(self, seed: int) -> None:
        """Nothing: a run leaves nothing behind for the next."""

    def fit(self, seed: int) -> dict[str, np.ndarray]:
        """The draws by site, each of shape (chain, draw, *site)."""
        pyro.clear_param_store()
        pyro.set_rng_seed(seed)
        settings: dict[str, Any] = {"warmup_steps": 500, "num_samples": 1000, "num_chains": 4}
        with pyro.validation_enabled(False), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mcmc = MCMC(NUTS(self.model), **settings, disable_progbar=True)
            mcmc.run(**self.data)
        return {name: value.numpy() for name, value in mcmc.get_samples(group_by_chain=True).items()}
