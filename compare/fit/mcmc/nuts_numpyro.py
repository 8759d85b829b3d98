"""NUTS in NumPyro: the library's kernel on four vectorised chains, compiled once for warm-up and sampling."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import handlers
from numpyro.infer import NUTS
from numpyro.infer.hmc import HMCState

from compare import registry
from compare.comparison import Job
from compare.fit.mcmc.nuts import BASE, BLOCK, Adaptation, Block, Pace, Program, statistics
from compare.fit.svi.objective_numpyro import Objective
from compare.fit.svi.protocol import Static, bind
from compare.fit.tree import N_CHAINS
from compare.user_model import twins
from compare.user_model.density_numpyro import density, split_arguments
from compare.user_model.jit_numpyro import ONCE, compiled, is_quick, unvalidated
from guides.contract import Parameters

__all__ = ["BASE", "chains", "chains_of_many", "density", "in_coordinates_of", "split_arguments"]

STRIDE = 25
"""Transitions between two looks at the clock."""

LONG = 100
"""Leapfrog steps a transition from which on compiling well is sooner done than running what was compiled quickly."""

TOGETHER = 250
"""Data sets whose chains go side by side."""

Data = Mapping[str, Any]


class Sampler:
    """Compiled chains of one program of a model's twin, for data of one form and one warm-up; see `sampler`."""

    def __init__(self, model: str, program: Program, adaptation: Adaptation, static: Static) -> None:
        run = getattr(bind(twins.twin(model, "numpyro"), static), program) if isinstance(program, str) else program
        settings = {"target_accept_prob": adaptation.acceptance, "dense_mass": adaptation.dense}
        # A kernel keeps what its first start saw of the data, which is another thing under vmap: so there are two.
        single, many = (Kernel(NUTS(run, **settings)) for _ in range(2))
        self.initialise = jax.jit(single.initialise, compiler_options=ONCE, static_argnums=1)
        self.advance = compiled(single.advance)
        self.initialise_many = jax.jit(jax.vmap(many.initialise, (0, None, 0)), static_argnums=1)
        self.advance_many = jax.jit(jax.vmap(many.advance, (0, None, 0)))


@dataclass(frozen=True)
class Kernel:
    """What the library's kernel does to four chains at once."""

    kernel: NUTS

    @unvalidated
    def initialise(self, key: jax.Array, warmup: int, data: Data) -> HMCState:
        return self.kernel.init(jax.random.split(key, N_CHAINS), warmup, None, (), data)

    @unvalidated
    def advance(self, state: HMCState, count: int, data: Data) -> tuple[HMCState, Any]:
        """``count`` transitions, at most STRIDE: the state, and what each recorded, shape (STRIDE, chain, ...)."""
        constrain = jax.vmap(self.kernel.postprocess_fn((), data))

        def record(state: HMCState) -> tuple[Any, ...]:
            stats = (state.diverging, state.energy, state.num_steps, state.accept_prob, state.adapt_state.step_size)
            return constrain(state.z), stats

        def transition(number: int, carry: tuple[HMCState, Any]) -> tuple[HMCState, Any]:
            state, records = carry
            state = self.kernel.sample(state, (), data)
            return state, jax.tree.map(lambda all_, value: all_.at[number].set(value), records, record(state))

        shapes = jax.eval_shape(record, state)
        records = jax.tree.map(lambda value: jnp.zeros((STRIDE, *value.shape), value.dtype), shapes)
        return jax.lax.fori_loop(0, count, transition, (state, records))


def sampler(model: str, program: Program, adaptation: Adaptation, warmup: int, static: Static, data: Data) -> Sampler:
    """The chains of a program, whose kernel can start once only: on data of this form, with this warm-up."""
    form = tuple((name, value.shape, value.dtype) for name, value in sorted(data.items()))
    return sampler_of_form(model, program, adaptation, warmup, static, form)


