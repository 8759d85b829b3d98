"""Models that are awkward to handle, each as its user might write it."""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

rng = np.random.default_rng(0)
COUNTS = np.array([12.0, 30.0, 58.0])
POINTS = rng.normal(size=(40, 2)) @ np.array([[1.0, 0.0], [0.8, 0.6]])
VALUES = rng.normal(1.0, 1.0, 30)


def simplex(counts):
    p = numpyro.sample("p", dist.Dirichlet(jnp.ones(3)))
    numpyro.sample("counts", dist.Multinomial(probs=p, total_count=100), obs=counts)


def covariance(points):
    scale = numpyro.sample("scale", dist.LogNormal(0, 1).expand([2]).to_event(1))
    factor = numpyro.sample("factor", dist.LKJCholesky(2, 2.0))
    numpyro.sample("points", dist.MultivariateNormal(0.0, scale_tril=scale[:, None] * factor), obs=points)


def ordered(values):
    base = dist.Normal(0, 2).expand([2]).to_event(1)
    cuts = numpyro.sample("cuts", dist.TransformedDistribution(base, dist.transforms.OrderedTransform()))
    numpyro.sample("lower", dist.Normal(cuts[0], 1.0).expand([15]).to_event(1), obs=values[:15] - 2)
    numpyro.sample("upper", dist.Normal(cuts[1], 1.0).expand([15]).to_event(1), obs=values[15:])


def deterministic(values):
    log_scale = numpyro.sample("log_scale", dist.Normal(0, 1))
    scale = numpyro.deterministic("scale", jnp.exp(log_scale))
    numpyro.sample("values", dist.Normal(1.0, scale), obs=values)


def subsampled(values):
    mean = numpyro.sample("mean", dist.Normal(0, 10))
    with numpyro.plate("points", 30, subsample_size=5) as chosen:
        numpyro.sample("values", dist.Normal(mean, 1.0), obs=values[chosen])


def improper(values):
    mean = numpyro.sample("mean", dist.ImproperUniform(dist.constraints.real, (), ()))
    numpyro.sample("values", dist.Normal(mean, 1.0), obs=values)


def discrete(values):
    which = numpyro.sample("which", dist.Bernoulli(0.5))
    numpyro.sample("values", dist.Normal(1.0 * which, 1.0), obs=values)


def empty(values):
    mean = numpyro.sample("mean", dist.Normal(0, 10))
    none = numpyro.sample("none", dist.Normal(0, 1).expand([0]).to_event(1))
    numpyro.sample("values", dist.Normal(mean + none.sum(), 1.0), obs=values)


def path(values):
    mean = numpyro.sample("../data/mean.csv", dist.Normal(0, 10))
    numpyro.sample("/values", dist.Normal(mean, 1.0), obs=values)


def frame(x, y):
    slope = numpyro.sample("slope", dist.Normal(0, 1))
    numpyro.sample("y", dist.Normal(slope * x, 1.0), obs=y)


def dynamic(values):
    top = numpyro.sample("top", dist.LogNormal(0, 1))
    mean = numpyro.sample("mean", dist.Uniform(0, top))
    numpyro.sample("values", dist.Normal(mean, 1.0), obs=values)


def parameter(values):
    mean = numpyro.param("mean", 0.0)
    numpyro.sample("scale", dist.LogNormal(0, 1))
    numpyro.sample("values", dist.Normal(mean, 1.0), obs=values)


def nothing(values):
    numpyro.sample("values", dist.Normal(0.0, 1.0), obs=values)


def branches(values):
    mean = numpyro.sample("mean", dist.Normal(0, 10))
    numpyro.sample("values", dist.Normal(mean, 2.0 if values[0] > 0 else 1.0), obs=values)
