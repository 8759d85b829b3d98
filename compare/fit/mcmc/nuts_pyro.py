"""NUTS in Pyro: four chains, each in a process of its own where processes can be forked, else one after another."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Generator, Sequence

import numpy as np
import pyro
import torch
import xarray as xr
from pyro.infer import NUTS
from pyro.infer.mcmc.util import initialize_model
from pyro.util import get_rng_state, set_rng_state

from compare import registry
from compare.comparison import Drawn, Job
from compare.fit import fit_seed
from compare.fit.mcmc.child import begin
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
from compare.fit.svi.objective_pyro import density, prepare, split_arguments
from compare.fit.svi.protocol import bind
from compare.fit.tree import CHAINS
from compare.options import Options
from models.contract import Latents

__all__ = ["draw_many", "fit", "sample"]

LENDER = "mean_field"
"""The family whose unconstrained space the chains on many data sets walk in."""


class RecordingNUTS(NUTS):
    """The library's NUTS, which also keeps each transition's energy, leapfrog steps, acceptance and step size."""

    def _build_basetree(self, z, r, z_grads, log_slice, direction, energy_current):
        tree = super()._build_basetree(z, r, z_grads, log_slice, direction, energy_current)
        self.steps, self.energy = self.steps + 1, float(energy_current)
        self.accepted += float(tree.sum_accept_probs)
        return tree

    def sample(self, params):
        self.steps, self.accepted, before = 0, 0.0, len(self._divergences)
        value = super().sample(params)
        diverging, rate = len(self._divergences) > before, self.accepted / max(self.steps, 1)
        self.record = (diverging, self.energy, self.steps, rate, float(self.step_size))
        return value


def compiled(model, data, warmup: int, acceptance: float) -> RecordingNUTS:
    """A kernel whose log joint is compiled, unless compiling changes it (a model that branches on its latents)."""
    kernel = RecordingNUTS(model, target_accept_prob=acceptance, jit_compile=True, ignore_jit_warnings=True)
    with warnings.catch_warnings():  # how the library compiles is not the user's to change
        warnings.simplefilter("ignore", DeprecationWarning)
        kernel.setup(warmup, **data)
    _, potential, _, _ = initialize_model(model, model_kwargs=data)
    for scale in (1.0, -1.0, 0.3):
        point = {name: value + scale for name, value in kernel.initial_params.items()}
        if not torch.allclose(potential(point), kernel.potential_fn(point), rtol=1e-9, equal_nan=True):
            kernel = RecordingNUTS(model, target_accept_prob=acceptance)
            kernel.setup(warmup, **data)
            break
    return kernel


def chain(model, data, seed: int, acceptance: float, warmup: int, deadline: float, budget: float) -> Generator:
    """One chain: yields (latents, statistics) of a block of draws, as many blocks as are asked for.

    Raises:
        TimeoutError: the deadline passed during the warm-up.
    """
    parent = os.getppid()
    torch.set_num_threads(1)
    pyro.set_rng_seed(seed)
    with pyro.validation_enabled(False):
        kernel = compiled(model, data, warmup, acceptance)
        params = kernel.initial_params
        for _ in range(warmup):
            params = kernel.sample(params)
            if time.perf_counter() > deadline:
                raise out_of_budget(budget)
        while True:
            draws, records = [], []
            for number in range(BLOCK):
                if number >= 10 and (time.perf_counter() > deadline or os.getppid() != parent):
                    break
                params = kernel.sample(params)
                draws.append(params)
                records.append(kernel.record)
            latents = {
                name: kernel.transforms[name].inv(torch.stack([draw[name] for draw in draws])).numpy()
                if name in kernel.transforms
                else torch.stack([draw[name] for draw in draws]).numpy()
                for name in params
            }
            yield latents, statistics(*(np.array(column) for column in zip(*records, strict=True)))


def serve(parent: int, connection, *arguments) -> None:
    """Run a chain in a child process: a block for every message."""
    begin(parent)
    blocks = chain(*arguments)
    while connection.recv():
        try:
            connection.send(next(blocks))
        except Exception as error:
            connection.send(error)
            return


def forkable() -> bool:
    """Whether this process can be forked: one in which another library, or a scheduler, runs threads may deadlock."""
    alone = threading.current_thread() is threading.main_thread() and not multiprocessing.current_process().daemon
    return sys.platform == "linux" and "jax" not in sys.modules and alone


class Chains:
    """The chains of one run, side by side where this process can be forked."""

    def __init__(self, arguments: list[tuple]) -> None:
        self.forked = forkable()
        if not self.forked:
            self.generators = [chain(*one) for one in arguments]
            self.states = [None] * len(arguments)
            return
        context = multiprocessing.get_context("fork")
        self.connections, self.processes = [], []
        for one in arguments:
            here, there = context.Pipe()
            process = context.Process(target=serve, args=(os.getpid(), there, *one), daemon=True)
            process.start()
            there.close()  # the child's end is its own, and ends with it
            self.connections.append(here)
            self.processes.append(process)

    def __enter__(self):
        return self

    def __exit__(self, *exception) -> None:
        if self.forked:
            for process in self.processes:
                process.terminate()
                process.join()

    def turn(self, number: int):
        """One chain's next block, with random numbers of its own, as if it had a process to itself."""
        if self.states[number] is not None:
            set_rng_state(self.states[number])
        made = next(self.generators[number])
        self.states[number] = get_rng_state()
        return made

    def block(self):
        if self.forked:
            try:
                for connection in self.connections:
                    connection.send(True)
                blocks = [connection.recv() for connection in self.connections]
            except (EOFError, OSError):
                raise RuntimeError("a chain's process ended unexpectedly") from None
        else:
            blocks = [self.turn(number) for number in range(len(self.generators))]
        for one in blocks:
            if isinstance(one, Exception):
                raise one
        shortest = min(len(stats["energy"]) for _, stats in blocks)  # at the deadline chains stop where they are
        return tuple(
            {name: np.stack([part[side][name][:shortest] for part in blocks]) for name in blocks[0][side]}
            for side in (0, 1)
        )


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
    model = getattr(bind(registry.twin(job.model, "pyro"), dict(static)), program)
    options, seed = job.options or Options(), fit_seed(job) % 2**31
    deadline = time.perf_counter() + options.budget
    limits = (options.warmup, deadline, options.budget)
    with Chains([(model, data, seed + number, acceptance, *limits) for number in range(CHAINS)]) as chains:

        def block():
            sampled, stats = chains.block()
            shape = stats["energy"].shape
            flat = complete({name: value.reshape(-1, *value.shape[2:]) for name, value in sampled.items()})
            return {name: flat[name].reshape(*shape, *flat[name].shape[1:]) for name in job.data.shapes()}, stats

        return run_until_enough(job, block, density(job.model, static), data, deadline)


