"""Latent Dirichlet allocation in Pyro."""

import pyro
import pyro.distributions as dist
import torch


def model(counts, alpha, beta):
    """topics[k] ~ Dirichlet(beta), theta[d] ~ Dirichlet(alpha), words of document d ~ Categorical(theta[d] @ topics).

    The topic of each word is summed out. ``counts[d, v]`` says how often document d has word v, whatever their order.
    """
    with pyro.plate("topic", len(alpha)):
        topics = pyro.sample("topics", dist.Dirichlet(beta))
    with pyro.plate("document", len(counts)):
        theta = pyro.sample("theta", dist.Dirichlet(alpha))
        pyro.factor("words", torch.xlogy(counts, theta @ topics).sum(-1))
