import pyro
import pyro.distributions as dist


def model(features, response):
    """A linear regression with standard normal priors and known noise."""
    weights = pyro.sample("weights", dist.Normal(0.0, 1.0).expand([features.shape[-1]]).to_event(1))
    intercept = pyro.sample("intercept", dist.Normal(0.0, 1.0))
    mean = weights @ features.T + intercept[..., None]
    pyro.sample("response", dist.Normal(mean, 0.7).to_event(1), obs=response)
