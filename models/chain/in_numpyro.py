"""The Gaussian chain in NumPyro."""

import numpyro
import numpyro.distributions as dist


def model(length, x=None, observe_all=False):
    """z_1 ~ N(0, 1), z_k ~ N(z_{k-1}, 1); x ~ N(z, 1) at the last node or at all. Without x, the prior predictive."""
    z = numpyro.sample("z", dist.GaussianRandomWalk(1.0, num_steps=length))
    seen = z if observe_all else z[..., -1:]
    numpyro.sample("x", dist.Normal(seen, 1.0).to_event(1), obs=x)
