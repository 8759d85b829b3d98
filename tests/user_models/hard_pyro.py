"""The models of `tests.hard_posteriors`: posteriors with several modes, rings, funnels, heavy tails and valleys."""

import pyro
import pyro.distributions as dist
import torch


def mixture(centers, widths, log_weights):
    z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([centers.shape[-1]]).to_event(1))
    heights = dist.Normal(centers, widths[:, None]).to_event(1).log_prob(z[..., None, :])
    pyro.factor("seen", torch.logsumexp(log_weights + heights, -1))


def mirrored(shift, mirrors, y, noise):
    z = pyro.sample("z", dist.Normal(shift, 1.0).to_event(1))
    pyro.sample("y", dist.Normal(torch.where(mirrors > 0, z**2, z), noise).to_event(1), obs=y)


def ends(direction, concentration, y):
    angle = pyro.sample("angle", dist.Uniform(-torch.pi, torch.pi).expand([len(direction)]).to_event(1))
    pyro.sample("direction", dist.VonMises(angle, concentration).to_event(1), obs=direction)
    if len(y):
        x = pyro.sample("x", dist.Normal(0.0, 1.0).expand([len(y)]).to_event(1))
        pyro.sample("y", dist.Normal(x, 1.0).to_event(1), obs=y)


def conflict(shift, y):
    location = pyro.sample("location", dist.Normal(shift, 10.0).to_event(1))
    pyro.sample("first", dist.Cauchy(location, 1.0).to_event(1), obs=y[0])
    pyro.sample("second", dist.Cauchy(location, 1.0).to_event(1), obs=y[1])


def ring(shift, shell, radius, width):
    z = pyro.sample("z", dist.Normal(shift, 1.0).to_event(1))
    pyro.sample("radius", dist.Normal(torch.linalg.norm(z[..., :shell], dim=-1), width), obs=radius)


def funnel(spread, y, noise):
    v = pyro.sample("v", dist.Normal(0.0, spread))
    x = pyro.sample("x", dist.Normal(0.0, torch.exp(v / 2)).expand([len(y)]).to_event(1))
    pyro.sample("y", dist.Normal(x, noise).to_event(1), obs=y)


def horseshoe(y):
    half_t = dist.FoldedDistribution(dist.StudentT(3.0, 0.0, 1.0))
    scale = pyro.sample("scale", half_t.expand([len(y)]).to_event(1))
    x = pyro.sample("x", dist.Normal(0.0, scale).to_event(1))
    pyro.sample("y", dist.Normal(x, 1.0).to_event(1), obs=y)


def valley(dimension, curvature, y, noise):
    z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([dimension]).to_event(1))
    pyro.sample("y", dist.Normal(z[..., 1] - curvature * z[..., 0] ** 2, noise), obs=y)


def log_joint(kind, data, latents):
    """A model's log joint at the values of its latents, in nats."""
    arrays = {name: value if isinstance(value, int) else torch.as_tensor(value) for name, value in data.items()}
    values = {site: torch.as_tensor(value) for site, value in latents.items()}
    conditioned = pyro.condition(globals()[kind], data=values)
    return float(pyro.poutine.trace(conditioned).get_trace(**arrays).log_prob_sum())
