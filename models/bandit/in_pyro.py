"""Bernoulli arms in Pyro, and the guide that their conjugate prior suggests."""

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions import constraints


def model(pulls, alpha, beta, successes=None):
    """theta[k] ~ Beta(alpha, beta), successes[k] ~ Binomial(pulls[k], theta[k]). Without successes, the prior's."""
    with pyro.plate("arms", len(pulls)):
        theta = pyro.sample("theta", dist.Beta(alpha, beta))
        pyro.sample("successes", dist.Binomial(pulls, theta), obs=successes)


def conjugate(pulls, alpha, beta, successes=None):
    """q(theta[k]) = Beta(alpha_q[k], beta_q[k]): the family that holds the exact posterior."""
    alpha_q = pyro.param("alpha_q", torch.ones(len(pulls)), constraint=constraints.positive)
    beta_q = pyro.param("beta_q", torch.ones(len(pulls)), constraint=constraints.positive)
    with pyro.plate("arms", len(pulls)):
        pyro.sample("theta", dist.Beta(alpha_q, beta_q))
