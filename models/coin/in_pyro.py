"""The coin in Pyro, and the guide that its conjugate prior suggests."""

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions import constraints


def model(tosses, alpha, beta, heads=None):
    """theta ~ Beta(alpha, beta), heads ~ Binomial(tosses, theta). Without heads, the prior predictive."""
    theta = pyro.sample("theta", dist.Beta(alpha, beta))
    pyro.sample("heads", dist.Binomial(tosses, theta), obs=heads)


def conjugate(tosses, alpha, beta, heads=None):
    """q(theta) = Beta(alpha_q, beta_q): the family that holds the exact posterior."""
    alpha_q = pyro.param("alpha_q", torch.tensor(1.0), constraint=constraints.positive)
    beta_q = pyro.param("beta_q", torch.tensor(1.0), constraint=constraints.positive)
    pyro.sample("theta", dist.Beta(alpha_q, beta_q))
