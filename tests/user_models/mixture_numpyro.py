"""A mixture of two normals, marginal and with assignments; in order, so that labels cannot switch."""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

rng = np.random.default_rng(3)
data = {"y": np.concatenate([rng.normal(-1.5, 1.0, 35), rng.normal(2.0, 0.7, 25)])}


def components():
    weight = numpyro.sample("weight", dist.Beta(2, 2))
    base = dist.Normal(0, 3).expand([2]).to_event(1)
    mean = numpyro.sample("mean", dist.TransformedDistribution(base, dist.transforms.OrderedTransform()))
    scale = numpyro.sample("scale", dist.LogNormal(0, 0.5).expand([2]).to_event(1))
    return jnp.stack([1 - weight, weight]), mean, scale


def model(y):
    probabilities, mean, scale = components()
    mixture = dist.MixtureSameFamily(dist.Categorical(probs=probabilities), dist.Normal(mean, scale))
    with numpyro.plate("points", len(y)):
        numpyro.sample("y", mixture, obs=y)


def assigned(y):
    probabilities, mean, scale = components()
    with numpyro.plate("points", len(y)):
        which = numpyro.sample("which", dist.Categorical(probs=probabilities))
        numpyro.sample("y", dist.Normal(mean[which], scale[which]), obs=y)
