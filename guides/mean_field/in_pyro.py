"""Mean field in Pyro: the library's own AutoDiagonalNormal."""

from pyro.infer.autoguide import AutoDiagonalNormal


def guide(twin):
    return AutoDiagonalNormal(twin.model)


def sites(parameters):
    """The guide's param sites for the family's parameters."""
    return {"loc": parameters["location"], "scale": parameters["scale"]}


def parameters(sites):
    """The family's parameters from the guide's param sites."""
    return {"location": sites["loc"], "scale": sites["scale"]}
