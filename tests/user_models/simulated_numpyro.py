"""Models from which data sets are drawn: some that can be, some that cannot and say why."""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import handlers

from tests.user_models.sums import SumsPosterior

data, exact = {"y": np.array([0.3, 1.1, -0.2])}, SumsPosterior


def model(y):
    a = numpyro.sample("a", dist.Normal(0.0, 1.0))
    b = numpyro.sample("b", dist.Normal(0.0, 1.0))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(a + b, 0.5), obs=y)


def halved(y):
    """A guide: as full rank would be, but with half of the posterior's sds."""
    loc = numpyro.param("loc", jnp.zeros(2))
    covariance = jnp.eye(2) - 1 / (2 + 0.25 / len(y))
    both = numpyro.sample("both", dist.MultivariateNormal(loc, covariance / 4), infer={"is_auxiliary": True})
    numpyro.sample("a", dist.Delta(both[0]))
    numpyro.sample("b", dist.Delta(both[1]))


def counts(y, exposure):
    rate = numpyro.sample("rate", dist.Gamma(2.0, 1.0))
    with numpyro.plate("rows", len(exposure)):
        numpyro.sample("y", dist.Poisson(rate * exposure), obs=y)


def coin(heads, tosses):
    fairness = numpyro.sample("fairness", dist.Beta(2.0, 3.0))
    numpyro.sample("heads", dist.Binomial(tosses, fairness), obs=heads)


def one_by_one(y):
    fairness = numpyro.sample("fairness", dist.Beta(2.0, 3.0))
    for row in range(len(y)):
        numpyro.sample(f"y_{row}", dist.Bernoulli(fairness), obs=y[row])


def with_gaps(y):
    mean = numpyro.sample("mean", dist.Normal(0.0, 1.0))
    with numpyro.plate("rows", len(y)), handlers.mask(mask=~jnp.isnan(y)):
        numpyro.sample("y", dist.Normal(mean, 1.0), obs=jnp.nan_to_num(y))
    numpyro.deterministic("residual", y - mean)


def assigned_with_gaps(y):
    mean = numpyro.sample("mean", dist.Normal(0.0, 3.0))
    with numpyro.plate("rows", len(y)), handlers.mask(mask=~jnp.isnan(y)):
        z = numpyro.sample("z", dist.Bernoulli(0.3))
        numpyro.sample("y", dist.Normal(mean + 5.0 * z, 0.5), obs=jnp.nan_to_num(y))


def chained(x, y):
    slope = numpyro.sample("slope", dist.Normal(0.0, 1.0))
    with numpyro.plate("rows", len(y)):
        x = numpyro.sample("x", dist.Normal(1.0, 2.0), obs=x)
        numpyro.sample("y", dist.Normal(slope * x, 0.5), obs=y)


def assigned(y):
    mean = numpyro.sample("mean", dist.Normal(0.0, 3.0))
    with numpyro.plate("rows", len(y)):
        z = numpyro.sample("z", dist.Bernoulli(0.3))
        numpyro.sample("y", dist.Normal(mean + 5.0 * z, 0.5), obs=y)


def improper(y):
    mean = numpyro.sample("mean", dist.ImproperUniform(dist.constraints.real, (), ()))
    numpyro.sample("y", dist.Normal(mean, 1.0).expand([len(y)]).to_event(1), obs=y)


def with_factor(y):
    mean = numpyro.sample("mean", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Normal(mean, 1.0).expand([len(y)]).to_event(1), obs=y)
    numpyro.factor("penalty", -(mean**2))


def with_density_on_a_point(y):
    """A factor in other words."""
    mean = numpyro.sample("mean", dist.Normal(0.0, 1.0))
    numpyro.sample("penalty", dist.Delta(y[0], log_density=-10.0 * (mean - 3.0) ** 2), obs=y[0])
    numpyro.sample("y", dist.Normal(mean, 1.0).expand([len(y) - 1]).to_event(1), obs=y[1:])


def with_far_penalty(y):
    """A factor that is 0 near the prior's mean."""
    mean = numpyro.sample("mean", dist.Normal(0.0, 3.0))
    penalty = jnp.where(mean > 3.0, -10.0 * (mean - 3.0), 0.0)
    numpyro.sample("penalty", dist.Delta(y[0], log_density=penalty), obs=y[0])
    numpyro.sample("y", dist.Normal(mean, 1.0).expand([len(y) - 1]).to_event(1), obs=y[1:])


def scaled(y):
    mean = numpyro.sample("mean", dist.Normal(0.0, 1.0))
    with handlers.scale(scale=10.0):
        numpyro.sample("y", dist.Normal(mean, 1.0).expand([len(y)]).to_event(1), obs=y)


def moving_mask(y):
    mean = numpyro.sample("mean", dist.Normal(0.0, 1.0))
    with numpyro.plate("rows", len(y)), handlers.mask(mask=mean > 0.5):
        numpyro.sample("y", dist.Normal(mean, 1.0), obs=y)


def moving_mask_under_another(y):
    mean = numpyro.sample("mean", dist.Normal(0.0, 1.0))
    with numpyro.plate("rows", len(y)), handlers.mask(mask=y < 100), handlers.mask(mask=mean > 0.5):
        numpyro.sample("y", dist.Normal(mean, 1.0), obs=y)


def moving_mask_inside(y):
    mean = numpyro.sample("mean", dist.Normal(0.0, 1.0))
    noise = dist.Normal(mean, 1.0).expand([len(y)])
    numpyro.sample("y", noise.mask(mean > 0.5).mask(y < 100).to_event(1).mask(True), obs=y)


def nothing_observed(y):
    numpyro.sample("mean", dist.Normal(y.mean(), 1.0))


def logged(y):
    mean = numpyro.sample("mean", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Normal(mean, 1.0).expand([len(y)]).to_event(1), obs=jnp.exp(y))


def autoregressive(y):
    slope = numpyro.sample("slope", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Normal(slope * y[:-1], 1.0).to_event(1), obs=y[1:])


def of_the_data(y):
    mean = numpyro.sample("mean", dist.Normal(y.mean(), 1.0))
    numpyro.sample("y", dist.Normal(mean, 1.0).expand([len(y)]).to_event(1), obs=y)


def slightly_of_the_data(y):
    mean = numpyro.sample("mean", dist.Normal(0.01 * y.mean(), 1.0))
    numpyro.sample("y", dist.Normal(mean, 1.0).expand([len(y)]).to_event(1), obs=y)


def observed_together(x, y):
    mean = numpyro.sample("mean", dist.Normal(0.0, 1.0))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("both", dist.Normal(mean, 1.0).expand([2]).to_event(1), obs=jnp.stack([x, y], -1))


def observed_twice(y):
    mean = numpyro.sample("mean", dist.Normal(0.0, 1.0))
    for name in ("first", "second"):
        numpyro.sample(name, dist.Normal(mean, 1.0).expand([len(y)]).to_event(1), obs=y)


def too_wide(y):
    rate = numpyro.sample("rate", dist.LogNormal(0.0, 1000.0))
    numpyro.sample("y", dist.Normal(rate, 1.0).expand([len(y)]).to_event(1), obs=y)
