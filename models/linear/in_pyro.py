"""Linear regression in Pyro."""

import pyro
import pyro.distributions as dist


def noise_sd(prior, noise, shape, rate, scale):
    """The noise's sd: known, or drawn from its prior."""
    if prior == "known":
        return noise
    if prior == "conjugate":
        return pyro.sample("variance", dist.InverseGamma(shape, rate)).sqrt()
    return pyro.sample("sigma", dist.Uniform(0.0, scale) if prior == "uniform" else dist.HalfNormal(scale))


def model(
    inputs, targets=None, prior="known", noise=0.1, shape=1.0, rate=1.0, scale=10.0, prior_sd=1.0, intercept_sd=1.0
):
    """targets ~ N(inputs @ weights + intercept, sigma). Without targets, the prior predictive.

    The conjugate prior's sds are in units of sigma.
    """
    sigma = noise_sd(prior, noise, shape, rate, scale)
    unit = sigma if prior == "conjugate" else 1.0
    intercept = pyro.sample("intercept", dist.Normal(0.0, intercept_sd * unit))
    weights = pyro.sample("weights", dist.Normal(0.0, prior_sd * unit).expand([inputs.shape[-1]]).to_event(1))
    with pyro.plate("data", len(inputs)):
        pyro.sample("targets", dist.Normal(inputs @ weights + intercept, sigma), obs=targets)
