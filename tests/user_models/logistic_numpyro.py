"""Hierarchical logistic regression: wells (simulated) in villages, an intercept for each village."""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

rng = np.random.default_rng(11)
village = rng.integers(0, 8, 160)
x = rng.normal(size=(160, 2))
logits = rng.normal(-0.5, 0.8, 8)[village] + x @ np.array([1.0, -0.6])
data = {"x": x, "village": village, "y": (rng.random(160) < 1 / (1 + np.exp(-logits))).astype(int)}


def model(x, village, y, villages=8):
    mean = numpyro.sample("mean", dist.Normal(0, 2))
    spread = numpyro.sample("spread", dist.HalfNormal(1.0))
    slopes = numpyro.sample("slopes", dist.Normal(jnp.zeros(2), 1.5).to_event(1))
    with numpyro.plate("villages", villages):
        offset = numpyro.sample("offset", dist.Normal(0, 1))
    intercept = numpyro.deterministic("intercept", mean + spread * offset)
    with numpyro.plate("wells", len(y)):
        numpyro.sample("y", dist.Bernoulli(logits=intercept[village] + x @ slopes), obs=y)