@registry.cached_by_model(16)
def sampler_of_form(
    model: str, program: Program, adaptation: Adaptation, warmup: int, static: Static, form: tuple[Any, ...]
) -> Sampler:
    return Sampler(model, program, adaptation, static)


def warmed_up(
    state: HMCState, advance: Callable[..., Any], warmup: int, data: Data, check: Callable[[int], None]
) -> HMCState:
    for begin in range(0, warmup, STRIDE):
        count = min(STRIDE, warmup - begin)
        state, _ = jax.block_until_ready(advance(state, count, data))
        check(begin + count)
    return state


@contextmanager
def chains(
    job: Job, program: Program, adaptation: Adaptation, data: Data, static: Static, deadline: float
) -> Iterator[Callable[[], Block]]:
    options = job.options
    run = sampler(job.model, program, adaptation, options.warmup, static, data)
    is_long = job.method == "reference"  # its run takes longer than any compilation
    quick = not is_long and is_quick(job.layout.dimension, dict(data))
    pace, has_run = Pace(options.warmup, deadline, options.budget), set[bool]()

    def advance(state: HMCState, count: int, data: Data) -> tuple[HMCState, Any]:
        nonlocal quick
        state, records = jax.block_until_ready(run.advance[quick](state, count, data))
        if quick not in has_run:  # it was compiled
            has_run.add(quick)
            pace.restart()
        _, (_, _, steps, *_) = records
        quick = quick and float(steps[:count].mean()) < LONG
        return state, records

    state = run.initialise(jax.random.key(job.fit_seed), options.warmup, data)
    state = warmed_up(state, advance, options.warmup, data, pace.look)

    def block() -> Block:
        nonlocal state
        pieces = []
        for _ in range(0, BLOCK, STRIDE):
            state, records = advance(state, STRIDE, data)
            pieces.append(jax.tree.map(np.asarray, records))
            if time.perf_counter() > deadline:
                break
        latents, stats = jax.tree.map(lambda *parts: np.concatenate(parts).swapaxes(0, 1), *pieces)
        return latents, statistics(*stats)

    yield block


def in_coordinates_of(objective: Objective, parameters: Parameters) -> Callable[..., None]:
    """The program of a guide's standard normals, see `compare.fit.mcmc.nuts`."""

    def program(**data: jax.Array) -> None:
        eps = numpyro.sample(BASE, dist.Normal(jnp.zeros(objective.dimension), 1).to_event(1))
        with handlers.block():
            loss, _ = objective.particle(parameters, parameters, eps, data)
        numpyro.factor("log_ratio", -loss)

    return program


def chains_of_many(
    jobs: Sequence[Job], data: Data, static: Static, check: Callable[[], None]
) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
    """Chains of every job's data in vectorised calls, see `compare.fit.mcmc.nuts`.

    Every data set has four chains of its own, each with its own step size and mass matrix.
    """
    options = jobs[0].options
    keys = jax.random.split(jax.random.key(jobs[0].fit_seed), len(jobs))
    for begin in range(0, len(jobs), TOGETHER):
        piece = jnp.arange(begin, min(begin + TOGETHER, len(jobs)))
        own = {name: value[piece] for name, value in data.items()}
        run = sampler(jobs[0].model, "model", Adaptation.of(jobs[0]), options.warmup, static, own)
        state = run.initialise_many(keys[piece], options.warmup, own)
        state = warmed_up(state, run.advance_many, options.warmup, own, lambda _: check())
        parts = []
        for _ in range(0, BLOCK, STRIDE):
            state, records = run.advance_many(state, STRIDE, own)
            parts.append(jax.tree.map(np.asarray, records))
            check()
        latents, stats = jax.tree.map(lambda *part: np.concatenate(part, axis=1).swapaxes(1, 2), *parts)
        for place in range(len(piece)):
            yield {name: latents[name][place] for name in jobs[0].layout.latents}, stats[0][place]
