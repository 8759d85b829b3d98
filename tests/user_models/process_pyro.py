"""Gaussian process regression: a squared-exponential kernel, its length, its height and the noise unknown."""

import numpy as np
import pyro
import pyro.distributions as dist
import torch

rng = np.random.default_rng(5)
x = np.sort(rng.uniform(-3, 3, 25))
data = {"x": x, "y": np.sin(1.5 * x) + 0.3 * rng.normal(size=25)}


def model(x, y):
    length = pyro.sample("length", dist.LogNormal(0.0, 0.7))
    height = pyro.sample("height", dist.HalfNormal(2.0))
    noise = pyro.sample("noise", dist.HalfNormal(1.0))
    covariance = height**2 * torch.exp(-0.5 * ((x[:, None] - x) / length) ** 2) + noise**2 * torch.eye(len(x))
    pyro.sample("y", dist.MultivariateNormal(torch.zeros(len(x)), covariance), obs=y)
