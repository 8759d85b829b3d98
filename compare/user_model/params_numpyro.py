"""Params of a user's NumPyro model: which the log joint depends on, and the best by the library's own SVI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from numpyro import handlers, optim
from numpyro.infer import SVI, Trace_ELBO
from numpyro.infer.autoguide import AutoMultivariateNormal
from numpyro.infer.util import log_density

from compare.user_model.arguments import hold
from compare.user_model.density_numpyro import split_arguments
from compare.user_model.in_numpyro import plain, twin
from compare.user_model.jit_numpyro import QUICK, unvalidated
from compare.user_model.minimise import minimise

N_PARTICLES = 256
"""Draws that the ELBO is averaged over."""


def used(user: Any, values: Mapping[str, Any], starts: Mapping[str, Any], latents: Mapping[str, Any]) -> list[str]:
    """The params among ``starts`` that the log joint depends on."""
    held = {name: set(hold({name: value})) for name, value in starts.items()}
    data, static = split_arguments(dict(values) | hold(starts))
    model = handlers.seed(partial(twin(user).model, **dict(static)), 0)

    @unvalidated
    def joint(params: Any) -> jax.Array:
        return log_density(model, (), data | params, dict(latents))[0]

    slopes = jax.grad(joint)({name: data[name] for leaves in held.values() for name in leaves & data.keys()})
    return [name for name, leaves in held.items() if any(np.any(slopes[leaf] != 0) for leaf in leaves & slopes.keys())]


def learn(user: Any, values: Mapping[str, Any], names: Sequence[str], seed: int = 0) -> dict[str, Any]:
    """The params, constrained, where the ELBO of a full-rank guide is highest."""
    data, static = split_arguments(values)
    model = partial(twin(user).model, **dict(static))
    svi = SVI(model, AutoMultivariateNormal(model), optim.Adam(1.0), Trace_ELBO(num_particles=N_PARTICLES))
    begin, draws = jax.random.split(jax.random.key(seed))
    state = unvalidated(lambda: svi.init(begin, **data))()
    start, unravel = ravel_pytree(svi.optim.get_params(state.optim_state))

    @unvalidated
    def loss(flat: jax.Array) -> jax.Array:
        """-ELBO of unconstrained params, of guide and model, at the same draws in every call."""
        return svi.loss.loss(draws, svi.constrain_fn(unravel(flat)), svi.model, svi.guide, **data)

    slope = jax.jit(jax.value_and_grad(loss), compiler_options=QUICK)
    best = svi.constrain_fn(unravel(jnp.asarray(minimise(lambda x: map(np.asarray, slope(x)), np.asarray(start)))))
    return {name: plain(best[name]) for name in names}
