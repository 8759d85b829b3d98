"""Full rank in Pyro: the library's own AutoMultivariateNormal, whose factor is scale times a unit triangle."""

from pyro.infer.autoguide import AutoMultivariateNormal


def guide(twin):
    return AutoMultivariateNormal(twin.model)


def sites(parameters):
    """The guide's param sites for the family's parameters."""
    scale = parameters["scale_tril"].diagonal()
    return {"loc": parameters["location"], "scale": scale, "scale_tril": parameters["scale_tril"] / scale[:, None]}


def parameters(sites):
    """The family's parameters from the guide's param sites."""
    return {"location": sites["loc"], "scale_tril": sites["scale"][:, None] * sites["scale_tril"]}
