"""The tasks of `tests.foreign`: likelihoods of a benchmark of simulation-based inference, in closed form."""

import math

import pyro
import pyro.distributions as dist
import torch


def gaussian_linear(x):
    theta = pyro.sample("theta", dist.Normal(0.0, 0.1**0.5).expand([10]).to_event(1))
    pyro.sample("x", dist.Normal(theta, 0.1**0.5).to_event(1), obs=x)


def gaussian_linear_uniform(x):
    theta = pyro.sample("theta", dist.Uniform(-1.0, 1.0).expand([10]).to_event(1))
    pyro.sample("x", dist.Normal(theta, 0.1**0.5).to_event(1), obs=x)


def gaussian_mixture(x):
    theta = pyro.sample("theta", dist.Uniform(-10.0, 10.0).expand([2]).to_event(1))
    widths = torch.tensor([1.0, 0.1])
    parts = dist.Normal(theta[..., None, :], widths[:, None]).to_event(1)
    pyro.sample("x", dist.MixtureSameFamily(dist.Categorical(probs=torch.tensor([0.5, 0.5])), parts), obs=x)


def bernoulli_glm(design, spikes, precision):
    theta = pyro.sample("theta", dist.MultivariateNormal(torch.zeros(10), precision_matrix=precision))
    pyro.sample("spikes", dist.Bernoulli(logits=design @ theta).to_event(1), obs=spikes)


def two_moons(x):
    theta = pyro.sample("theta", dist.Uniform(-1.0, 1.0).expand([2]).to_event(1))
    along, across = (theta[0] + theta[1]) / 2**0.5, (theta[1] - theta[0]) / 2**0.5
    u, v = x[0] + along.abs() - 0.25, x[1] - across
    radius = (u**2 + v**2).sqrt()  # x is half a circle, uniform in its angle, shifted by theta
    log_density = dist.Normal(0.1, 0.01).log_prob(radius) - (math.pi * radius).log()
    pyro.factor("x", torch.where(u > 0, log_density, -math.inf))


def slcp(x):
    theta = pyro.sample("theta", dist.Uniform(-3.0, 3.0).expand([5]).to_event(1))
    first, second, correlation = theta[2] ** 2, theta[3] ** 2, theta[4].tanh()
    both = correlation * first * second
    rows = torch.stack([torch.stack([first**2 + 1e-6, both]), torch.stack([both, second**2 + 1e-6])])
    with pyro.plate("points", 4):
        pyro.sample("x", dist.MultivariateNormal(theta[:2], rows), obs=x.reshape(4, 2))
