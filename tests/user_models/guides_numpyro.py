"""Guides as users of NumPyro write them, right and wrong, for two models whose posteriors are known."""

from __future__ import annotations

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from numpyro.distributions import constraints
from numpyro.infer import autoguide

AUTOGUIDE, LOW_RANK, POINT = autoguide.AutoNormal, autoguide.AutoLowRankMultivariateNormal, autoguide.AutoDelta


def line(x, y):
    """A line with a known noise: the posterior of its two coefficients is Gaussian."""
    b = numpyro.sample("b", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    numpyro.sample("y", dist.Normal(x @ b, 0.5), obs=y)


def with_param(x, y):
    """The same line, whose noise is a param."""
    b = numpyro.sample("b", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    noise = positive("noise", 0.3)
    numpyro.sample("y", dist.Normal(x @ b, noise), obs=y)


def counts(y):
    """Counts at one rate: its posterior is a Gamma."""
    rate = numpyro.sample("rate", dist.Gamma(2.0, 1.0))
    numpyro.sample("y", dist.Poisson(rate).expand([y.shape[0]]).to_event(1), obs=y)


def pairs(y):
    """Standard normal pairs whose correlation is not known."""
    factor = numpyro.sample("factor", dist.LKJCholesky(2, 2.0))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.MultivariateNormal(jnp.zeros(2), scale_tril=factor), obs=y)


def of_factor(y):
    """A Normal in the unconstrained space of Cholesky factors of correlation matrices."""
    base = dist.Normal(numpyro.param("loc", jnp.zeros(1)), positive("scale", jnp.full(1, 0.5))).to_event(1)
    transform = dist.transforms.CorrCholeskyTransform()
    numpyro.sample("factor", dist.TransformedDistribution(base, transform))


def batches(y):
    """A latent for each row, of which the user's SVI sees two at a time."""
    with numpyro.plate("rows", 5, subsample_size=2) as rows:
        z = numpyro.sample("z", dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Normal(z, 1.0), obs=y[rows])


def of_batches(y):
    loc, scale = numpyro.param("loc", jnp.zeros(5)), positive("scale", jnp.full(5, 0.5))
    with numpyro.plate("rows", 5, subsample_size=2) as rows:
        numpyro.sample("z", dist.Normal(loc[rows], scale[rows]))


def of_scaled_batches(y):
    """It scales what the plate has scaled already."""
    with numpyro.handlers.scale(scale=2.5):
        of_batches(y)


def positive(name, value):
    return numpyro.param(name, value, constraint=constraints.positive)


def by_hand(x, y):
    loc, scale = numpyro.param("loc", jnp.zeros(2)), positive("scale", jnp.full(2, 0.5))
    numpyro.sample("b", dist.Normal(loc, scale).to_event(1))


def late(x, y):
    """Its params enter behind what it draws; and it observes the data, which is no part of q."""
    eps = numpyro.sample("eps", dist.Normal(jnp.zeros(2), 1.0).to_event(1), infer={"is_auxiliary": True})
    loc, scale = numpyro.param("loc", jnp.zeros(2)), positive("scale", jnp.full(2, 0.5))
    density = -jnp.log(scale).sum()
    b = numpyro.sample("b", dist.Delta(loc + scale * eps, log_density=density, event_dim=1))
    numpyro.sample("y", dist.Normal(x @ b, 0.5), obs=y)


def without_jacobian(x, y, times=0.0):
    """As `late`, but the density is that of ``eps``."""
    eps = numpyro.sample("eps", dist.Normal(jnp.zeros(2), 1.0).to_event(1), infer={"is_auxiliary": True})
    loc, scale = numpyro.param("loc", jnp.zeros(2)), positive("scale", jnp.full(2, 0.5))
    numpyro.sample("b", dist.Delta(loc + scale * eps, log_density=-times * jnp.log(scale).sum(), event_dim=1))


def twice_the_jacobian(x, y):
    without_jacobian(x, y, 2.0)


def integrated(x, y):
    """A mean with a wide density of its own, which is counted as well: log q(b) is an integral over it."""
    mean = numpyro.sample("mean", dist.Normal(jnp.zeros(2), 10.0).to_event(1), infer={"is_auxiliary": True})
    numpyro.sample("b", dist.Normal(numpyro.param("loc", jnp.zeros(2)) + 0.1 * mean, 0.5).to_event(1))


def settled(x, y):
    """A posterior worked out elsewhere: it has no params."""
    numpyro.sample("b", dist.Normal(jnp.array([0.9, -0.4]), jnp.array([0.3, 0.2])).to_event(1))


def renamed(features, target):
    """Its arguments have other names than the model's."""
    by_hand(features, target)


def amortised(x, y):
    """Its means are a small network's, which sees the data."""
    weights = numpyro.param("net", {"w": 0.01 * jnp.ones((2, y.shape[0])), "b": jnp.zeros(2)})
    numpyro.sample("b", dist.Normal(weights["w"] @ y + weights["b"], positive("scale", jnp.full(2, 0.5))).to_event(1))


def gamma(y):
    """The posterior's own family, which no standard normals make."""
    numpyro.sample("rate", dist.Gamma(positive("shape", 5.0), positive("speed", 2.0)))


def missing(x, y):
    numpyro.param("loc", 0.0)


def too_many(x, y):
    by_hand(x, y)
    numpyro.sample("c", dist.Normal(0.0, 1.0))


def of_other_shape(x, y):
    numpyro.sample("b", dist.Normal(numpyro.param("loc", jnp.zeros(3)), 1.0).to_event(1))


def discrete(x, y):
    by_hand(x, y)
    numpyro.sample("k", dist.Bernoulli(0.5))


def scaled(x, y):
    with numpyro.handlers.scale(scale=10.0):
        by_hand(x, y)


def of_other_data(x):
    numpyro.sample("b", dist.Normal(jnp.zeros(2), 1.0).to_event(1))
