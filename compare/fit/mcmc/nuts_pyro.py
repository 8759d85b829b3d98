"""NUTS in Pyro: four chains, each in a process of its own where processes can be forked, else one after another."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer import NUTS
from pyro.infer.mcmc.util import initialize_model
from pyro.util import get_rng_state, set_rng_state

from compare.comparison import Job
from compare.fit.mcmc.child import begin
from compare.fit.mcmc.nuts import BASE, BLOCK, Adaptation, Block, Pace, Program, statistics
from compare.fit.svi.base_pyro import BaseDraws
from compare.fit.svi.objective_pyro import LogJoint, Objective, ParticleELBO
from compare.fit.svi.protocol import Static, bind
from compare.fit.tree import N_CHAINS
from compare.user_model import twins
from compare.user_model.compiled_pyro import Point, Potential, compile_potential
from compare.user_model.density_pyro import density, split_arguments, tensors
from guides.contract import Parameters

__all__ = ["BASE", "chains", "chains_of_many", "density", "in_coordinates_of", "split_arguments"]


class RecordingNUTS(NUTS):
    """The library's NUTS, which also keeps each transition's energy, leapfrog steps, acceptance and step size."""

    steps, energy, accepted = 0, 0.0, 0.0
    record: tuple[bool, float, int, float, float]

    def _build_basetree(self, *arguments: Any) -> Any:
        tree, energy_current = super()._build_basetree(*arguments), arguments[-1]
        self.steps, self.energy = self.steps + 1, float(energy_current)
        self.accepted += float(tree.sum_accept_probs)
        return tree

    def sample(self, params: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        self.steps, self.accepted, before = 0, 0.0, len(self._divergences)
        value = super().sample(params)
        diverging, rate = len(self._divergences) > before, self.accepted / max(self.steps, 1)
        self.record = (diverging, self.energy, self.steps, rate, float(self.step_size))
        return value


def kernel_of(model: Callable[..., Any], data: Any, warmup: int, adaptation: Adaptation) -> RecordingNUTS:
    """A kernel whose log joint is compiled."""
    kernel = RecordingNUTS(model, target_accept_prob=adaptation.acceptance, full_mass=adaptation.dense)
    kernel.setup(warmup, **data)
    elsewhere = initialize_model(model, model_kwargs=data)[0]
    kernel.potential_fn = compiled(kernel.potential_fn, kernel.initial_params, elsewhere)
    return kernel


def compiled(potential: Potential, start: Point, *others: Point) -> Potential:
    """A potential compiled with its gradient at the start, where that changes neither, there and elsewhere."""
    shifted = [{name: value + shift for name, value in start.items()} for shift in (1.0, -1.0, 0.3)]
    return compile_potential(potential, [start, *others, *shifted])


def chain(
    model: Callable[..., Any], data: Any, seed: int, adaptation: Adaptation, warmup: int, deadline: float, budget: float
) -> Iterator[Block]:
    """One chain: yields (latents, statistics) of a block of draws, as many blocks as are asked for.

    Raises:
        TimeoutError: the deadline passed during the warm-up, or would pass long before its end.
    """
    parent = os.getppid()
    torch.set_num_threads(1)
    pyro.set_rng_seed(seed)
    with pyro.validation_enabled(False):
        kernel = kernel_of(model, data, warmup, adaptation)
        params = kernel.initial_params
        pace = Pace(warmup, deadline, budget)
        for number in range(warmup):
            params = kernel.sample(params)
            pace.look(number + 1)
        while True:
            draws, records = [], []
            for number in range(BLOCK):
                if number >= 10 and (time.perf_counter() > deadline or os.getppid() != parent):
                    break
                params = kernel.sample(params)
                draws.append(params)
                records.append(kernel.record)
            latents = {name: torch.stack([draw[name] for draw in draws]) for name in params}
            latents |= {name: transform.inv(latents[name]) for name, transform in kernel.transforms.items()}
            yield (
                {name: value.numpy() for name, value in latents.items()},
                statistics(*(np.array(column) for column in zip(*records, strict=True))),
            )


def serve(parent: int, connection: Connection, *arguments: Any) -> None:
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
            self.generators = [chain(*each) for each in arguments]
            self.states: list[Any] = [None] * len(arguments)
            return
        context = multiprocessing.get_context("fork")
        self.connections, self.processes = [], []
        for each in arguments:
            here, there = context.Pipe()
            process = context.Process(target=serve, args=(os.getpid(), there, *each), daemon=True)
            process.start()
            there.close()  # the child's end is its own, and ends with it
            self.connections.append(here)
            self.processes.append(process)

    def __enter__(self) -> Chains:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.forked:
            for process in self.processes:
                process.terminate()
                process.join()

    def turn(self, number: int) -> Block:
        """One chain's next block, with random numbers of its own, as if it had a process to itself."""
        if self.states[number] is not None:
            set_rng_state(self.states[number])
        block = next(self.generators[number])
        self.states[number] = get_rng_state()
        return block

    def block(self) -> Block:
        """The next block of all chains: at the deadline they stop where they are, and the shortest one counts."""
        if self.forked:
            try:
                for connection in self.connections:
                    connection.send(True)
                blocks = [connection.recv() for connection in self.connections]
            except (EOFError, OSError):
                raise RuntimeError("a chain's process ended unexpectedly") from None
        else:
            blocks = [self.turn(number) for number in range(len(self.generators))]
        for block in blocks:
            if isinstance(block, Exception):
                raise block
        shortest = min(len(stats["energy"]) for _, stats in blocks)
        latents, stats = (
            {name: np.stack([part[side][name][:shortest] for part in blocks]) for name in blocks[0][side]}
            for side in (0, 1)
        )
        return latents, stats


