"""The Gaussian mixture in NumPyro, the assignments summed out, here or by the library."""

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist


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
    weights = jnp.ones(1)
    if components > 1:
        weights = numpyro.sample("weights", dist.Dirichlet(concentration * jnp.ones(components)))
    locations = numpyro.sample("locations", dist.Normal(location_mean, location_sd).expand([components]).to_event(1))
    if variance_shape is not None:
        prior = dist.InverseGamma(variance_shape, variance_rate)
        variances = numpyro.sample("variances", prior.expand([components]).to_event(1))
        scale = jnp.sqrt(variances)
    elif scale is None:
        scale = numpyro.sample("scale", dist.LogNormal(jnp.log(scale_median), scale_sd))
    with numpyro.plate("data", len(values)):
        if assignments == "kept" and components > 1:
            k = numpyro.sample("assignments", dist.Categorical(weights), infer={"enumerate": "parallel"})
            numpyro.sample("values", dist.Normal(locations[k], jnp.broadcast_to(scale, (components,))[k]), obs=values)
        else:
            assignment, component = dist.Categorical(weights), dist.Normal(locations, scale)
            numpyro.sample("values", dist.MixtureSameFamily(assignment, component), obs=values)
