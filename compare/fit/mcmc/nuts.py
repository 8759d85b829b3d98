"""NUTS in either library: when a run may stop, and what every NUTS fit carries.

What only a library can do is to run the chains (`Library`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import arviz_stats
import numpy as np
import xarray as xr

from compare.comparison import Drawn, Job
from compare.fit.density import derive
from compare.fit.svi.protocol import Density, Static
from compare.fit.tree import N_CHAINS, build, keep, pointwise
from compare.options import Options
from models.contract import Latents

__all__ = [
    "BLOCK",
    "Block",
    "draw_many",
    "fit",
    "out_of_budget",
    "sample",
    "statistics",
]

TAIL = (0.05, 0.95)

BLOCK = 300
"""Draws a chain makes before the targets are looked at."""

PATIENCE = 10
"""Budgets of one fit that chains on many data sets may take together."""

Block = tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]
"""Latents, constrained, and statistics of some draws, shape (chain, draw, ...)."""


class Library(Protocol):
    """The file of one library, such as `compare.fit.mcmc.nuts_numpyro`."""

    def split_arguments(self, arguments: dict[str, Any]) -> tuple[dict[str, Any], Static]:
        """As `compare.fit.svi.protocol.Library` has it."""

    def density(self, model: str, static: Static) -> Density:
        """As `compare.fit.svi.protocol.Library` has it."""

    def chains(
        self, job: Job, program: str, acceptance: float, data: Any, static: Static, deadline: float
    ) -> AbstractContextManager[Callable[[], Block]]:
        """Chains of a program of the job's twin after their warm-up: each call gives their next block of draws.

        Raises:
            TimeoutError: the warm-up did not end before the deadline.
        """

    def chains_of_many(
        self, jobs: Sequence[Job], data: Any, static: Static, check: Callable[[], None]
    ) -> Iterable[tuple[Mapping[str, np.ndarray], np.ndarray]]:
        """A block of draws of each job, and which of them diverged; ``data`` have the jobs first.

        ``check`` is called now and then, and raises where there is no time left.
        """


def fit(library: Library, job: Job) -> tuple[xr.DataTree, int]:
    """Sample the job's model: the tree, and the number of leapfrog steps."""
    return sample(library, job, "model", dict, 0.8)


def sample(
    library: Library, job: Job, program: str, complete: Callable[[Latents], Latents], acceptance: float
) -> tuple[xr.DataTree, int]:
    """Sample a program of the job's twin: the tree, and the number of leapfrog steps.

    Args:
        complete: Adds, to latents of shape (count, ...), those that the program has integrated out.
        acceptance: The rate that the step sizes are adapted to.
    """
    data, static = library.split_arguments(job.data.arguments())
    deadline = time.perf_counter() + (job.options or Options()).budget
    sites = job.layout.latents
    with library.chains(job, program, acceptance, data, static, deadline) as next_block:

        def block() -> Block:
            sampled, stats = next_block()
            latents = complete(flat({name: sampled[name] for name in sites if name in sampled}))
            return by_chain({name: latents[name] for name in sites}), stats

        return run_until_enough(job, block, library.density(job.model, static), data, deadline)


