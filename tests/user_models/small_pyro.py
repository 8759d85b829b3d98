"""Models of one or two latents whose posteriors an integral over a line gives, and some that evaluate slowly."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import torch

rng = np.random.default_rng(4)
SQUARES = 1.6 + 0.4 * rng.normal(size=15)
POINTS = np.stack([-1 + 0.3 * rng.normal(size=8), 0.3 * rng.normal(size=8) - 0.05])
VALUES = rng.normal(0.5, 1.0, 12)


def squared(y):
    root = pyro.sample("root", dist.Normal(0.1, 1.0))
    with pyro.plate("rows", len(y)):
        pyro.sample("y", dist.Normal(root**2, 0.4), obs=y)


def angle(points):
    turn = pyro.sample("turn", dist.Uniform(-math.pi, math.pi))
    with pyro.plate("rows", points.shape[1]):
        pyro.sample("x", dist.Normal(turn.cos(), 0.5), obs=points[0])
        pyro.sample("y", dist.Normal(turn.sin(), 0.5), obs=points[1])


def lengthy(y):
    mean = pyro.sample("mean", dist.Normal(torch.zeros(1), torch.ones(1)))
    pyro.deterministic("double", 2 * mean)
    with pyro.plate("rows", len(y)):
        pyro.sample("y", dist.Normal(mean, 1.0), obs=y)


def location_scale(y):
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    scale = pyro.sample("scale", dist.Gamma(2.0, 1.0))
    pyro.deterministic("ratio", mean / scale)
    with pyro.plate("rows", len(y)):
        pyro.sample("y", dist.Normal(mean, scale), obs=y)


def separated(y):
    slope = pyro.sample("slope", dist.Cauchy(0.0, 1.0))
    with pyro.plate("rows", len(y)):
        pyro.sample("y", dist.Bernoulli(logits=slope), obs=y)


def in_plates(y):
    with pyro.plate("rows", len(y)):
        mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(mean, 1.0), obs=y)


def in_place(y):
    """What torch.func.vmap cannot run as it is: a new tensor that latents are written into, as in OrderedLogistic."""
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    means = torch.zeros(len(y))
    means[0] = mean
    for row in range(1, len(y)):
        means[row] = 0.5 * means[row - 1] + mean
    with pyro.plate("rows", len(y)):
        pyro.sample("y", dist.Normal(means, 1.0), obs=y)


class Square(torch.autograd.Function):
    """A square by NumPy, with a gradient written by hand: torch sees neither."""

    @staticmethod
    def forward(context, x):
        context.x = x.detach().numpy()
        return torch.as_tensor(context.x**2)

    @staticmethod
    def backward(context, upstream):
        return upstream * torch.as_tensor(2 * context.x)


def by_numpy(y):
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    with pyro.plate("rows", len(y)):
        pyro.sample("y", dist.Normal(Square.apply(mean), 1.0), obs=y)


def branching(y):
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    scale = 1.0 if float(mean) < 0.5 else 2.0
    with pyro.plate("rows", len(y)):
        pyro.sample("y", dist.Normal(mean, scale), obs=y)
