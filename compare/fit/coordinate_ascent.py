"""Coordinate ascent (CAVI): a model's own closed-form updates, swept until nothing moves or the sweeps run out.

A small change in a sweep is where the text stops, and it is no proof of arrival: on a long chain every change can be
small while the way is long. So the tree carries the ELBO that was really reached, in closed form, beside the rule
that stopped the sweeps; how far that is from the best member of the family is the ledger's optimisation gap.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from compare import registry
from compare.comparison import Drawn, Job
from compare.fit.density import log_densities
from compare.fit.tree import N_CHAINS, Draws
from models.contract import CoordinateAscent

DRAWS = 4000
NUMBERS = 100_000_000
"""Draws of the guide to keep, fewer where they would take more than this many random numbers in all."""

BLOCK = 2_000_000
"""Numbers drawn at a time."""

LONG = 2000
"""Beyond this many parameters the way is traced a sweep at a time, and only its ends are kept."""

State = Mapping[str, np.ndarray]


def ascend(way: CoordinateAscent, tolerance: float, sweeps: int) -> tuple[list[State], list[float], int, float]:
    """Sweep until every parameter changes by less than ``tolerance``, at most ``sweeps`` times.

    Returns:
        the states from the start on (the first and the last only where they are long), the ELBO after each
        update, in nats, the sweeps made, and the largest change in the last of them.
    """
    state: State = dict(way.start)
    is_long = sum(np.size(value) for value in state.values()) > LONG
    states, elbos, change, done = [state], [way.elbo(state)], np.inf, 0
    while done < sweeps and change >= tolerance:
        before, path = state, list[State](way.updates(state))
        state = path[-1]
        states = [states[0], state] if is_long else states + path
        elbos += [way.elbo(update) for update in (path[-1:] if is_long else path)]
        done += 1
        change = max(float(np.max(np.abs(state[name] - before[name]))) for name in state)
        if not np.isfinite(change):
            raise ArithmeticError(f"coordinate ascent met a number that is not finite in sweep {done}")
    return states, elbos, done, change


def draw_many(jobs: Sequence[Job], count: int) -> list[Drawn | Exception]:
    """Draws from where the updates of each job end."""
    rng, model = np.random.default_rng([jobs[0].fit_seed, 5]), registry.load(jobs[0].model)
    results: list[Drawn | Exception] = []
    for job in jobs:
        way, options = model.coordinate_ascent(job.data)[job.name], job.options
        try:
            states, _, _, change = ascend(way, options.cavi_tolerance, options.sweeps)
            results.append(Drawn(way.draw(states[-1], rng, count), change < options.cavi_tolerance))
        except ArithmeticError as error:
            results.append(error)
    return results


def fit(job: Job) -> tuple[xr.DataTree, int]:
    """The tree, and how many gradients of the log joint it took: none.

    The group ``optimisation`` has ``elbo`` after each update (each sweep where the model is long) and, up to 10
    elements, the parameters; its attributes say why the sweeps ended, ``sweeps``, the last ``change``, and the final
    ``elbo`` in closed form.
    """
    options = job.options
    way = registry.load(job.model).coordinate_ascent(job.data)[job.name]
    states, elbos, sweeps, change = ascend(way, options.cavi_tolerance, options.sweeps)
    if change < options.cavi_tolerance:
        reason = f"every change below {options.cavi_tolerance:g} after {sweeps} sweeps"
    else:
        reason = f"stopped after {sweeps} sweeps, with changes still as large as {change:.1g}"
    optimisation = {
        "elbo": np.asarray(elbos),
        "elbo_mcse": np.zeros(len(elbos)),
        "gradients": np.arange(len(elbos)),
    }
    attributes = {
        "title": way.title,
        "family": way.family,
        "elbo": float(elbos[-1]),
        "elbo_mcse": 0.0,
        "gap": float("nan"),
        "gap_mcse": 0.0,
        "tolerance": options.cavi_tolerance,
        "converged": int(change < options.cavi_tolerance),
        "reason": reason,
        "sweeps": sweeps,
        "change": change,
    }
    tree = draw(job, way, states[-1]).tree(optimisation, attributes)
    if len(states) == len(elbos):
        steps = tree["optimisation"].to_dataset()
        for name, value in states[0].items():
            if value.size <= 10:
                axes = [f"{name}_dim_{axis}" for axis in range(value.ndim)]
                steps[name] = (("step", *axes), np.stack([state[name] for state in states]))
        tree["optimisation"] = xr.DataTree(steps)
    return tree, 0


def draw(job: Job, way: CoordinateAscent, state: State) -> Draws:
    """Draws of the guide and their log densities, block by block."""
    draws, size = Draws(job), job.layout.dimension
    rng = np.random.default_rng(job.seed + zlib.crc32(job.name.encode()))
    count, rows = min(DRAWS, max(NUMBERS // size // N_CHAINS, 100) * N_CHAINS), max(1, BLOCK // size)
    for start in range(0, count, rows):
        latents = way.draw(state, rng, min(rows, count - start))
        draws.add(latents, *log_densities(job, latents), way.log_guide(state, latents))
    return draws
