"""Densities that no Gaussian comes near, in closed form: nothing is observed, so the log evidence is 0."""

import pyro
import pyro.distributions as dist
import torch


def funnel(sd):
    """Neal's funnel of ten dimensions (2003, Slice sampling, section 8): nine normals with one random scale."""
    v = pyro.sample("v", dist.Normal(0.0, sd))
    pyro.sample("x", dist.Normal(0.0, torch.exp(v / 2)[..., None].expand((*v.shape, 9))).to_event(1))


def banana(curvature):
    """A normal bent along a parabola (Haario, Saksman & Tamminen 1999)."""
    x = pyro.sample("x", dist.Normal(0.0, 10.0))
    pyro.sample("y", dist.Normal(curvature * (x**2 - 100.0), 1.0))


def two_modes(apart):
    """Two standard normals of equal weight, at -apart and apart."""
    component = dist.Normal(torch.tensor([-1.0, 1.0]) * apart, 1.0)
    pyro.sample("x", dist.MixtureSameFamily(dist.Categorical(torch.tensor([0.5, 0.5])), component))


def squared(y):
    """A normal known by its square: two modes, that above 0 with three times the mass. Its evidence is not 1."""
    z = pyro.sample("z", dist.Normal(1.0, 2.0))
    pyro.sample("y", dist.Normal(z**2, 1.0), obs=y)
