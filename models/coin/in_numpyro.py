"""The coin in NumPyro, and the guide that its conjugate prior suggests."""

import numpyro
import numpyro.distributions as dist
from numpyro.distributions import constraints


def model(tosses, alpha, beta, heads=None):
    """theta ~ Beta(alpha, beta), heads ~ Binomial(tosses, theta). Without heads, the prior predictive."""
    theta = numpyro.sample("theta", dist.Beta(alpha, beta))
    numpyro.sample("heads", dist.Binomial(tosses, theta), obs=heads)


def conjugate(tosses, alpha, beta, heads=None):
    """q(theta) = Beta(alpha_q, beta_q): the family that holds the exact posterior."""
    alpha_q = numpyro.param("alpha_q", 1.0, constraint=constraints.positive)
    beta_q = numpyro.param("beta_q", 1.0, constraint=constraints.positive)
    numpyro.sample("theta", dist.Beta(alpha_q, beta_q))
