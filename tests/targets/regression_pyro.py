import pyro
import pyro.distributions as dist


def model(predictors, response):
    """A regression on predictors as they come, with very wide priors and unknown noise."""
    weights = pyro.sample("weights", dist.Normal(0.0, 1e4).expand([predictors.shape[-1]]).to_event(1))
    intercept = pyro.sample("intercept", dist.Normal(0.0, 1e4))
    noise = pyro.sample("noise", dist.LogNormal(0.0, 5.0))
    mean = weights @ predictors.T + intercept[..., None]
    pyro.sample("response", dist.Normal(mean, noise[..., None]).to_event(1), obs=response)
