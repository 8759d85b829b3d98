"""Models of one or two latents whose posteriors an integral over a line gives."""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

rng = np.random.default_rng(4)
SQUARES = 1.6 + 0.4 * rng.normal(size=15)
POINTS = np.stack([-1 + 0.3 * rng.normal(size=8), 0.3 * rng.normal(size=8) - 0.05])
VALUES = rng.normal(0.5, 1.0, 12)


def squared(y):
    root = numpyro.sample("root", dist.Normal(0.1, 1.0))
    numpyro.sample("y", dist.Normal(root**2, 0.4).expand([len(y)]).to_event(1), obs=y)


def angle(points):
    turn = numpyro.sample("turn", dist.Uniform(-np.pi, np.pi))
    centre = jnp.stack([jnp.cos(turn), jnp.sin(turn)])[:, None]
    numpyro.sample("points", dist.Normal(centre, 0.5), obs=points)


def lengthy(y):
    mean = numpyro.sample("mean", dist.Normal(jnp.zeros(1), 1.0))
    numpyro.deterministic("double", 2 * mean)
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(mean, 1.0), obs=y)


def location_scale(y):
    mean = numpyro.sample("mean", dist.Normal(0.0, 1.0))
    scale = numpyro.sample("scale", dist.Gamma(2.0, 1.0))
    numpyro.deterministic("ratio", mean / scale)
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(mean, scale), obs=y)


def separated(y):
    slope = numpyro.sample("slope", dist.Cauchy(0.0, 1.0))
    numpyro.sample("y", dist.Bernoulli(logits=slope).expand([len(y)]).to_event(1), obs=y)
