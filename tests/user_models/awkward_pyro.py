"""Models that are awkward to handle, each as its user might write it."""

import numpy as np
import pyro
import pyro.distributions as dist
import torch

rng = np.random.default_rng(0)
COUNTS = np.array([12.0, 30.0, 58.0])
POINTS = rng.normal(size=(40, 2)) @ np.array([[1.0, 0.0], [0.8, 0.6]])
VALUES = rng.normal(1.0, 1.0, 30)


def simplex(counts):
    p = pyro.sample("p", dist.Dirichlet(torch.ones(3)))
    pyro.sample("counts", dist.Multinomial(probs=p, total_count=100), obs=counts)


def covariance(points):
    scale = pyro.sample("scale", dist.LogNormal(0.0, 1.0).expand([2]).to_event(1))
    factor = pyro.sample("factor", dist.LKJCholesky(2, 2.0))
    pyro.sample("points", dist.MultivariateNormal(torch.zeros(2), scale_tril=scale[:, None] * factor), obs=points)


def ordered(values):
    base = dist.Normal(0, 2).expand([2]).to_event(1)
    cuts = pyro.sample("cuts", dist.TransformedDistribution(base, [dist.transforms.OrderedTransform()]))
    pyro.sample("lower", dist.Normal(cuts[0], 1.0).expand([15]).to_event(1), obs=values[:15] - 2)
    pyro.sample("upper", dist.Normal(cuts[1], 1.0).expand([15]).to_event(1), obs=values[15:])


def deterministic(values):
    log_scale = pyro.sample("log_scale", dist.Normal(0, 1))
    scale = pyro.deterministic("scale", torch.exp(log_scale))
    pyro.sample("values", dist.Normal(1.0, scale), obs=values)


def subsampled(values):
    mean = pyro.sample("mean", dist.Normal(0, 10))
    with pyro.plate("points", 30, subsample_size=5) as chosen:
        pyro.sample("values", dist.Normal(mean, 1.0), obs=values[chosen])


def discrete(values):
    which = pyro.sample("which", dist.Bernoulli(0.5))
    pyro.sample("values", dist.Normal(which, 1.0), obs=values)


def empty(values):
    mean = pyro.sample("mean", dist.Normal(0, 10))
    none = pyro.sample("none", dist.Normal(0, 1).expand([0]).to_event(1))
    pyro.sample("values", dist.Normal(mean + none.sum(), 1.0), obs=values)


def path(values):
    mean = pyro.sample("../data/mean.csv", dist.Normal(0, 10))
    pyro.sample("/values", dist.Normal(mean, 1.0), obs=values)


def frame(x, y):
    slope = pyro.sample("slope", dist.Normal(0, 1))
    pyro.sample("y", dist.Normal(slope * x, 1.0), obs=y)


def dynamic(values):
    top = pyro.sample("top", dist.LogNormal(0, 1))
    mean = pyro.sample("mean", dist.Uniform(0, top))
    pyro.sample("values", dist.Normal(mean, 1.0), obs=values)


def nothing(values):
    pyro.sample("values", dist.Normal(torch.zeros(()), 1.0), obs=values)


def branches(values):
    mean = pyro.sample("mean", dist.Normal(0, 10))
    pyro.sample("values", dist.Normal(mean, 2.0 if values[0] > 0 else 1.0), obs=values)


def early(values):
    mean = pyro.sample("mean", dist.Normal(0, 10))
    if len(values) > 5:
        return
    pyro.sample("values", dist.Normal(mean, 1.0), obs=values)


def masked(values):
    mean = pyro.sample("mean", dist.Normal(0, 10))
    with pyro.plate("points", len(values)), pyro.poutine.mask(mask=torch.arange(len(values)) < 10):
        pyro.sample("values", dist.Normal(mean, 1.0), obs=values)


