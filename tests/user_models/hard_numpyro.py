"""The models of `tests.hard_posteriors`: posteriors with several modes, rings, funnels, heavy tails and valleys."""

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax.scipy.special import logsumexp
from numpyro.infer.util import log_density


def mixture(centers, widths, log_weights):
    z = numpyro.sample("z", dist.Normal(0.0, 1.0).expand([centers.shape[-1]]).to_event(1))
    heights = dist.Normal(centers, widths[:, None]).to_event(1).log_prob(z[..., None, :])
    numpyro.factor("seen", logsumexp(log_weights + heights, axis=-1))


def mirrored(shift, mirrors, y, noise):
    z = numpyro.sample("z", dist.Normal(shift, 1.0).to_event(1))
    numpyro.sample("y", dist.Normal(jnp.where(mirrors > 0, z**2, z), noise).to_event(1), obs=y)


def ends(direction, concentration, y):
    angle = numpyro.sample("angle", dist.Uniform(-jnp.pi, jnp.pi).expand([len(direction)]).to_event(1))
    numpyro.sample("direction", dist.VonMises(angle, concentration).to_event(1), obs=direction)
    if len(y):
        x = numpyro.sample("x", dist.Normal(0.0, 1.0).expand([len(y)]).to_event(1))
        numpyro.sample("y", dist.Normal(x, 1.0).to_event(1), obs=y)


def conflict(shift, y):
    location = numpyro.sample("location", dist.Normal(shift, 10.0).to_event(1))
    numpyro.sample("first", dist.Cauchy(location, 1.0).to_event(1), obs=y[0])
    numpyro.sample("second", dist.Cauchy(location, 1.0).to_event(1), obs=y[1])


def ring(shift, shell, radius, width):
    z = numpyro.sample("z", dist.Normal(shift, 1.0).to_event(1))
    numpyro.sample("radius", dist.Normal(jnp.linalg.norm(z[..., :shell], axis=-1), width), obs=radius)


def funnel(spread, y, noise):
    v = numpyro.sample("v", dist.Normal(0.0, spread))
    x = numpyro.sample("x", dist.Normal(0.0, jnp.exp(v / 2)).expand([len(y)]).to_event(1))
    numpyro.sample("y", dist.Normal(x, noise).to_event(1), obs=y)


def horseshoe(y):
    half_t = dist.FoldedDistribution(dist.StudentT(3.0, 0.0, 1.0))
    scale = numpyro.sample("scale", half_t.expand([len(y)]).to_event(1))
    x = numpyro.sample("x", dist.Normal(0.0, scale).to_event(1))
    numpyro.sample("y", dist.Normal(x, 1.0).to_event(1), obs=y)


def valley(dimension, curvature, y, noise):
    z = numpyro.sample("z", dist.Normal(0.0, 1.0).expand([dimension]).to_event(1))
    numpyro.sample("y", dist.Normal(z[..., 1] - curvature * z[..., 0] ** 2, noise), obs=y)


def log_joint(kind, data, latents):
    """A model's log joint at the values of its latents, in nats."""
    arrays = {name: value if isinstance(value, int) else jnp.asarray(value) for name, value in data.items()}
    values = {site: jnp.asarray(value) for site, value in latents.items()}
    return float(log_density(globals()[kind], (), arrays, values)[0])
