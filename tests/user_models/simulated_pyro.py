"""Models from which data sets are drawn: some that can be, some that cannot and say why."""

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro import poutine

from tests.user_models.sums import SumsPosterior

data, exact = {"y": np.array([0.3, 1.1, -0.2])}, SumsPosterior


def model(y):
    a = pyro.sample("a", dist.Normal(0.0, 1.0))
    b = pyro.sample("b", dist.Normal(0.0, 1.0))
    with pyro.plate("rows", len(y)):
        pyro.sample("y", dist.Normal(a + b, 0.5), obs=y)


def halved(y):
    """A guide: as full rank would be, but with half of the posterior's sds."""
    loc = pyro.param("loc", torch.zeros(2))
    covariance = torch.eye(2) - 1 / (2 + 0.25 / len(y))
    both = pyro.sample("both", dist.MultivariateNormal(loc, covariance / 4), infer={"is_auxiliary": True})
    pyro.sample("a", dist.Delta(both[0]))
    pyro.sample("b", dist.Delta(both[1]))


def counts(y, exposure):
    rate = pyro.sample("rate", dist.Gamma(2.0, 1.0))
    with pyro.plate("rows", len(exposure)):
        pyro.sample("y", dist.Poisson(rate * exposure), obs=y)


def coin(heads, tosses):
    fairness = pyro.sample("fairness", dist.Beta(2.0, 3.0))
    pyro.sample("heads", dist.Binomial(tosses, fairness), obs=heads)


def one_by_one(y):
    fairness = pyro.sample("fairness", dist.Beta(2.0, 3.0))
    for row in range(len(y)):
        pyro.sample(f"y_{row}", dist.Bernoulli(fairness), obs=y[row].double())


def with_gaps(y):
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    with pyro.plate("rows", len(y)), poutine.mask(mask=~torch.isnan(y)):
        pyro.sample("y", dist.Normal(mean, 1.0), obs=torch.nan_to_num(y))
    pyro.deterministic("residual", y - mean)


def assigned_with_gaps(y):
    mean = pyro.sample("mean", dist.Normal(0.0, 3.0))
    with pyro.plate("rows", len(y)), poutine.mask(mask=~torch.isnan(y)):
        z = pyro.sample("z", dist.Bernoulli(0.3))
        pyro.sample("y", dist.Normal(mean + 5.0 * z, 0.5), obs=torch.nan_to_num(y))


def chained(x, y):
    slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
    with pyro.plate("rows", len(y)):
        x = pyro.sample("x", dist.Normal(1.0, 2.0), obs=x)
        pyro.sample("y", dist.Normal(slope * x, 0.5), obs=y)


def assigned(y):
    mean = pyro.sample("mean", dist.Normal(0.0, 3.0))
    with pyro.plate("rows", len(y)):
        z = pyro.sample("z", dist.Bernoulli(0.3))
        pyro.sample("y", dist.Normal(mean + 5.0 * z, 0.5), obs=y)


def improper(y):
    mean = pyro.sample("mean", dist.ImproperUniform(dist.constraints.real, (), ()))
    pyro.sample("y", dist.Normal(mean, 1.0).expand([len(y)]).to_event(1), obs=y)


def with_factor(y):
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    pyro.sample("y", dist.Normal(mean, 1.0).expand([len(y)]).to_event(1), obs=y)
    pyro.factor("penalty", -(mean**2))


def with_density_on_a_point(y):
    """A factor in other words."""
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    pyro.sample("penalty", dist.Delta(y[0], log_density=-10.0 * (mean - 3.0) ** 2), obs=y[0])
    pyro.sample("y", dist.Normal(mean, 1.0).expand([len(y) - 1]).to_event(1), obs=y[1:])


def with_far_penalty(y):
    """A factor that is 0 near the prior's mean."""
    mean = pyro.sample("mean", dist.Normal(0.0, 3.0))
    penalty = torch.where(mean > 3.0, -10.0 * (mean - 3.0), 0.0)
    pyro.sample("penalty", dist.Delta(y[0], log_density=penalty), obs=y[0])
    pyro.sample("y", dist.Normal(mean, 1.0).expand([len(y) - 1]).to_event(1), obs=y[1:])


def scaled(y):
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    with poutine.scale(scale=10.0):
        pyro.sample("y", dist.Normal(mean, 1.0).expand([len(y)]).to_event(1), obs=y)


def moving_mask(y):
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    with pyro.plate("rows", len(y)), poutine.mask(mask=mean > 0.5):
        pyro.sample("y", dist.Normal(mean, 1.0), obs=y)


def moving_mask_under_another(y):
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    with pyro.plate("rows", len(y)), poutine.mask(mask=y < 100), poutine.mask(mask=mean > 0.5):
        pyro.sample("y", dist.Normal(mean, 1.0), obs=y)


def moving_mask_inside(y):
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    noise = dist.Normal(mean, 1.0).expand([len(y)])
    pyro.sample("y", noise.mask(mean > 0.5).mask(y < 100).to_event(1).mask(True), obs=y)


def nothing_observed(y):
    pyro.sample("mean", dist.Normal(y.mean(), 1.0))


def logged(y):
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    pyro.sample("y", dist.Normal(mean, 1.0).expand([len(y)]).to_event(1), obs=torch.exp(y))


def autoregressive(y):
    slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
    pyro.sample("y", dist.Normal(slope * y[:-1], 1.0).to_event(1), obs=y[1:])


def of_the_data(y):
    mean = pyro.sample("mean", dist.Normal(y.mean(), 1.0))
    pyro.sample("y", dist.Normal(mean, 1.0).expand([len(y)]).to_event(1), obs=y)


def slightly_of_the_data(y):
    mean = pyro.sample("mean", dist.Normal(0.01 * y.mean(), 1.0))
    pyro.sample("y", dist.Normal(mean, 1.0).expand([len(y)]).to_event(1), obs=y)


def observed_together(x, y):
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    with pyro.plate("rows", len(y)):
        pyro.sample("both", dist.Normal(mean, 1.0).expand([2]).to_event(1), obs=torch.stack([x, y], -1))


def observed_twice(y):
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    for name in ("first", "second"):
        pyro.sample(name, dist.Normal(mean, 1.0).expand([len(y)]).to_event(1), obs=y)


def too_wide(y):
    rate = pyro.sample("rate", dist.LogNormal(0.0, 1000.0))
    pyro.sample("y", dist.Normal(rate, 1.0).expand([len(y)]).to_event(1), obs=y)


def with_density_on_a_latent_point(y):
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    pyro.sample("penalty", dist.Delta(mean, log_density=-10.0 * (mean - 3.0) ** 2))
    pyro.sample("y", dist.Normal(mean, 1.0).expand([len(y)]).to_event(1), obs=y)


def branching(y):
    """What torch.func.vmap cannot run."""
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    pyro.sample("y", dist.Normal(mean, 1.0 if float(mean) > 0 else 2.0).expand([len(y)]).to_event(1), obs=y)
