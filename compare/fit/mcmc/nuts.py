"""NUTS in either library: when a run may stop, and what every NUTS fit carries.

What only a library can do is to run the chains. Its file has, beside `split_arguments` and `density`:

    chains(job, program, adaptation, data, static, deadline)
        A context with chains of a `Program` after their warm-up: each call of what it gives returns their next `Block`.
        TimeoutError where the warm-up does not end before the deadline.
    in_coordinates_of(objective, parameters)
        The program of a guide's standard normals, site `BASE`, whose posterior is the model's seen from there.
    chains_of_many(jobs, data, static, check)
        Yields for each job its latents and which of its draws diverged; ``data`` have the jobs first. ``check`` is
        called now and then, and raises where there is no time left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import arviz_stats
import numpy as np
import xarray as xr

from compare.comparison import Drawn, Job, TooSlow
from compare.fit.density import derive
from compare.fit.svi.protocol import Density
from compare.fit.tree import build, joined, keep, split
from compare.options import R_HAT_APART, Options
from models.contract import Latents

TAIL = (0.05, 0.95)
"""Quantiles whose effective sample size is that of the tails."""

BLOCK = 300
"""Draws a chain makes before the targets are looked at."""

LOOKS, FALL = 10, 0.1
"""Looks in a row at chains that are apart (`R_HAT_APART`) after which a run stops, 3,000 draws of each; unless R-hat
less 1 has fallen by this share, as it does where chains are only slow."""

FEW = 1e-3
"""Share of transitions that may diverge before chains make way for others (`sample`)."""

PATIENCE = 10
"""Budgets of one fit that chains on many data sets may take together."""

SEEN, FEWEST = 25, 100
"""Transitions by which a pace is measured, and draws of a chain that a budget must have room for."""

ADAPTED, LATE, VERY_LATE = 100, 0.5, 3.0
"""Transitions after which the library has adapted its mass matrix once, and the budgets beyond its own that a run may
seem to take from then on, and before, where its pace says less."""

BASE = "eps"
"""The site of the standard normals that a guide's draws are made of."""

DENSE = 20
"""Most latents of which ``--mass auto`` is dense: of more, a warm-up's draws say too little about a covariance."""


@dataclass(frozen=True)
class Adaptation:
    """What the warm-up of NUTS adapts to.

    Attributes:
        acceptance: The rate of acceptance that a step size is to give.
        dense: Whether the mass matrix is dense, the inverse of the latents' covariance, or diagonal.
    """

    acceptance: float
    dense: bool = False

    @classmethod
    def of(cls, job: Job) -> Adaptation:
        """What the job's options ask for."""
        is_small = job.options.mass == "auto" and 1 < job.layout.dimension <= DENSE
        return cls(job.options.acceptance, is_small or job.options.mass == "dense")


Program = str | Callable[..., None]
"""What is sampled: a function of the twin's file by name, or a program of the library, called with the data."""

Block = tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]
"""Latents, constrained, and statistics of some draws, shape (chain, draw, ...)."""


def fit(library: ModuleType, job: Job) -> tuple[xr.DataTree, int]:
    """Sample the job's posterior: the tree, and the number of leapfrog steps."""
    return sample(library, job, "model", dict, Adaptation.of(job))


def sample(
    library: ModuleType,
    job: Job,
    program: Program,
    complete: Callable[[Latents], Mapping[str, np.ndarray]],
    adaptation: Adaptation,
    spare_if_diverged: float = 0.0,
) -> tuple[xr.DataTree, int]:
    """Sample a program: the tree, and the number of leapfrog steps.

    Args:
        library: The library's file of chains.
        job: What is fitted; its options say when the chains have drawn enough.
        program: What is sampled.
        complete: From what the program samples, of shape (count, ...), to the latents of the job's model.
        adaptation: What the warm-up adapts to.
        spare_if_diverged: Seconds of the budget that chains leave unused where more than a `FEW` transitions diverge.
    """
    data, static = library.split_arguments(job.data.arguments())
    deadline = time.perf_counter() + job.options.budget
    with library.chains(job, program, adaptation, data, static, deadline) as next_block:

        def block() -> Block:
            sampled, stats = next_block()
            latents = complete(flat(sampled))
            return split({name: latents[name] for name in job.layout.latents}), stats

        return run_until_enough(job, block, library.density(job.model, static), data, deadline, spare_if_diverged)


