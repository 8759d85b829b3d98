"""Mean field in NumPyro: the library's own AutoDiagonalNormal."""

from numpyro.infer.autoguide import AutoDiagonalNormal


def guide(twin):
    return AutoDiagonalNormal(twin.model)


def sites(parameters):
    """The guide's param sites for the family's parameters."""
    return {"auto_loc": parameters["location"], "auto_scale": parameters["scale"]}


def parameters(sites):
    """The family's parameters from the guide's param sites."""
    return {"location": sites["auto_loc"], "scale": sites["auto_scale"]}
