"""Mean field in Pyro: the library's own AutoDiagonalNormal."""

import pyro.distributions as dist
import torch
from pyro.infer.autoguide import AutoDiagonalNormal

from guides.layout import split
from guides.mean_field.member import shapes


def guide(twin):
    return AutoDiagonalNormal(twin.model)


def sites(parameters):
    """The guide's param sites for the family's parameters."""
    return {"loc": parameters["location"], "scale": parameters["scale"]}


def parameters(sites):
    """The family's parameters from the guide's param sites."""
    return {"location": sites["loc"], "scale": sites["scale"]}


def member(row, latent):
    """q(z) of an encoder's guide, from rows of parameters (`guides.mean_field.member`)."""
    part = split(row, shapes(latent))
    return dist.Normal(part["location"], torch.exp(part["log_scale"])).to_event(1)
