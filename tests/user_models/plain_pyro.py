"""The library's plain call, for the tests to hold references against."""

import numpy as np
import pyro
import torch
from pyro.infer import MCMC, NUTS


def nuts(model, data, warmup, draws, seed=7):
    """Draws of two chains, each site of shape (2, draws, *site); discrete sites are summed out by the library."""
    data = {name: torch.as_tensor(value) if isinstance(value, np.ndarray) else value for name, value in data.items()}
    chains = []
    for chain in range(2):
        pyro.set_rng_seed(seed + chain)
        kernel = NUTS(model, target_accept_prob=0.9, jit_compile=True, ignore_jit_warnings=True)
        run = MCMC(kernel, num_samples=draws, warmup_steps=warmup, disable_progbar=True)
        run.run(**data)
        chains.append(run.get_samples())
    return {name: np.stack([chain[name].numpy() for chain in chains]) for name in chains[0]}
