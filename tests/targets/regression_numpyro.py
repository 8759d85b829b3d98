import numpyro
import numpyro.distributions as dist


def model(predictors, response):
    """A regression on predictors as they come, with very wide priors and unknown noise."""
    weights = numpyro.sample("weights", dist.Normal(0.0, 1e4).expand([predictors.shape[-1]]).to_event(1))
    intercept = numpyro.sample("intercept", dist.Normal(0.0, 1e4))
    noise = numpyro.sample("noise", dist.LogNormal(0.0, 5.0))
    mean = weights @ predictors.T + intercept[..., None]
    numpyro.sample("response", dist.Normal(mean, noise[..., None]).to_event(1), obs=response)
