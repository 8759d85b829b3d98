"""Full rank in NumPyro: the library's own AutoMultivariateNormal."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.infer.autoguide import AutoMultivariateNormal

from guides.full_rank.member import shapes
from guides.layout import split


def guide(twin):
    return AutoMultivariateNormal(twin.model)


def sites(parameters):
    """The guide's param sites for the family's parameters."""
    return {"auto_loc": parameters["location"], "auto_scale_tril": parameters["scale_tril"]}


def parameters(sites):
    """The family's parameters from the guide's param sites."""
    return {"location": sites["auto_loc"], "scale_tril": sites["auto_scale_tril"]}


def member(row, latent):
    """q(z) of an encoder's guide, from rows of parameters (`guides.full_rank.member`)."""
    part = split(row, shapes(latent))
    rows, columns = np.tril_indices(latent, -1)
    below = jnp.zeros((*row.shape[:-1], latent, latent), row.dtype).at[..., rows, columns].set(part["below"])
    scale = jnp.exp(part["log_scale"])[..., None] * jnp.eye(latent, dtype=row.dtype)
    return dist.MultivariateNormal(part["location"], scale_tril=below + scale)
