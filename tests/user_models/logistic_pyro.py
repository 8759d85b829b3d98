"""Hierarchical logistic regression: wells (simulated) in villages, an intercept for each village."""

import numpy as np
import pyro
import pyro.distributions as dist
import torch

rng = np.random.default_rng(11)
village = rng.integers(0, 8, 160)
x = rng.normal(size=(160, 2))
logits = rng.normal(-0.5, 0.8, 8)[village] + x @ np.array([1.0, -0.6])
data = {"x": x, "village": village, "y": (rng.random(160) < 1 / (1 + np.exp(-logits))).astype(float)}


def model(x, village, y, villages=8):
    mean = pyro.sample("mean", dist.Normal(0.0, 2.0))
    spread = pyro.sample("spread", dist.HalfNormal(1.0))
    slopes = pyro.sample("slopes", dist.Normal(torch.zeros(2), 1.5).to_event(1))
    with pyro.plate("villages", villages):
        offset = pyro.sample("offset", dist.Normal(0.0, 1.0))
    intercept = pyro.deterministic("intercept", mean + spread * offset)
    with pyro.plate("wells", len(y)):
        pyro.sample("y", dist.Bernoulli(logits=intercept[village] + x @ slopes), obs=y)
