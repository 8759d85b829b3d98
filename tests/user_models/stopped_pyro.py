"""Five models, guides whose best member `tests.stopped` knows, and a hand-written SVI loop that stops early."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from pyro.infer import SVI, Trace_ELBO
from pyro.infer.autoguide import AutoMultivariateNormal, AutoNormal


def line(x, y):
    b = pyro.sample("b", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    with pyro.plate("rows", len(y)):
        pyro.sample("y", dist.Normal(x @ b, 0.5), obs=y)


def line_guide(x, y):
    loc = pyro.param("loc", torch.zeros(2))
    scale = pyro.param("scale", torch.full((2,), 0.5), constraint=constraints.positive)
    pyro.sample("b", dist.Normal(loc, scale).to_event(1))


def walk(y):
    steps = pyro.sample("steps", dist.Normal(0.0, 1.0).expand([3]).to_event(1))
    with pyro.plate("rows", len(y)):
        pyro.sample("y", dist.Normal(torch.cumsum(steps, -1), 0.5), obs=y)


def counts(y):
    rate = pyro.sample("rate", dist.Gamma(2.0, 1.0))
    with pyro.plate("rows", len(y)):
        pyro.sample("y", dist.Poisson(rate), obs=y)


def counts_guide(y):
    loc = pyro.param("loc", torch.tensor(0.0))
    scale = pyro.param("scale", torch.tensor(0.5), constraint=constraints.positive)
    pyro.sample("rate", dist.LogNormal(loc, scale))


def measured(y):
    mean = pyro.sample("mean", dist.Normal(0.0, 5.0))
    log_scale = pyro.sample("log_scale", dist.Normal(0.0, 1.0))
    with pyro.plate("rows", len(y)):
        pyro.sample("y", dist.Normal(mean, torch.exp(log_scale)), obs=y)


def dose(x, y):
    a, b = pyro.sample("a", dist.Normal(0.0, 2.0)), pyro.sample("b", dist.Normal(0.0, 2.0))
    with pyro.plate("rows", len(y)):
        pyro.sample("y", dist.Bernoulli(logits=a + b * x), obs=y)


def dose_guide(x, y):
    for name in ("a", "b"):
        loc = pyro.param(f"{name}_loc", torch.tensor(0.0))
        scale = pyro.param(f"{name}_scale", torch.tensor(0.5), constraint=constraints.positive)
        pyro.sample(name, dist.Normal(loc, scale))


MODELS = {"line": line, "walk": walk, "counts": counts, "measured": measured, "dose": dose}


def guide_of(case):
    """The guide of a model: a new autoguide or a function."""
    autoguides = {"walk": AutoMultivariateNormal, "measured": AutoNormal}
    return autoguides[case](MODELS[case]) if case in autoguides else globals()[f"{case}_guide"]


def train(case, guide, data, seed, stops: Sequence[int]) -> Iterator[dict[str, np.ndarray]]:
    """The params at each stop, a number of steps of Adam at 0.01 with one draw a step, in float32.

    Clears the param store first.
    """
    pyro.clear_param_store()
    pyro.set_rng_seed(seed)
    data = {name: torch.tensor(value, dtype=torch.float32) for name, value in data.items()}
    svi = SVI(MODELS[case], guide, pyro.optim.Adam({"lr": 0.01}), Trace_ELBO())
    for before, stop in zip((0, *stops), stops, strict=False):
        for _ in range(stop - before):
            svi.step(**data)
        yield {name: value.detach().numpy().copy() for name, value in pyro.get_param_store().items()}


def gaussian(case, params):
    """Location (d,) and lower triangular scale (d, d) of the guide at these params, in float64."""
    params = {name: np.asarray(value, float) for name, value in params.items()}
    if case == "walk":
        loc, scale, unit = (params[f"AutoMultivariateNormal.{part}"] for part in ("loc", "scale", "scale_tril"))
        return loc, scale[:, None] * unit
    ends = {"measured": ("AutoNormal.{}s.mean", "AutoNormal.{}s.log_scale"), "dose": ("a_{}", "b_{}")}
    sites = ends.get(case, ("{}",))
    loc, scale = (np.hstack([params[site.format(part)] for site in sites]) for part in ("loc", "scale"))
    return loc, np.diag(scale)