def draw_many(jobs: Sequence[Job], count: int) -> list[Drawn | Exception]:
    """Chains on the product of every job's posterior, thinned to about ``count`` draws each.

    The library has no chains side by side. But data sets that have nothing to do with each other have a joint posterior
    that is the product of theirs, and a draw from it holds one from each: NUTS walks through all of them at once.
    """
    data, static = stacked(split_arguments, jobs)
    options, seed = jobs[0].options or Options(), fit_seed(jobs[0]) % 2**31
    deadline = deadline_of_many(options)
    objective = prepare(jobs[0].model, LENDER, static)
    first, _ = split_arguments(jobs[0].data.arguments())
    size = objective.start(seed, first)["location"].size
    potential = objective.potential_many(data)
    walks, diverging = [], []
    with pyro.validation_enabled(False):
        for number in range(CHAINS):
            pyro.set_rng_seed(seed + number)
            start = torch.rand(len(jobs), size) * 4 - 2
            kernel = RecordingNUTS(potential_fn=lambda params: potential(params["z"])[0])
            kernel.initial_params = {"z": start}
            kernel.setup(options.warmup)
            params = {"z": start}
            for _ in range(options.warmup):
                params = kernel.sample(params)
                punctual(deadline, options)
            walk, records = [], []
            for _ in range(BLOCK):
                params = kernel.sample(params)
                walk.append(params["z"])
                records.append(kernel.record[0])
                punctual(deadline, options)
            walks.append([potential(z)[1] for z in walk])
            diverging.append(records)
    latents = {
        name: np.stack([np.stack([one[name].numpy() for one in walk]) for walk in walks]) for name in walks[0][0]
    }
    told = np.array(diverging)
    return [
        thinned(job, {name: value[:, :, place] for name, value in latents.items()}, told, count)
        for place, job in enumerate(jobs)
    ]
