"""Gaussian process regression and classification in Pyro."""

import math

import pyro
import pyro.distributions as dist
import torch


def covariance(a, b, kernel, length, variance):
    """The kernel between inputs of shapes (n, columns) and (m, columns)."""
    r = ((a[:, None] - b) ** 2).sum(-1).sqrt() / length
    if kernel == "rbf":
        return variance * torch.exp(-0.5 * r**2)
    r = math.sqrt(5) * r  # matern52
    return variance * (1 + r + r**2 / 3) * torch.exp(-r)


def model(
    inputs,
    targets=None,
    kernel="rbf",
    length=0.3,
    variance=1.0,
    noise=0.1,
    jitter=1e-6,
    latents="whitened",
    hyperparameters="known",
    spread=0.5,
    likelihood="normal",
):
    """f ~ GP(0, kernel), targets ~ N(f(inputs), noise) or Bernoulli(logits=f(inputs)).

    Without targets, the prior predictive.
    """
    if hyperparameters == "unknown":
        length = pyro.sample("length", dist.LogNormal(torch.as_tensor(length).log(), spread))
        if likelihood == "normal":
            noise = pyro.sample("noise", dist.LogNormal(torch.as_tensor(noise).log(), spread))
    n = len(inputs)
    eye = torch.eye(n, dtype=inputs.dtype)
    factor = torch.linalg.cholesky(covariance(inputs, inputs, kernel, length, variance) + variance * jitter * eye)
    if latents == "whitened":
        u = pyro.sample("u", dist.Normal(0.0, 1.0).expand([n]).to_event(1))
        f = pyro.deterministic("f", factor @ u)
    else:
        f = pyro.sample("f", dist.MultivariateNormal(torch.zeros(n, dtype=inputs.dtype), scale_tril=factor))
    with pyro.plate("data", n):
        pyro.sample(
            "targets", dist.Normal(f, noise) if likelihood == "normal" else dist.Bernoulli(logits=f), obs=targets
        )
