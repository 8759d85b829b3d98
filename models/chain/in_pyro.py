"""The Gaussian chain in Pyro."""

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from torch.distributions import Transform


class CumulativeSum(Transform):
    """Steps to positions, z_k = step_1 + ... + step_k: Pyro has no random walk, this bijection makes one of noise."""

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def _call(self, steps):
        return steps.cumsum(-1)

    def _inverse(self, z):
        return torch.diff(z, dim=-1, prepend=torch.zeros_like(z[..., :1]))

    def log_abs_det_jacobian(self, steps, z):
        return torch.zeros_like(z[..., 0])


def model(length, x=None, observe_all=False):
    """z_1 ~ N(0, 1), z_k ~ N(z_{k-1}, 1); x ~ N(z, 1) at the last node or at all. Without x, the prior predictive."""
    steps = dist.Normal(torch.zeros(length), 1.0).to_event(1)
    z = pyro.sample("z", dist.TransformedDistribution(steps, [CumulativeSum()]))
    seen = z if observe_all else z[..., -1:]
    pyro.sample("x", dist.Normal(seen, 1.0).to_event(1), obs=x)
