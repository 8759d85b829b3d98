"""Two rows that stand for six: their scale counts each three times."""

import pyro
import pyro.distributions as dist
from pyro import poutine


def model(x):
    with poutine.scale(scale=3.0):
        with pyro.plate("rows", 2):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)