@contextmanager
def chains(
    job: Job, program: Program, adaptation: Adaptation, data: Any, static: Static, deadline: float
) -> Iterator[Callable[[], Block]]:
    model = getattr(bind(twins.twin(job.model, "pyro"), static), program) if isinstance(program, str) else program
    options, seed = job.options, job.fit_seed % 2**31
    limits = (options.warmup, deadline, options.budget)
    with Chains([(model, data, seed + number, adaptation, *limits) for number in range(N_CHAINS)]) as running:
        yield running.block


def in_coordinates_of(objective: Objective, parameters: Parameters) -> Callable[..., None]:
    """The program of a guide's standard normals, see `compare.fit.mcmc.nuts`."""
    guide = objective.guide_at({name: torch.as_tensor(value) for name, value in parameters.items()})

    def program(**data: torch.Tensor) -> None:
        eps = pyro.sample(BASE, dist.Normal(torch.zeros(objective.dimension), 1.0).to_event(1))
        with poutine.block():
            elbo = ParticleELBO(max_plate_nesting=objective.nesting)
            log_ratio = elbo.log_ratios(objective.model, BaseDraws(eps)(guide), data)
        pyro.factor("log_ratio", log_ratio)

    return program


def chains_of_many(
    jobs: Sequence[Job], data: Any, static: Static, check: Callable[[], None]
) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
    """Chains on the product of every job's posterior, see `compare.fit.mcmc.nuts`.

    The library has no chains side by side. But data sets that have nothing to do with each other have a joint posterior
    that is the product of theirs, and a draw from it holds one from each: NUTS walks through all of them at once. Its
    mass matrix is diagonal: a dense one would have the square of all latents of all data sets.
    """
    options, seed = jobs[0].options, jobs[0].fit_seed % 2**31
    first, _ = split_arguments(jobs[0].data.arguments())
    joint = LogJoint(bind(twins.twin(jobs[0].model, "pyro"), static), first)
    stacked = tensors(data)

    def evaluate(locations: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """-log p(x, z) summed over the data sets, at z of shape (jobs, d); and the latents of each, constrained."""
        values, latents = torch.func.vmap(joint.at)(locations, stacked)
        return -values.sum(), latents

    walks, diverging = [], []
    with pyro.validation_enabled(False):
        for number in range(N_CHAINS):
            pyro.set_rng_seed(seed + number)
            params = {"z": torch.rand(len(jobs), joint.dimension) * 4 - 2}
            joint_potential = compiled(lambda params: evaluate(params["z"])[0], params)
            kernel = RecordingNUTS(potential_fn=joint_potential, target_accept_prob=options.acceptance)
            kernel.initial_params = params
            kernel.setup(options.warmup)
            walk, records = [], []
            for transition in range(options.warmup + BLOCK):
                params = kernel.sample(params)
                check()
                if transition >= options.warmup:
                    walk.append(params["z"])
                    records.append(kernel.record[0])
            walks.append([evaluate(z)[1] for z in walk])
            diverging.append(records)
    for place in range(len(jobs)):
        latents = {
            name: np.stack([np.stack([draw[name][place].numpy() for draw in walk]) for walk in walks])
            for name in walks[0][0]
        }
        yield latents, np.array(diverging)
