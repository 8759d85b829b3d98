"""Logistic regression in NumPyro."""

import numpyro
import numpyro.distributions as dist


def model(inputs, targets=None, prior_sd=2.5):
    """targets ~ Bernoulli(logits = inputs @ weights + intercept). Without targets, the prior predictive."""
    intercept = numpyro.sample("intercept", dist.Normal(0, prior_sd))
    weights = numpyro.sample("weights", dist.Normal(0, prior_sd).expand([inputs.shape[-1]]).to_event(1))
    with numpyro.plate("data", len(inputs)):
        numpyro.sample("targets", dist.Bernoulli(logits=inputs @ weights + intercept), obs=targets)
