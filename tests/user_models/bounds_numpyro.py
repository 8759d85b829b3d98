"""Models whose latents decide which values can be observed."""

import numpyro
import numpyro.distributions as dist
from numpyro.distributions import transforms


def below(values):
    top = numpyro.sample("theta", dist.Uniform(0.0, 20.0))
    with numpyro.plate("data", len(values)):
        numpyro.sample("values", dist.Uniform(0.0, top), obs=values)


def above(values):
    least = numpyro.sample("theta", dist.Uniform(0.0, 20.0))
    with numpyro.plate("data", len(values)):
        numpyro.sample("values", dist.Pareto(least, 2.0), obs=values)


def shifted(values):
    start = numpyro.sample("theta", dist.Uniform(-5.0, 5.0))
    shift = transforms.AffineTransform(start, 1.0)
    waiting = dist.TransformedDistribution(dist.Exponential(1.0).expand(values.shape), shift)
    numpyro.sample("values", waiting.to_event(1), obs=values)


def half_normal(values):
    start = numpyro.sample("theta", dist.Uniform(-5.0, 5.0))
    shift = transforms.AffineTransform(start, 1.0)
    waiting = dist.TransformedDistribution(dist.HalfNormal(2.0).expand(values.shape), [shift])
    numpyro.sample("values", waiting.to_event(1), obs=values)


def log_normal(values):
    start = numpyro.sample("theta", dist.Uniform(-5.0, 5.0))
    shift = transforms.AffineTransform(start, 1.0)
    waiting = dist.TransformedDistribution(dist.LogNormal(0.0, 1.0).expand(values.shape), [shift])
    numpyro.sample("values", waiting.to_event(1), obs=values)


def cut(values):
    least = numpyro.sample("theta", dist.Uniform(-5.0, 5.0))
    with numpyro.plate("data", len(values)):
        numpyro.sample("values", dist.TruncatedNormal(0.0, 2.0, low=least), obs=values)
