"""Eight schools, non-centred, with the priors of Yao et al. 2018: wider ones."""

import pyro
import pyro.distributions as dist


def model(y, sigma):
    mu = pyro.sample("mu", dist.Normal(0, 50))
    tau = pyro.sample("tau", dist.HalfNormal(25))
    with pyro.plate("schools", len(sigma)):
        eta = pyro.sample("eta", dist.Normal(0, 1))
        theta = pyro.deterministic("theta", mu + tau * eta)
        pyro.sample("y", dist.Normal(theta, sigma), obs=y)
