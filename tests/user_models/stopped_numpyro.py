"""Five models, guides whose best member `tests.stopped` knows, and a hand-written SVI loop that stops early."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.distributions import constraints
from numpyro.infer import SVI, Trace_ELBO
from numpyro.infer.autoguide import AutoMultivariateNormal, AutoNormal


def line(x, y):
    b = numpyro.sample("b", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    numpyro.sample("y", dist.Normal(x @ b, 0.5), obs=y)


def line_guide(x, y):
    loc = numpyro.param("loc", jnp.zeros(2))
    scale = numpyro.param("scale", jnp.full(2, 0.5), constraint=constraints.positive)
    numpyro.sample("b", dist.Normal(loc, scale).to_event(1))


def walk(y):
    steps = numpyro.sample("steps", dist.Normal(0.0, 1.0).expand([3]).to_event(1))
    numpyro.sample("y", dist.Normal(jnp.cumsum(steps), 0.5), obs=y)


def counts(y):
    rate = numpyro.sample("rate", dist.Gamma(2.0, 1.0))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Poisson(rate), obs=y)


def counts_guide(y):
    loc = numpyro.param("loc", 0.0)
    scale = numpyro.param("scale", 0.5, constraint=constraints.positive)
    numpyro.sample("rate", dist.LogNormal(loc, scale))


def measured(y):
    mean = numpyro.sample("mean", dist.Normal(0.0, 5.0))
    log_scale = numpyro.sample("log_scale", dist.Normal(0.0, 1.0))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(mean, jnp.exp(log_scale)), obs=y)


def dose(x, y):
    a, b = numpyro.sample("a", dist.Normal(0.0, 2.0)), numpyro.sample("b", dist.Normal(0.0, 2.0))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Bernoulli(logits=a + b * x), obs=y)


def dose_guide(x, y):
    for name in ("a", "b"):
        loc = numpyro.param(f"{name}_loc", 0.0)
        scale = numpyro.param(f"{name}_scale", 0.5, constraint=constraints.positive)
        numpyro.sample(name, dist.Normal(loc, scale))


MODELS = {"line": line, "walk": walk, "counts": counts, "measured": measured, "dose": dose}


@cache
def guide_of(case):
    """The guide of a model: an autoguide or a function."""
    autoguides = {"walk": AutoMultivariateNormal, "measured": AutoNormal}
    return autoguides[case](MODELS[case]) if case in autoguides else globals()[f"{case}_guide"]


@cache
def loop(case, guide):
    """NumPyro's SVI, and a function, compiled once, that advances its state by a number of steps."""
    svi = SVI(MODELS[case], guide, numpyro.optim.Adam(0.01), Trace_ELBO())

    @jax.jit
    def advance(state, steps, data):
        return jax.lax.fori_loop(0, steps, lambda _, state: svi.update(state, **data)[0], state)

    return svi, advance


def train(case, guide, data, seed, stops: Sequence[int]) -> Iterator[dict[str, np.ndarray]]:
    """The params at each stop, a number of steps of Adam at 0.01 with one draw a step, in float32."""
    data = {name: jnp.asarray(value, jnp.float32) for name, value in data.items()}
    svi, advance = loop(case, guide)
    state = svi.init(jax.random.key(seed), **data)
    for before, stop in zip((0, *stops), stops, strict=False):
        state = advance(state, stop - before, data)
        yield {name: np.asarray(value) for name, value in svi.get_params(state).items()}


def gaussian(case, params):
    """Location (d,) and lower triangular scale (d, d) of the guide at these params, in float64."""
    params = {name: np.asarray(value, float) for name, value in params.items()}
    if case == "walk":
        return params["auto_loc"], params["auto_scale_tril"]
    ends = {"measured": ("mean_auto_", "log_scale_auto_"), "dose": ("a_", "b_")}.get(case, ("",))
    loc, scale = (np.hstack([params[f"{end}{part}"] for end in ends]) for part in ("loc", "scale"))
    return loc, np.diag(scale)
