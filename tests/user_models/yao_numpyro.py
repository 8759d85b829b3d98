"""Eight schools, non-centred, with the priors of Yao et al. 2018: wider ones."""

import numpyro
import numpyro.distributions as dist


def model(y, sigma):
    mu = numpyro.sample("mu", dist.Normal(0, 50))
    tau = numpyro.sample("tau", dist.HalfNormal(25))
    with numpyro.plate("schools", len(sigma)):
        eta = numpyro.sample("eta", dist.Normal(0, 1))
        theta = numpyro.deterministic("theta", mu + tau * eta)
        numpyro.sample("y", dist.Normal(theta, sigma), obs=y)
