"""Linear regression in NumPyro."""

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist


def noise_sd(prior, noise, shape, rate, scale):
    """The noise's sd: known, or drawn from its prior."""
    if prior == "known":
        return noise
    if prior == "conjugate":
        return jnp.sqrt(numpyro.sample("variance", dist.InverseGamma(shape, rate)))
    return numpyro.sample("sigma", dist.Uniform(0, scale) if prior == "uniform" else dist.HalfNormal(scale))


def model(
    inputs, targets=None, prior="known", noise=0.1, shape=1.0, rate=1.0, scale=10.0, prior_sd=1.0, intercept_sd=1.0
):
    """targets ~ N(inputs @ weights + intercept, sigma). Without targets, the prior predictive.

    The conjugate prior's sds are in units of sigma.
    """
    sigma = noise_sd(prior, noise, shape, rate, scale)
    unit = sigma if prior == "conjugate" else 1.0
    intercept = numpyro.sample("intercept", dist.Normal(0, intercept_sd * unit))
    weights = numpyro.sample("weights", dist.Normal(0, prior_sd * unit).expand([inputs.shape[-1]]).to_event(1))
    with numpyro.plate("data", len(inputs)):
        numpyro.sample("targets", dist.Normal(inputs @ weights + intercept, sigma), obs=targets)
