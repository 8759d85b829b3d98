"""What a Pyro user would write: `svi.step` in a loop with Adam, and `MCMC(NUTS(model))`, in float64.

The library's checks of arguments are off, as they are in the zoo's own fits.
"""

from __future__ import annotations

import warnings
from functools import partial
from types import SimpleNamespace

import numpy as np
import pyro
import torch
from pyro.infer import MCMC, NUTS, SVI, Trace_ELBO

import guides

__all__ = ["Nuts", "Svi"]

torch.set_default_dtype(torch.float64)


def bound(module, arguments):
    """The functions of a twin's file with its plain arguments filled in, and the tensors among the arguments."""
    tensors = {
        name: torch.tensor(value) for name, value in arguments.items() if isinstance(value, np.ndarray | np.generic)
    }
    static = {name: value for name, value in arguments.items() if name not in tensors}
    functions = {name: f for name, f in vars(module).items() if callable(f)}
    return SimpleNamespace(**{name: partial(function, **static) for name, function in functions.items()}), tensors


class Svi:
    """A guide fitted by Adam."""

    def __init__(self, module, family, arguments, steps, learning_rate=0.01):
        self.twin, self.data = bound(module, arguments)
        self.family, self.steps, self.learning_rate = guides.load(family, "pyro"), steps, learning_rate

    def warm_up(self, seed):
        """What a first fit leaves behind for the next: imports and pools, which a few steps make as well."""
        self.fit(seed, steps=min(self.steps, 50))

    def fit(self, seed, steps=None):
        """The family's parameters after all steps."""
        pyro.clear_param_store()
        pyro.set_rng_seed(seed)
        svi = SVI(
            self.twin.model, self.family.guide(self.twin), pyro.optim.Adam({"lr": self.learning_rate}), Trace_ELBO()
        )
        with pyro.validation_enabled(False):
            for _ in range(steps or self.steps):
                svi.step(**self.data)
        store = pyro.get_param_store()
        if hasattr(self.family, "parameters"):
            sites = {name.rpartition(".")[2]: value.detach() for name, value in store.items()}
            parameters = self.family.parameters(sites)
        else:
            parameters = {"flat": torch.cat([value.detach().reshape(-1) for _, value in store.named_parameters()])}
        return {name: value.numpy().copy() for name, value in parameters.items()}


class Nuts:
    """Four chains, side by side or one after another as the library decides."""

    def __init__(self, module, arguments, warmup=500, draws=1000, chains=4):
        twin, self.data = bound(module, arguments)
        self.model, self.warmup, self.draws, self.chains = twin.model, warmup, draws, chains

    def warm_up(self, seed):
        """Nothing: a run leaves nothing behind for the next."""

    def sample(self, seed):
        """The draws by site, each of shape (chain, draw, *site)."""
        pyro.clear_param_store()
        pyro.set_rng_seed(seed)
        with pyro.validation_enabled(False), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mcmc = MCMC(
                NUTS(self.model),
                num_samples=self.draws,
                warmup_steps=self.warmup,
                num_chains=self.chains,
                disable_progbar=True,
            )
            mcmc.run(**self.data)
        return {name: value.numpy() for name, value in mcmc.get_samples(group_by_chain=True).items()}
