"""Linear regression with 4 slopes and an unknown noise."""

import numpyro
import numpyro.distributions as dist

from tests.user_models.noisy_slopes import data

__all__ = ["data", "noisy_slopes"]


def noisy_slopes(x, y):
    noise = numpyro.sample("noise", dist.HalfNormal(1.0))
    slopes = numpyro.sample("slopes", dist.Normal(0.0, 1.0).expand([x.shape[1]]).to_event(1))
    numpyro.sample("y", dist.Normal(x @ slopes, noise).to_event(1), obs=y)