def flat(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Values of shape (chain, draw, ...) as (count, ...)."""
    return {name: value.reshape(-1, *value.shape[2:]) for name, value in values.items()}


def by_chain(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The inverse of `flat`."""
    return {name: value.reshape(N_CHAINS, -1, *value.shape[1:]) for name, value in values.items()}


def out_of_budget(budget: float) -> TimeoutError:
    """The error of a run whose budget ended before its first draw."""
    return TimeoutError(f"NUTS was still warming up when its budget of {budget:g} s ended; give it a larger --budget")


def statistics(
    diverging: np.ndarray, energy: np.ndarray, steps: np.ndarray, acceptance: np.ndarray, step_size: np.ndarray
) -> dict[str, np.ndarray]:
    """The statistics of each transition by ArviZ's names."""
    return {
        "diverging": diverging,
        "energy": energy,
        "n_steps": steps,
        "tree_depth": np.ceil(np.log2(steps + 1)).astype(int),
        "acceptance_rate": acceptance,
        "step_size": step_size,
    }


def run_until_enough(
    job: Job, block: Callable[[], Block], density: Density, data: Any, deadline: float
) -> tuple[xr.DataTree, int]:
    """Collect blocks of draws until ESS (bulk and tail) and R-hat of what is watched are on target, or time ends."""
    options = job.options or Options()
    blocks: list[Block] = []
    seen: list[Mapping[str, np.ndarray]] = []
    while True:
        blocks.append(block())
        seen.append(watched(job, blocks[-1][0]))
        r_hat, ess = worst(joined(seen))
        reached = r_hat < options.r_hat and ess >= options.ess
        if reached or time.perf_counter() > deadline:
            break
    posterior, stats = joined([latents for latents, _ in blocks]), joined([stats for _, stats in blocks])
    draws = stats["energy"].shape[1]
    log_prior, log_likelihood = density(flat(posterior), data)
    draws_by_site, labels = keep(flat(posterior), job)
    stats |= by_chain({"log_prior": log_prior, "log_joint": log_prior + log_likelihood})
    likelihood = pointwise(draws_by_site, job)
    tree = build(by_chain(draws_by_site), stats, job.layout.observed, labels, log_likelihood=likelihood)
    reason = (
        f"after {draws} draws a chain R-hat is {r_hat:.3f} and ESS {ess:.0f} (targets: below {options.r_hat:g}, "
        f"at least {options.ess:g}) and its budget of {options.budget:g} s is used up"
    )
    tree.attrs.update(targets_met=int(reached), reason="" if reached else reason, warmup=options.warmup)
    return tree, int(stats["n_steps"].sum())


def joined(blocks: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Blocks of draws one after the other."""
    return {name: np.concatenate([block[name] for block in blocks], axis=1) for name in blocks[0]}


def watched(job: Job, latents: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """What the chains are judged by, each of shape (chain, draw, ...): all latents, or the reported elements where the
    model derives some of them from the latents."""
    derived = derive(job, flat(latents))
    if not derived:
        return latents
    known: dict[str, np.ndarray] = flat(latents) | dict(derived)
    elements: dict[str, np.ndarray] = {}
    for site, index in job.layout.reported:
        at: tuple[Any, ...] = (slice(None), *index)
        elements[job.layout.label(site, index)] = known[site][at]
    return by_chain(elements)


def worst(posterior: Mapping[str, np.ndarray]) -> tuple[float, float]:
    """The largest R-hat, and the smallest of all bulk and tail ESS."""
    r_hat, ess, along = 0.0, np.inf, {"chain_axis": 0, "draw_axis": 1}
    for value in posterior.values():
        elements = value.reshape(*value.shape[:2], -1)
        fixed = np.ptp(elements, axis=(0, 1)) == 0  # such as the zeros of a Cholesky factor: they have no R-hat
        for draws in np.moveaxis(elements[:, :, ~fixed], -1, 0):
            r_hat = max(r_hat, float(arviz_stats.rhat(draws, **along)))
            ess = min(ess, float(arviz_stats.ess(draws, method="bulk", **along)))
            ess = min(ess, float(arviz_stats.ess(draws, method="tail", prob=TAIL, **along)))
    return r_hat, ess


def draw_many(library: Library, jobs: Sequence[Job], count: int) -> list[Drawn | Exception]:
    """Chains of every job's data side by side, thinned to about ``count`` draws each.

    Raises:
        TimeoutError: they are not done in ten budgets.
        ValueError: the data differ in shape.
    """
    split = [library.split_arguments(job.data.arguments()) for job in jobs]
    data, static = split[0]
    shapes = {name: np.shape(value) for name, value in data.items()}
    if any(other != static or {n: np.shape(v) for n, v in values.items()} != shapes for values, other in split):
        raise ValueError("the data sets differ in shape: chains can go side by side only where they do not")
    stacked = {name: np.stack([np.asarray(values[name]) for values, _ in split]) for name in data}
    budget = (jobs[0].options or Options()).budget
    deadline = time.perf_counter() + PATIENCE * budget

    def check() -> None:
        if time.perf_counter() > deadline:
            raise TimeoutError(
                f"NUTS was not done with all data sets after {PATIENCE} budgets of {budget:g} s; give it fewer data "
                "sets, a larger --budget, or leave it out with --no-nuts"
            )

    chains = library.chains_of_many(jobs, stacked, static, check)
    return [thinned(job, posterior, diverging, count) for job, (posterior, diverging) in zip(jobs, chains, strict=True)]


def thinned(job: Job, posterior: Mapping[str, np.ndarray], diverging: np.ndarray, count: int) -> Drawn:
    """Some ``count`` draws, as far apart as they can be, of one data set's chains of shape (chain, draw, ...)."""
    r_hat, ess = worst(watched(job, posterior))
    every = max(1, diverging.size // count)
    latents = flat({name: value[:, every - 1 :: every] for name, value in posterior.items()})
    return Drawn(latents, None, r_hat, ess, int(diverging.sum()))
