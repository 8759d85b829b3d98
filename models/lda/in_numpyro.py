"""Latent Dirichlet allocation in NumPyro."""

import numpyro
import numpyro.distributions as dist
from jax.scipy.special import xlogy


def model(counts, alpha, beta):
    """topics[k] ~ Dirichlet(beta), theta[d] ~ Dirichlet(alpha), words of document d ~ Categorical(theta[d] @ topics).

    The topic of each word is summed out. ``counts[d, v]`` says how often document d has word v, whatever their order.
    """
    with numpyro.plate("topic", len(alpha)):
        topics = numpyro.sample("topics", dist.Dirichlet(beta))
    with numpyro.plate("document", len(counts)):
        theta = numpyro.sample("theta", dist.Dirichlet(alpha))
        numpyro.factor("words", xlogy(counts, theta @ topics).sum(-1))
