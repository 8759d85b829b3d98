"""Models whose latents decide which values can be observed."""

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions import transforms


def below(values):
    top = pyro.sample("theta", dist.Uniform(0.0, 20.0))
    with pyro.plate("data", len(values)):
        pyro.sample("values", dist.Uniform(0.0, top), obs=values)


def above(values):
    least = pyro.sample("theta", dist.Uniform(0.0, 20.0))
    with pyro.plate("data", len(values)):
        pyro.sample("values", dist.Pareto(least, 2.0), obs=values)


def shifted(values):
    start = pyro.sample("theta", dist.Uniform(-5.0, 5.0))
    shift = transforms.AffineTransform(start, 1.0)
    waiting = dist.TransformedDistribution(dist.Exponential(1.0).expand(values.shape), [shift])
    pyro.sample("values", waiting.to_event(1), obs=values)


def in_parts(values):
    top = pyro.sample("theta", dist.Uniform(0.0, 20.0))
    parts = dist.Uniform(0.0, top * torch.tensor([0.5, 1.0]))
    with pyro.plate("data", len(values)):
        pyro.sample("values", dist.MixtureSameFamily(dist.Categorical(probs=torch.ones(2) / 2), parts), obs=values)


def half_normal(values):
    start = pyro.sample("theta", dist.Uniform(-5.0, 5.0))
    shift = transforms.AffineTransform(start, 1.0)
    waiting = dist.TransformedDistribution(dist.HalfNormal(2.0).expand(values.shape), [shift])
    pyro.sample("values", waiting.to_event(1), obs=values)


def log_normal(values):
    start = pyro.sample("theta", dist.Uniform(-5.0, 5.0))
    shift = transforms.AffineTransform(start, 1.0)
    waiting = dist.TransformedDistribution(dist.LogNormal(0.0, 1.0).expand(values.shape), [shift])
    pyro.sample("values", waiting.to_event(1), obs=values)
