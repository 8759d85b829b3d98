"""A mixture of two normals, marginal and with assignments; in order, so that labels cannot switch."""

import numpy as np
import pyro
import pyro.distributions as dist
import torch

rng = np.random.default_rng(3)
data = {"y": np.concatenate([rng.normal(-1.5, 1.0, 35), rng.normal(2.0, 0.7, 25)])}


def components():
    weight = pyro.sample("weight", dist.Beta(2.0, 2.0))
    base = dist.Normal(0.0, 3.0).expand([2]).to_event(1)
    mean = pyro.sample("mean", dist.TransformedDistribution(base, [dist.transforms.OrderedTransform()]))
    scale = pyro.sample("scale", dist.LogNormal(0.0, 0.5).expand([2]).to_event(1))
    return torch.stack([1 - weight, weight]), mean, scale


def model(y):
    probabilities, mean, scale = components()
    mixture = dist.MixtureSameFamily(dist.Categorical(probs=probabilities), dist.Normal(mean, scale))
    with pyro.plate("points", len(y)):
        pyro.sample("y", mixture, obs=y)


def assigned(y):
    probabilities, mean, scale = components()
    with pyro.plate("points", len(y)):
        which = pyro.sample("which", dist.Categorical(probs=probabilities))
        pyro.sample("y", dist.Normal(mean[which], scale[which]), obs=y)
