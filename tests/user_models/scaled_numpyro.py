"""Two rows that stand for six: their scale counts each three times."""

import numpyro
import numpyro.distributions as dist
from numpyro import handlers


def model(x):
    with handlers.scale(scale=3.0):
        with numpyro.plate("rows", 2):
            z = numpyro.sample("z", dist.Normal(0.0, 1.0))
            numpyro.sample("x", dist.Normal(z, 1.0), obs=x)
