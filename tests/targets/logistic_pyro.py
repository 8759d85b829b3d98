import pyro
import pyro.distributions as dist


def model(features, malignant):
    """A logistic regression with standard normal priors."""
    weights = pyro.sample("weights", dist.Normal(0.0, 1.0).expand([features.shape[-1]]).to_event(1))
    intercept = pyro.sample("intercept", dist.Normal(0.0, 1.0))
    logits = weights @ features.T + intercept[..., None]
    pyro.sample("malignant", dist.Bernoulli(logits=logits).to_event(1), obs=malignant)
