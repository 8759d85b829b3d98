"""The library's plain call, for the tests to hold references against."""

import jax
import numpy as np
from numpyro.infer import MCMC, NUTS


def nuts(model, data, warmup, draws, seed=7):
    """Draws of four chains, each site of shape (4, draws, *site); discrete sites are summed out by the library."""
    kernel = NUTS(model, target_accept_prob=0.95)
    run = MCMC(
        kernel, num_warmup=warmup, num_samples=draws, num_chains=4, chain_method="vectorized", progress_bar=False
    )
    run.run(jax.random.key(seed), **data)
    return {name: np.asarray(value) for name, value in run.get_samples(group_by_chain=True).items()}
