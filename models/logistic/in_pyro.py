"""Logistic regression in Pyro."""

import pyro
import pyro.distributions as dist


def model(inputs, targets=None, prior_sd=2.5):
    """targets ~ Bernoulli(logits = inputs @ weights + intercept). Without targets, the prior predictive."""
    intercept = pyro.sample("intercept", dist.Normal(0.0, prior_sd))
    weights = pyro.sample("weights", dist.Normal(0.0, prior_sd).expand([inputs.shape[-1]]).to_event(1))
    with pyro.plate("data", len(inputs)):
        pyro.sample("targets", dist.Bernoulli(logits=inputs @ weights + intercept), obs=targets)
