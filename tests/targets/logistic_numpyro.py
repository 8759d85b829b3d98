import numpyro
import numpyro.distributions as dist


def model(features, malignant):
    """A logistic regression with standard normal priors."""
    weights = numpyro.sample("weights", dist.Normal(0.0, 1.0).expand([features.shape[-1]]).to_event(1))
    intercept = numpyro.sample("intercept", dist.Normal(0.0, 1.0))
    logits = weights @ features.T + intercept[..., None]
    numpyro.sample("malignant", dist.Bernoulli(logits=logits).to_event(1), obs=malignant)
