import pyro
import pyro.distributions as dist


def model(location, scale_tril):
    pyro.sample("z", dist.MultivariateNormal(location, scale_tril=scale_tril))
