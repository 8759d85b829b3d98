"""NUTS in NumPyro: the library's kernel on four vectorised chains, compiled once for warm-up and sampling."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from numpyro.infer import NUTS

from compare import registry
from compare.comparison import Drawn, Job
from compare.fit import fit_seed
from compare.fit.mcmc.nuts import (
    BLOCK,
    deadline_of_many,
    out_of_budget,
    punctual,
    run_until_enough,
    stacked,
    statistics,
    thinned,
)
from compare.fit.svi.objective_numpyro import ONCE, compiled, density, is_quick, split_arguments, unvalidated
from compare.fit.svi.protocol import bind
from compare.fit.tree import CHAINS
from compare.options import Options
from models.contract import Latents

__all__ = ["draw_many", "fit", "sample"]

STRIDE = 100
"""Transitions between two looks at the clock."""

TOGETHER = 250
"""Data sets whose chains go side by side."""


class Sampler:
    """Compiled chains of one program of a model's twin; data sets of the same shape share them."""

    def __init__(self, model: str, program: str, acceptance: float, static: tuple) -> None:
        twin = bind(registry.twin(model, "numpyro"), dict(static))
        self.kernel = NUTS(getattr(twin, program), target_accept_prob=acceptance)
        self.initialise = jax.jit(self._initialise, compiler_options=ONCE, static_argnums=1)
        self.advance = compiled(self._advance)
        self.initialise_many = jax.jit(jax.vmap(self._initialise, (0, None, 0)), static_argnums=1)
        self.advance_many = jax.jit(jax.vmap(self._advance, (0, None, 0)))

    @unvalidated
    def _initialise(self, key, warmup, data):
        return self.kernel.init(jax.random.split(key, CHAINS), warmup, None, (), data)

    @unvalidated
    def _advance(self, state, count, data):
        """``count`` transitions, at most STRIDE: the state, and what each recorded, shape (STRIDE, chain, ...)."""
        constrain = jax.vmap(self.kernel.postprocess_fn((), data))

        def record(state):
            stats = (state.diverging, state.energy, state.num_steps, state.accept_prob, state.adapt_state.step_size)
            return constrain(state.z), stats

        def transition(number, carry):
            state, kept = carry
            state = self.kernel.sample(state, (), data)
            return state, jax.tree.map(lambda kept, value: kept.at[number].set(value), kept, record(state))

        shapes = jax.eval_shape(record, state)
        kept = jax.tree.map(lambda value: jnp.zeros((STRIDE, *value.shape), value.dtype), shapes)
        return jax.lax.fori_loop(0, count, transition, (state, kept))


@lru_cache(maxsize=16)
def sampler(model: str, program: str, acceptance: float, static: tuple) -> Sampler:
    return Sampler(model, program, acceptance, static)


def fit(job: Job) -> tuple[xr.DataTree, int]:
    """Sample the job's model; the tree and the number of leapfrog steps."""
    return sample(job)


def sample(
    job: Job, program: str = "model", complete: Callable[[Latents], Latents] = dict, acceptance: float = 0.8
) -> tuple[xr.DataTree, int]:
    """Sample a program of the job's twin; the tree and the number of leapfrog steps.

    ``complete`` adds, to latents of shape (count, ...), those that the program has integrated out; ``acceptance`` is
    the rate that the step sizes are adapted to.
    """
    data, static = split_arguments(job.data.arguments())
    options, sites = job.options or Options(), job.data.shapes()
    chains = sampler(job.model, program, acceptance, static)
    advance = chains.advance[is_quick(sum(math.prod(shape) for shape in sites.values()), data)]
    deadline = time.perf_counter() + options.budget
    state = chains.initialise(jax.random.key(fit_seed(job)), options.warmup, data)
    for done in range(0, options.warmup, STRIDE):
        state, _ = advance(state, min(STRIDE, options.warmup - done), data)
        jax.block_until_ready(state)
        if time.perf_counter() > deadline:
            raise out_of_budget(options.budget)

    def block():
        nonlocal state
        pieces = []
        for _ in range(0, BLOCK, STRIDE):
            state, kept = advance(state, STRIDE, data)
            pieces.append(jax.tree.map(np.asarray, kept))
            if time.perf_counter() > deadline:
                break
        latents, stats = jax.tree.map(lambda *parts: np.concatenate(parts).swapaxes(0, 1), *pieces)
        draws = stats[0].shape[1]
        sampled = {name: latents[name] for name in sites if name in latents}
        flat = complete({name: value.reshape(-1, *value.shape[2:]) for name, value in sampled.items()})
        latents = {name: flat[name].reshape(CHAINS, draws, *flat[name].shape[1:]) for name in sites}
        return latents, statistics(*stats)

    return run_until_enough(job, block, density(job.model, static), data, deadline)


def draw_many(jobs: Sequence[Job], count: int) -> list[Drawn | Exception]:
    """Chains of every job's data side by side in one vectorised call, thinned to about ``count`` draws each.

    Every data set has four chains of its own, each with its own step size and mass matrix.

    Raises:
        TimeoutError: they are not done in ten budgets.
    """
    data, static = stacked(split_arguments, jobs)
    options, found = jobs[0].options or Options(), []
    deadline = deadline_of_many(options)
    chains = sampler(jobs[0].model, "model", 0.8, static)
    keys = jax.random.split(jax.random.key(fit_seed(jobs[0])), len(jobs))
    for begin in range(0, len(jobs), TOGETHER):
        piece = jnp.arange(begin, min(begin + TOGETHER, len(jobs)))
        mine = {name: value[piece] for name, value in data.items()}
        state = chains.initialise_many(keys[piece], options.warmup, mine)
        for done in range(0, options.warmup, STRIDE):
            state, _ = chains.advance_many(state, min(STRIDE, options.warmup - done), mine)
            jax.block_until_ready(state)
            punctual(deadline, options)
        parts = []
        for _ in range(0, BLOCK, STRIDE):
            state, kept = chains.advance_many(state, STRIDE, mine)
            parts.append(jax.tree.map(np.asarray, kept))
            punctual(deadline, options)
        latents, stats = jax.tree.map(lambda *one: np.concatenate(one, axis=1).swapaxes(1, 2), *parts)
        sites = jobs[0].data.shapes()
        for place in range(len(piece)):
            posterior = {name: latents[name][place] for name in sites}
            found.append(thinned(jobs[begin + place], posterior, stats[0][place], count))
    return found
