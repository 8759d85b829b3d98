"""What a NumPyro user would write: `SVI.run` with Adam, and `MCMC(NUTS(model))`, in float64."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jax.flatten_util import ravel_pytree
from numpyro.infer import MCMC, NUTS, SVI, Trace_ELBO

import guides

__all__ = ["Nuts", "Svi"]

numpyro.enable_x64()


def bound(module, arguments):
    """The functions of a twin's file with its plain arguments filled in, and the arrays among the arguments."""
    arrays = {
        name: jnp.asarray(value) for name, value in arguments.items() if isinstance(value, np.ndarray | np.generic)
    }
    static = {name: value for name, value in arguments.items() if name not in arrays}
    functions = {name: f for name, f in vars(module).items() if callable(f)}
    return SimpleNamespace(**{name: partial(function, **static) for name, function in functions.items()}), arrays


class Svi:
    """A guide fitted by Adam; one object, as a user would keep it, for all seeds (each of its runs compiles anew)."""

    def __init__(self, module, family, arguments, steps, learning_rate=0.01):
        twin, self.data = bound(module, arguments)
        self.family, self.steps = guides.load(family, "numpyro"), steps
        self.svi = SVI(twin.model, self.family.guide(twin), numpyro.optim.Adam(learning_rate), Trace_ELBO())

    def warm_up(self, seed):
        """What a first fit leaves behind for the next."""
        self.fit(seed)

    def fit(self, seed):
        """The family's parameters after all steps."""
        result = self.svi.run(jax.random.key(seed), self.steps, **self.data, progress_bar=False)
        if hasattr(self.family, "parameters"):
            parameters = self.family.parameters(result.params)
        else:
            parameters = {"flat": ravel_pytree(self.svi.optim.get_params(result.state.optim_state))[0]}
        return {name: np.asarray(value) for name, value in parameters.items()}


class Nuts:
    """Four vectorised chains; one object, as a user would keep it (each of its runs still compiles anew)."""

    def __init__(self, module, arguments, warmup=500, draws=1000, chains=4):
        twin, self.data = bound(module, arguments)
        self.mcmc = MCMC(
            NUTS(twin.model),
            num_warmup=warmup,
            num_samples=draws,
            num_chains=chains,
            chain_method="vectorized",
            progress_bar=False,
        )

    def warm_up(self, seed):
        """What a first run leaves behind for the next."""
        self.sample(seed)

    def sample(self, seed):
        """The draws by site, each of shape (chain, draw, *site)."""
        self.mcmc.run(jax.random.key(seed), **self.data)
        return {name: np.asarray(value) for name, value in self.mcmc.get_samples(group_by_chain=True).items()}
