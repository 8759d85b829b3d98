"""Gaussian process regression: a squared-exponential kernel, its length, its height and the noise unknown."""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

rng = np.random.default_rng(5)
x = np.sort(rng.uniform(-3, 3, 25))
data = {"x": x, "y": np.sin(1.5 * x) + 0.3 * rng.normal(size=25)}


def model(x, y):
    length = numpyro.sample("length", dist.LogNormal(0.0, 0.7))
    height = numpyro.sample("height", dist.HalfNormal(2.0))
    noise = numpyro.sample("noise", dist.HalfNormal(1.0))
    covariance = height**2 * jnp.exp(-0.5 * ((x[:, None] - x) / length) ** 2) + noise**2 * jnp.eye(len(x))
    numpyro.sample("y", dist.MultivariateNormal(jnp.zeros(len(x)), covariance), obs=y)