def factor(values):
    mean = pyro.sample("mean", dist.Normal(0, 10))
    pyro.factor("likelihood", -0.5 * torch.sum((values - mean) ** 2))


def reused(values):
    mean = pyro.sample("mean", dist.Normal(0, 10)) + pyro.sample("mean", dist.Normal(0, 10))
    pyro.sample("values", dist.Normal(mean, 1.0), obs=values)


def names(values):
    mean = pyro.sample("der Mittelwert μ", dist.Normal(0, 10))
    scale = pyro.sample("s" * 300, dist.HalfCauchy(1.0))
    pyro.sample("Werte: 1, 2", dist.Normal(mean, scale), obs=values)


def optional(values, spread=1.0, wide=False):
    mean = pyro.sample("mean", dist.Normal(0, 100 if wide else 10))
    pyro.sample("values", dist.Normal(mean, spread), obs=values)


def many(values):
    mean = pyro.sample("mean", dist.Normal(0, 10))
    with pyro.plate("all", 100_000):
        z = pyro.sample("z", dist.Normal(0, 1))
    pyro.sample("values", dist.Normal(mean + z[:30], 1.0), obs=values)


def circular(values):
    angle = pyro.sample("angle", dist.VonMises(0.0, 1.0))
    pyro.sample("values", dist.VonMises(angle, 2.0), obs=values)


def loose(values):
    means = pyro.sample("means", dist.Normal(torch.zeros(3), 10.0))
    pyro.sample("values", dist.Normal(means.repeat_interleave(10), 1.0), obs=values)


def switched(values):
    which = pyro.sample("which", dist.Bernoulli(0.3))
    scale = pyro.sample("scale", dist.LogNormal(0.0, 1.0))
    with pyro.plate("points", len(values)):
        pyro.sample("values", dist.Normal(which, scale), obs=values)


def slab(values):
    included = pyro.sample("included", dist.Bernoulli(0.5))
    mean = pyro.sample("mean", dist.Normal(0.0, torch.where(included == 1, 2.0, 0.1)))
    pyro.deterministic("double", 2 * mean)
    pyro.deterministic("flag", 1.0 * included)
    with pyro.plate("points", len(values)):
        pyro.sample("values", dist.Normal(mean, 1.0), obs=values)


def hidden(values):
    means = pyro.sample("means", dist.Normal(0, 3).expand([2]).to_event(1))
    state = torch.zeros(())
    for number in pyro.markov(range(len(values))):
        state = pyro.sample(f"state{number}", dist.Bernoulli(torch.where(state == 1, 0.8, 0.3)))
        pyro.sample(f"value{number}", dist.Normal(means[state.long()], 1.0), obs=values[number])


def coupled(values):
    level = pyro.sample("level", dist.Normal(0, 1))
    with pyro.plate("two", 2):
        which = pyro.sample("which", dist.Bernoulli(0.5))
    pyro.sample("values", dist.Normal(level + which.sum(), 1.0).expand([30]).to_event(1), obs=values)


def branching(values):
    which = pyro.sample("which", dist.Bernoulli(0.5))
    mean = pyro.sample("mean", dist.Normal(0, 10 if which == 1 else 1))
    with pyro.plate("points", len(values)):
        pyro.sample("values", dist.Normal(mean, 1.0), obs=values)


def unbounded(values):
    number = pyro.sample("number", dist.Poisson(3.0))
    pyro.sample("values", dist.Normal(number, 1.0).expand([30]).to_event(1), obs=values)


def together(values):
    which = pyro.sample("which", dist.Bernoulli(0.5).expand([30]).to_event(1))
    mean = pyro.sample("mean", dist.Normal(0, 10))
    pyro.sample("values", dist.Normal(mean + which, 1.0).to_event(1), obs=values)


def only(values):
    which = pyro.sample("which", dist.Bernoulli(0.5))
    with pyro.plate("points", len(values)):
        pyro.sample("values", dist.Normal(which, 1.0), obs=values)
