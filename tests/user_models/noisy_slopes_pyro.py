"""Linear regression with 4 slopes and an unknown noise."""

import pyro
import pyro.distributions as dist
import torch

from tests.user_models import noisy_slopes as shared

data = {name: torch.tensor(value) for name, value in shared.data.items()}


def noisy_slopes(x, y):
    noise = pyro.sample("noise", dist.HalfNormal(torch.tensor(1.0, dtype=x.dtype)))
    slopes = pyro.sample("slopes", dist.Normal(torch.zeros(x.shape[1], dtype=x.dtype), 1.0).to_event(1))
    pyro.sample("y", dist.Normal(x @ slopes, noise).to_event(1), obs=y)
