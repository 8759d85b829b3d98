import numpyro
import numpyro.distributions as dist


def model(location, scale_tril):
    numpyro.sample("z", dist.MultivariateNormal(location, scale_tril=scale_tril))
