"""Models that are awkward to handle, each as its user might write it."""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.contrib.control_flow import scan

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


def nothing(values):
    numpyro.sample("values", dist.Normal(0.0, 1.0), obs=values)


def branches(values):
    mean = numpyro.sample("mean", dist.Normal(0, 10))
    numpyro.sample("values", dist.Normal(mean, 2.0 if mean > 0 else 1.0), obs=values)


def early(values):
    mean = numpyro.sample("mean", dist.Normal(0, 10))
    if len(values) > 5:
        return
    numpyro.sample("values", dist.Normal(mean, 1.0), obs=values)


def masked(values):
    mean = numpyro.sample("mean", dist.Normal(0, 10))
    with numpyro.plate("points", len(values)), numpyro.handlers.mask(mask=jnp.arange(len(values)) < 10):
        numpyro.sample("values", dist.Normal(mean, 1.0), obs=values)


def factor(values):
    mean = numpyro.sample("mean", dist.Normal(0, 10))
    numpyro.factor("likelihood", -0.5 * jnp.sum((values - mean) ** 2))


def reused(values):
    mean = numpyro.sample("mean", dist.Normal(0, 10)) + numpyro.sample("mean", dist.Normal(0, 10))
    numpyro.sample("values", dist.Normal(mean, 1.0), obs=values)


def names(values):
    mean = numpyro.sample("der Mittelwert μ", dist.Normal(0, 10))
    scale = numpyro.sample("s" * 300, dist.HalfCauchy(1.0))
    numpyro.sample("Werte: 1, 2", dist.Normal(mean, scale), obs=values)


def optional(values, spread=1.0, wide=False):
    mean = numpyro.sample("mean", dist.Normal(0, 100 if wide else 10))
    numpyro.sample("values", dist.Normal(mean, spread), obs=values)


def many(values):
    mean = numpyro.sample("mean", dist.Normal(0, 10))
    with numpyro.plate("all", 100_000):
        z = numpyro.sample("z", dist.Normal(0, 1))
    numpyro.sample("values", dist.Normal(mean + z[:30], 1.0), obs=values)


def circular(values):
    angle = numpyro.sample("angle", dist.VonMises(0.0, 1.0))
    numpyro.sample("values", dist.VonMises(angle, 2.0), obs=values)


def loose(values):
    means = numpyro.sample("means", dist.Normal(jnp.zeros(3), 10.0))
    numpyro.sample("values", dist.Normal(jnp.repeat(means, 10), 1.0), obs=values)


def switched(values):
    which = numpyro.sample("which", dist.Bernoulli(0.3))
    scale = numpyro.sample("scale", dist.LogNormal(0.0, 1.0))
    with numpyro.plate("points", len(values)):
        numpyro.sample("values", dist.Normal(which, scale), obs=values)


def slab(values):
    included = numpyro.sample("included", dist.Bernoulli(0.5))
    mean = numpyro.sample("mean", dist.Normal(0.0, jnp.where(included == 1, 2.0, 0.1)))
    numpyro.deterministic("double", 2 * mean)
    numpyro.deterministic("flag", 1.0 * included)
    with numpyro.plate("points", len(values)):
        numpyro.sample("values", dist.Normal(mean, 1.0), obs=values)


def hidden(values):
    means = numpyro.sample("means", dist.Normal(0, 3).expand([2]).to_event(1))

    def step(state, value):
        state = numpyro.sample("state", dist.Bernoulli(jnp.where(state == 1, 0.8, 0.3)))
        numpyro.sample("value", dist.Normal(means[state], 1.0), obs=value)
        return state, None

    scan(step, 0, values)


def coupled(values):
    level = numpyro.sample("level", dist.Normal(0, 1))
    with numpyro.plate("two", 2):
        which = numpyro.sample("which", dist.Bernoulli(0.5))
    numpyro.sample("values", dist.Normal(level + which.sum(), 1.0).expand([30]).to_event(1), obs=values)


def branching(values):
    which = numpyro.sample("which", dist.Bernoulli(0.5))
    mean = numpyro.sample("mean", dist.Normal(0, 10 if which == 1 else 1))
    with numpyro.plate("points", len(values)):
        numpyro.sample("values", dist.Normal(mean, 1.0), obs=values)


def unbounded(values):
    number = numpyro.sample("number", dist.Poisson(3.0))
    numpyro.sample("values", dist.Normal(number, 1.0).expand([30]).to_event(1), obs=values)


def together(values):
    which = numpyro.sample("which", dist.Bernoulli(0.5).expand([30]).to_event(1))
    mean = numpyro.sample("mean", dist.Normal(0, 10))
    numpyro.sample("values", dist.Normal(mean + which, 1.0).to_event(1), obs=values)


def only(values):
    which = numpyro.sample("which", dist.Bernoulli(0.5))
    with numpyro.plate("points", len(values)):
        numpyro.sample("values", dist.Normal(which, 1.0), obs=values)
