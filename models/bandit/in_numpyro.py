"""Bernoulli arms in NumPyro, and the guide that their conjugate prior suggests."""

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from numpyro.distributions import constraints


def model(pulls, alpha, beta, successes=None):
    """theta[k] ~ Beta(alpha, beta), successes[k] ~ Binomial(pulls[k], theta[k]). Without successes, the prior's."""
    with numpyro.plate("arms", len(pulls)):
        theta = numpyro.sample("theta", dist.Beta(alpha, beta))
        numpyro.sample("successes", dist.Binomial(pulls, theta), obs=successes)


def conjugate(pulls, alpha, beta, successes=None):
    """q(theta[k]) = Beta(alpha_q[k], beta_q[k]): the family that holds the exact posterior."""
    alpha_q = numpyro.param("alpha_q", jnp.ones(len(pulls)), constraint=constraints.positive)
    beta_q = numpyro.param("beta_q", jnp.ones(len(pulls)), constraint=constraints.positive)
    with numpyro.plate("arms", len(pulls)):
        numpyro.sample("theta", dist.Beta(alpha_q, beta_q))
