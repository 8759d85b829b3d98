"""Guides as users of Pyro write them, right and wrong, for two models whose posteriors are known."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.distributions import constraints
from pyro.infer import autoguide

AUTOGUIDE, LOW_RANK, POINT = autoguide.AutoNormal, autoguide.AutoLowRankMultivariateNormal, autoguide.AutoDelta

NET = torch.nn.Linear(12, 2)


def line(x, y):
    """A line with a known noise: the posterior of its two coefficients is Gaussian."""
    b = pyro.sample("b", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    pyro.sample("y", dist.Normal(x @ b, 0.5).to_event(1), obs=y)


def with_param(x, y):
    """The same line, whose noise is a param."""
    b = pyro.sample("b", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    noise = positive("noise", torch.tensor(0.3))
    pyro.sample("y", dist.Normal(x @ b, noise).to_event(1), obs=y)


def counts(y):
    """Counts at one rate: its posterior is a Gamma."""
    rate = pyro.sample("rate", dist.Gamma(2.0, 1.0))
    pyro.sample("y", dist.Poisson(rate).expand([y.shape[0]]).to_event(1), obs=y)


def pairs(y):
    """Standard normal pairs whose correlation is not known."""
    factor = pyro.sample("factor", dist.LKJCholesky(2, 2.0))
    with pyro.plate("rows", len(y)):
        pyro.sample("y", dist.MultivariateNormal(torch.zeros(2), scale_tril=factor), obs=y)


def of_factor(y):
    """A Normal in the unconstrained space of Cholesky factors of correlation matrices."""
    loc, scale = pyro.param("loc", torch.zeros(1)), positive("scale", torch.full((1,), 0.5))
    base = dist.Normal(loc, scale).to_event(1)
    pyro.sample("factor", dist.TransformedDistribution(base, [dist.transforms.CorrCholeskyTransform()]))


def batches(y):
    """A latent for each row, of which the user's SVI sees two at a time."""
    with pyro.plate("rows", 5, subsample_size=2) as rows:
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(z, 1.0), obs=y[rows])


def of_batches(y):
    loc, scale = pyro.param("loc", torch.zeros(5)), positive("scale", torch.full((5,), 0.5))
    with pyro.plate("rows", 5, subsample_size=2) as rows:
        pyro.sample("z", dist.Normal(loc[rows], scale[rows]))


def of_scaled_batches(y):
    """It scales what the plate has scaled already."""
    with poutine.scale(scale=2.5):
        of_batches(y)


def positive(name, value):
    return pyro.param(name, value, constraint=constraints.positive)


def by_hand(x, y):
    loc, scale = pyro.param("loc", torch.zeros(2)), positive("scale", torch.full((2,), 0.5))
    pyro.sample("b", dist.Normal(loc, scale).to_event(1))


def late(x, y):
    """Its params enter behind what it draws; and it observes the data, which is no part of q."""
    eps = pyro.sample("eps", dist.Normal(torch.zeros(2), 1.0).to_event(1), infer={"is_auxiliary": True})
    loc, scale = pyro.param("loc", torch.zeros(2)), positive("scale", torch.full((2,), 0.5))
    density = -torch.log(scale).sum()
    b = pyro.sample("b", dist.Delta(loc + scale * eps, log_density=density, event_dim=1))
    pyro.sample("y", dist.Normal(x @ b, 0.5).to_event(1), obs=y)


def without_jacobian(x, y, times=0.0):
    """As `late`, but the density is that of ``eps``."""
    eps = pyro.sample("eps", dist.Normal(torch.zeros(2), 1.0).to_event(1), infer={"is_auxiliary": True})
    loc, scale = pyro.param("loc", torch.zeros(2)), positive("scale", torch.full((2,), 0.5))
    pyro.sample("b", dist.Delta(loc + scale * eps, log_density=-times * torch.log(scale).sum(), event_dim=1))


def twice_the_jacobian(x, y):
    without_jacobian(x, y, 2.0)


def integrated(x, y):
    """A mean with a wide density of its own, which is counted as well: log q(b) is an integral over it."""
    mean = pyro.sample("mean", dist.Normal(torch.zeros(2), 10.0).to_event(1), infer={"is_auxiliary": True})
    pyro.sample("b", dist.Normal(pyro.param("loc", torch.zeros(2)) + 0.1 * mean, 0.5).to_event(1))


def settled(x, y):
    """A posterior worked out elsewhere: it has no params."""
    pyro.sample("b", dist.Normal(torch.tensor([0.9, -0.4]), torch.tensor([0.3, 0.2])).to_event(1))


def renamed(features, target):
    """Its arguments have other names than the model's."""
    by_hand(features, target)


def amortised(x, y):
    """Its means are a small network's, which sees the data."""
    pyro.module("net", NET)
    pyro.sample("b", dist.Normal(NET(y), positive("scale", torch.full((2,), 0.5))).to_event(1))


def gamma(y):
    """The posterior's own family, which no standard normals make."""
    pyro.sample("rate", dist.Gamma(positive("shape", torch.tensor(5.0)), positive("speed", torch.tensor(2.0))))


def missing(x, y):
    pyro.param("loc", torch.tensor(0.0))


def too_many(x, y):
    by_hand(x, y)
    pyro.sample("c", dist.Normal(0.0, 1.0))


def of_other_shape(x, y):
    pyro.sample("b", dist.Normal(pyro.param("loc", torch.zeros(3)), 1.0).to_event(1))


def discrete(x, y):
    by_hand(x, y)
    pyro.sample("k", dist.Bernoulli(0.5))


def scaled(x, y):
    with poutine.scale(scale=10.0):
        by_hand(x, y)


def of_other_data(x):
    pyro.sample("b", dist.Normal(torch.zeros(2), 1.0).to_event(1))
