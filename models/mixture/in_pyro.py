"""The Gaussian mixture in Pyro, the assignments summed out, here or by the library."""

import pyro
import pyro.distributions as dist
import torch
from pyro.ops.indexing import Vindex


def model(
    values,
    components=2,
    concentration=1.0,
    location_mean=0.0,
    location_sd=10.0,
    scale=None,
    scale_median=1.0,
    scale_sd=2.0,
    variance_shape=None,
    variance_rate=1.0,
    assignments="summed",
):
    """values ~ sum_k weights_k N(locations_k, scale). Without a scale it is unknown, with a log-normal prior; with a
    ``variance_shape`` each component has its own, scale^2 ~ InverseGamma(variance_shape, variance_rate). With
    ``assignments`` "kept" each value's component is a latent, which the library's enumeration can sum out."""
    weights = torch.ones(1)
    if components > 1:
        weights = pyro.sample("weights", dist.Dirichlet(concentration * torch.ones(components)))
    locations = pyro.sample("locations", dist.Normal(location_mean, location_sd).expand([components]).to_event(1))
    if variance_shape is not None:
        prior = dist.InverseGamma(variance_shape, variance_rate)
        variances = pyro.sample("variances", prior.expand([components]).to_event(1))
        scale = variances.sqrt()
    elif scale is None:
        scale = pyro.sample("scale", dist.LogNormal(torch.as_tensor(scale_median).log(), scale_sd)).unsqueeze(-1)
    with pyro.plate("data", len(values)):
        if assignments == "kept" and components > 1:
            k = pyro.sample("assignments", dist.Categorical(weights), infer={"enumerate": "parallel"})
            scales = torch.as_tensor(scale).expand(locations.shape)
            pyro.sample("values", dist.Normal(Vindex(locations)[..., k], Vindex(scales)[..., k]), obs=values)
        else:
            assignment, component = dist.Categorical(weights), dist.Normal(locations, scale)
            pyro.sample("values", dist.MixtureSameFamily(assignment, component), obs=values)
