"""Full rank in NumPyro: the library's own AutoMultivariateNormal."""

from numpyro.infer.autoguide import AutoMultivariateNormal


def guide(twin):
    return AutoMultivariateNormal(twin.model)


def sites(parameters):
    """The guide's param sites for the family's parameters."""
    return {"auto_loc": parameters["location"], "auto_scale_tril": parameters["scale_tril"]}


def parameters(sites):
    """The family's parameters from the guide's param sites."""
    return {"location": sites["auto_loc"], "scale_tril": sites["auto_scale_tril"]}