def flat(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Values of shape (chain, draw, ...) as (count, ...): the inverse of `split`."""
    return {name: value.reshape(-1, *value.shape[2:]) for name, value in values.items()}


class Pace:
    """The pace of a warm-up, by which one that its budget is far from enough for is given up early.

    Args:
        warmup: Transitions of the warm-up.
        deadline: When the budget ends, by `time.perf_counter`.
        budget: Seconds.
    """

    def __init__(self, warmup: int, deadline: float, budget: float) -> None:
        self.warmup, self.deadline, self.budget = warmup, deadline, budget
        self.restart()

    def restart(self) -> None:
        """Measure from the next look on: what came before, such as compiling, does not come again."""
        self.begin: tuple[int, float] | None = None

    def look(self, done: int) -> None:
        """Look at the clock when some of the transitions are done.

        Raises:
            TimeoutError: the deadline has passed.
            TooSlow: the warm-up and the `FEWEST` draws would end far beyond it.
        """
        now = time.perf_counter()
        if now > self.deadline:
            raise out_of_budget(self.budget)
        if self.begin is None or self.begin[0] < ADAPTED <= done:
            self.begin = done, now
        count = done - self.begin[0]
        if count < SEEN:
            return
        left = (now - self.begin[1]) / count * (self.warmup + FEWEST - done)
        late = now + left - self.deadline
        if late > (LATE if self.begin[0] >= ADAPTED else VERY_LATE) * self.budget:
            needed = np.format_float_positional(self.budget + late, precision=2, fractional=False, trim="-")
            raise TooSlow(
                f"NUTS needs a --budget of {needed} s or more, to warm up and make {FEWEST} draws of each chain; it is "
                f"{self.budget:g} s"
            )


def out_of_budget(budget: float) -> TimeoutError:
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
    job: Job, block: Callable[[], Block], density: Density, data: Any, deadline: float, spare_if_diverged: float = 0.0
) -> tuple[xr.DataTree, int]:
    """Collect blocks of draws until ESS (bulk and tail) and R-hat of what is watched are on target, the chains stay
    apart, or time ends, earlier where more than a `FEW` of the transitions diverge."""
    options, blocks, seen = job.options, list[Block](), list[Mapping[str, np.ndarray]]()
    reached, r_hats, spare, watch = False, list[float](), 0.0, Watch(options)
    while not blocks or not (reached or stay_apart(r_hats) or time.perf_counter() > deadline - spare):
        blocks.append(block())
        share = np.mean([stats["diverging"].mean() for _, stats in blocks])
        spare = spare_if_diverged if share > FEW else 0.0
        seen.append(watched(job, blocks[-1][0]))
        drawn = joined(seen, axis=1)
        r_hat, ess = watch.look(drawn)
        reached = watch.is_enough(r_hat, ess)
        r_hats.append(r_hat)
    r_hat, ess = watch.look_at_all(drawn)
    posterior, stats = (joined([block[part] for block in blocks], axis=1) for part in (0, 1))
    log_prior, log_likelihood = density(flat(posterior), data)
    stats |= split({"log_prior": log_prior, "log_joint": log_prior + log_likelihood})
    draws, labels = keep(flat(posterior), job)
    tree = build(split(draws), stats, job.layout.observed, labels)
    reason = (
        f"after {stats['energy'].shape[1]} draws a chain R-hat is {r_hat:.3f} and ESS {ess:.0f} (targets: "
        f"below {options.r_hat:g}, at least {options.ess:g}) and " + why_ended(r_hats, options.budget, spare)
    )
    tree.attrs.update(targets_met=int(reached), reason="" if reached else reason, warmup=options.warmup)
    return tree, int(stats["n_steps"].sum())


def why_ended(r_hats: Sequence[float], budget: float, spare: float) -> str:
    """Why chains ended before their targets."""
    if stay_apart(r_hats):
        return "the chains stay apart"
    used = f"its budget of {budget:.4g} s is used up"
    return f"{1 - spare / budget:.0%} of {used}: transitions diverge" if spare else used


def stay_apart(r_hats: Sequence[float]) -> bool:
    """Whether chains are each in a mode of its own, by R-hat at every look so far."""
    last = r_hats[-LOOKS:]
    return len(last) == LOOKS and min(last) > R_HAT_APART and last[-1] - 1 > (1 - FALL) * (last[0] - 1)


def watched(job: Job, latents: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """What the chains are judged by, each of shape (chain, draw, ...): all latents, or the reported elements where the
    model derives some of them from the latents."""
    derived = derive(job, flat(latents))
    if not derived:
        return latents
    known: dict[str, Any] = flat(latents) | dict(derived)
    return split(
        {
            job.layout.label(site, index): known[site][(slice(None), *index)]
            for site, index in job.layout.reported_elements
        }
    )


def elements(posterior: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The draws of each element, shape (chain, draw); fixed ones, such as a Cholesky factor's zeros, have no R-hat."""
    return [
        draws
        for value in posterior.values()
        for draws in np.moveaxis(value.reshape(*value.shape[:2], -1), -1, 0)
        if np.ptp(draws) != 0
    ]


def draws_in(posterior: Mapping[str, np.ndarray]) -> int:
    """The draws of a chain."""
    return next(iter(posterior.values())).shape[1]


def worst(each: Sequence[np.ndarray]) -> tuple[float, float, tuple[int, int]]:
    """The largest R-hat of elements' draws and the least ESS, bulk or tail; and which elements have them."""
    if not each:
        return 0.0, np.inf, (0, 0)
    bulk = [arviz_stats.ess(draws, method="bulk") for draws in each]
    tail = [arviz_stats.ess(draws, method="tail", prob=TAIL) for draws in each]
    r_hats = np.nan_to_num([arviz_stats.rhat(draws) for draws in each], posinf=np.inf)
    sizes = np.nan_to_num(np.fmin(bulk, tail), nan=np.inf, posinf=np.inf)
    first, second = int(r_hats.argmax()), int(sizes.argmin())
    return float(r_hats[first]), float(sizes[second]), (first, second)


class Watch:
    """What tells when chains are long enough: R-hat and ESS of all elements, looked at no more than is needed.

    Hundreds of elements would take longer to look at than to draw. So a look is at the two that were worst, and at all
    only if these two meet the targets, or there are twice as many draws as when all were last looked at.
    """

    def __init__(self, options: Options) -> None:
        self.options, self.n_draws = options, 0
        self.r_hat, self.ess, self.suspects = np.inf, 0.0, (0, 0)

    def is_enough(self, r_hat: float, ess: float) -> bool:
        """Whether the targets are met."""
        return r_hat < self.options.r_hat and ess >= self.options.ess

    def look(self, posterior: Mapping[str, np.ndarray]) -> tuple[float, float]:
        """The largest R-hat and the least ESS: of all elements where they meet the targets."""
        if draws_in(posterior) < 2 * self.n_draws:
            each = elements(posterior)
            r_hat, ess, _ = worst([each[place] for place in self.suspects])
            if not self.is_enough(r_hat, ess):
                return r_hat, ess
        return self.look_at_all(posterior)

    def look_at_all(self, posterior: Mapping[str, np.ndarray]) -> tuple[float, float]:
        """The largest R-hat and the least ESS of all elements."""
        if draws_in(posterior) != self.n_draws:
            self.r_hat, self.ess, self.suspects = worst(elements(posterior))
            self.n_draws = draws_in(posterior)
        return self.r_hat, self.ess


def draw_many(library: ModuleType, jobs: Sequence[Job], count: int) -> list[Drawn | Exception]:
    """Chains of every job's data side by side, thinned to about ``count`` draws each, as far apart as they can be.

    Raises:
        TimeoutError: they are not done in ten budgets.
        ValueError: the data differ in shape.
    """
    arguments = [library.split_arguments(job.data.arguments()) for job in jobs]
    data, static = arguments[0]
    shapes = {name: np.shape(value) for name, value in data.items()}
    if any(other != static or {n: np.shape(v) for n, v in values.items()} != shapes for values, other in arguments):
        raise ValueError("the data sets differ in shape: chains can go side by side only where they do not")
    stacked = {name: np.stack([np.asarray(values[name]) for values, _ in arguments]) for name in data}
    budget = jobs[0].options.budget
    deadline = time.perf_counter() + PATIENCE * budget

    def check() -> None:
        if time.perf_counter() > deadline:
            raise TimeoutError(
                f"NUTS was not done with all data sets after {PATIENCE} budgets of {budget:g} s; give it fewer data "
                "sets, a larger --budget, or leave it out with --no-nuts"
            )

    results: list[Drawn | Exception] = []
    chains = library.chains_of_many(jobs, stacked, static, check)
    for job, (posterior, diverging) in zip(jobs, chains, strict=True):
        r_hat, ess = Watch(job.options).look(watched(job, posterior))
        every = max(1, diverging.size // count)
        latents = flat({name: value[:, every - 1 :: every] for name, value in posterior.items()})
        results.append(Drawn(latents, None, r_hat, ess, int(diverging.sum())))
    return results
