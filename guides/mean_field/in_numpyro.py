"""Mean field in NumPyro: the library's own AutoDiagonalNormal."""

import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro.infer.autoguide import AutoDiagonalNormal

from guides.layout import split
from guides.mean_field.member import shapes


def guide(twin):
    return AutoDiagonalNormal(twin.model)


def sites(parameters):
    """The guide's param sites for the family's parameters."""
    return {"auto_loc": parameters["location"], "auto_scale": parameters["scale"]}


def parameters(sites):
    """The family's parameters from the guide's param sites."""
    return {"location": sites["auto_loc"], "scale": sites["auto_scale"]}


def member(row, latent):
    """q(z) of an encoder's guide, from rows of parameters (`guides.mean_field.member`)."""
    part = split(row, shapes(latent))
    return dist.Normal(part["location"], jnp.exp(part["log_scale"])).to_event(1)
