"""The mixture in NumPyro: the library's MixtureSameFamily of independent normals."""

import jax.numpy as jnp
import numpyro.distributions as dist

from guides.layout import split
from guides.mixture.member import shapes


def member(row, latent):
    """q(z) of an encoder's guide, from rows of parameters (`guides.mixture.member`)."""
    part = split(row, shapes(latent))
    components = dist.Normal(part["location"], jnp.exp(part["log_scale"])).to_event(1)
    return dist.MixtureSameFamily(dist.Categorical(logits=part["logits"]), components)
