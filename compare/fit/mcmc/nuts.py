"""When a NUTS run may stop, and what every NUTS fit carries: the same rules for both libraries."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import arviz_stats
import numpy as np
import xarray as xr

from compare import registry
from compare.comparison import Drawn, Job
from compare.fit.svi.protocol import Density
from compare.fit.tree import CHAINS, build, derive, keep, pointwise
from compare.options import Options
from models.contract import element

__all__ = [
    "BLOCK",
    "deadline_of_many",
    "out_of_budget",
    "punctual",
    "run_until_enough",
    "stacked",
    "statistics",
    "thinned",
]

TAIL = (0.05, 0.95)

BLOCK = 300
"""Draws a chain makes before the targets are looked at."""

PATIENCE = 10
"""Budgets of one fit that chains on many data sets may take together."""

Block = tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]


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
    """Collect blocks of draws until ESS (bulk and tail) and R-hat of all latents meet their targets, or the budget
    ends; of the reported elements where the model derives some of them from the latents.

    ``block()`` returns latents and statistics of shape (chain, draw, ...) in the constrained space; ``deadline`` is
    when the budget ends, on the performance counter.
    """
    options = job.options or Options()
    blocks: list[Block] = []
    seen: list[Mapping[str, np.ndarray]] = []
    while True:
        blocks.append(block())
        seen.append(watched(job, blocks[-1][0]))
        posterior = {site: np.concatenate([latents[site] for latents, _ in blocks], axis=1) for site in blocks[0][0]}
        r_hat, ess = worst({name: np.concatenate([one[name] for one in seen], axis=1) for name in seen[0]})
        reached = r_hat < options.r_hat and ess >= options.ess
        if reached or time.perf_counter() > deadline:
            break
    stats = {name: np.concatenate([stats[name] for _, stats in blocks], axis=1) for name in blocks[0][1]}
    draws = next(iter(posterior.values())).shape[1]
    flat = {site: value.reshape(CHAINS * draws, *value.shape[2:]) for site, value in posterior.items()}
    log_prior, log_likelihood = density(flat, data)
    kept, labels = keep(flat, job.model, job.data)
    stats["log_prior"] = log_prior.reshape(CHAINS, draws)
    stats["log_joint"] = (log_prior + log_likelihood).reshape(CHAINS, draws)
    posterior = {site: value.reshape(CHAINS, draws, *value.shape[1:]) for site, value in kept.items()}
    reason = (
        ""
        if reached
        else (
            f"after {draws} draws a chain R-hat is {r_hat:.3f} and ESS {ess:.0f} (targets: below {options.r_hat:g}, "
            f"at least {options.ess:g}) and its budget of {options.budget:g} s is used up"
        )
    )
    likelihood = pointwise(kept, job.model, job.data)
    tree = build(posterior, stats, job.data.observed(), labels, log_likelihood=likelihood)
    tree.attrs.update(targets_met=int(reached), reason=reason, warmup=options.warmup)
    return tree, int(stats["n_steps"].sum())


def watched(job: Job, latents: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """What the chains are judged by, each of shape (chain, draw, ...)."""
    chains, draws = next(iter(latents.values())).shape[:2]
    flat = {site: value.reshape(chains * draws, *value.shape[2:]) for site, value in latents.items()}
    derived = derive(registry.load(job.model), job.data, flat)
    if not derived:
        return latents
    known = flat | derived
    return {
        element(site, index): known[site][(slice(None), *index)].reshape(chains, draws)
        for site, index in job.data.reported()
    }


def worst(posterior: Mapping[str, np.ndarray]) -> tuple[float, float]:
    """The largest R-hat, and the smallest of all bulk and tail ESS."""
    r_hat, ess = 0.0, np.inf
    for value in posterior.values():
        flat = value.reshape(*value.shape[:2], -1)
        fixed = np.ptp(flat, axis=(0, 1)) == 0  # such as the zeros of a Cholesky factor: they have no R-hat
        flat = flat[:, :, ~fixed]
        for one in np.moveaxis(flat, -1, 0):
            r_hat = max(r_hat, float(arviz_stats.rhat(one, chain_axis=0, draw_axis=1)))
            for kind in ("bulk", "tail"):
                ess = min(
                    ess,
                    float(
                        arviz_stats.ess(
                            one, method=kind, prob=TAIL if kind == "tail" else None, chain_axis=0, draw_axis=1
                        )
                    ),
                )
    return r_hat, ess


def deadline_of_many(options: Options) -> float:
    """When chains on many data sets have to be done, on the performance counter."""
    return time.perf_counter() + PATIENCE * options.budget


def punctual(deadline: float, options: Options) -> None:
    """Go on only if there is time left.

    Raises:
        TimeoutError: there is none.
    """
    if time.perf_counter() > deadline:
        raise TimeoutError(
            f"NUTS was not done with all data sets after {PATIENCE} budgets of {options.budget:g} s; give it fewer "
            "data sets, a larger --budget, or leave it out with --no-nuts"
        )


def stacked(
    split_arguments: Callable[[dict[str, Any]], tuple[dict[str, Any], tuple]], jobs: Sequence[Job]
) -> tuple[dict[str, np.ndarray], tuple]:
    """The data of all jobs with the jobs first, and what shapes their program.

    Raises:
        ValueError: their data differ in shape.
    """
    split = [split_arguments(job.data.arguments()) for job in jobs]
    data, static = split[0]
    shapes = {name: np.shape(value) for name, value in data.items()}
    if any(other != static or {name: np.shape(value) for name, value in one.items()} != shapes for one, other in split):
        raise ValueError("the data sets differ in shape: chains can go side by side only where they do not")
    return {name: np.stack([np.asarray(one[name]) for one, _ in split]) for name in data}, static


def thinned(job: Job, posterior: Mapping[str, np.ndarray], diverging: np.ndarray, count: int) -> Drawn:
    """Some ``count`` draws, as far apart as they can be, of one data set's chains of shape (chain, draw, ...)."""
    chains, draws = diverging.shape
    r_hat, ess = worst(watched(job, posterior))
    every = max(1, chains * draws // count)
    kept = {name: value[:, every - 1 :: every] for name, value in posterior.items()}
    latents = {name: value.reshape(-1, *value.shape[2:]) for name, value in kept.items()}
    return Drawn(latents, None, r_hat, ess, int(diverging.sum()))
