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
from compare.fit.tree import N_CHAINS, build, reported_indices, split
from models.contract import CoordinateAscent

__all__ = ["ascend", "draw_many", "fit"]

TOLERANCE, SWEEPS = 1e-6, 100
"""The stopping rule where the job's options do not give one: the text's."""

DRAWS = 4000
NUMBERS = 100_000_000
"""Draws of the guide to keep, fewer where they would take more than this many random numbers in all."""

BLOCK = 2_000_000
"""Numbers drawn at a time."""

LONG = 1000
"""A site with more elements than this keeps the reported ones only, and is traced a sweep at a time."""

State = Mapping[str, np.ndarray]


def ascend(way: CoordinateAscent, tolerance: float, sweeps: int) -> tuple[list[State], list[float], int, float]:
    """Sweep until every parameter changes by less than ``tolerance``, at most ``sweeps`` times.

    Returns:
        the states from the start on (the first and the last only where they are long), the ELBO after each
        update, in nats, the sweeps made, and the largest change in the last of them.
    """
    state: State = dict(way.start)
    long = sum(np.size(value) for value in state.values()) > 2 * LONG
    states, elbos, change = [state], [way.elbo(state)], np.inf
    made = 0
    while made < sweeps and change >= tolerance:
        before = state
        for state in way.updates(before):
            if long:
                states = [states[0], state]
            else:
                states.append(state)
                elbos.append(way.elbo(state))
        if long:
            elbos.append(way.elbo(state))
        made += 1
        change = max(float(np.max(np.abs(state[name] - before[name]))) for name in state)
        if not np.isfinite(change):
            raise ArithmeticError(f"coordinate ascent met a number that is not finite in sweep {made}")
    return states, elbos, made, change


def sample(job: Job, way: CoordinateAscent, state: State) -> tuple[dict, dict, dict]:
    """Draws of the guide, their log densities, and the labels of a long site's elements; drawn block by block."""
    rng = np.random.default_rng(job.seed + zlib.crc32(job.name.encode()))
    shapes, size = job.layout.latents, job.layout.dimension
    count = min(DRAWS, max(NUMBERS // size // N_CHAINS, 100) * N_CHAINS)
    indices = {
        name: reported_indices(job, name) for name, shape in shapes.items() if len(shape) == 1 and shape[0] > LONG
    }
    blocks: dict[str, list[np.ndarray]] = {}
    rows = max(1, BLOCK // size)
    for start in range(0, count, rows):
        latents = way.draw(state, rng, min(rows, count - start))
        log_prior, log_likelihood = log_densities(job, latents)
        part = {"log_prior": log_prior, "log_joint": log_prior + log_likelihood}
        part["log_guide"] = way.log_guide(state, latents)
        part |= {name: value[:, indices[name]] if name in indices else value for name, value in latents.items()}
        for name, value in part.items():
            blocks.setdefault(name, []).append(value)
    draws = split({name: np.concatenate(parts) for name, parts in blocks.items()})
    posterior = {name: draws.pop(name) for name in shapes}
    return posterior, draws, {f"{name}_dim_0": chosen for name, chosen in indices.items()}


def stopping(job: Job) -> tuple[float, int]:
    """The largest change at which the sweeps stop, and the most sweeps."""
    return float(getattr(job.options, "cavi_tolerance", TOLERANCE)), int(getattr(job.options, "sweeps", SWEEPS))


def draw_many(jobs: Sequence[Job], count: int) -> list[Drawn | Exception]:
    """Draws from where the updates of each job end."""
    rng, model = np.random.default_rng([jobs[0].fit_seed, 5]), registry.load(jobs[0].model)
    found: list[Drawn | Exception] = []
    for job in jobs:
        way, (tolerance, sweeps) = model.coordinate_ascent(job.data)[job.name], stopping(job)
        try:
            states, _, _, change = ascend(way, tolerance, sweeps)
        except ArithmeticError as error:
            found.append(error)
            continue
        found.append(Drawn(way.draw(states[-1], rng, count), change < tolerance))
    return found


def fit(job: Job) -> tuple[xr.DataTree, int]:
    """The tree, and how many gradients of the log joint it took: none.

    The group ``optimisation`` has ``elbo`` after each update (each sweep where the model is long) and, up to 10
    elements, the parameters; its attributes say why the sweeps ended, ``sweeps``, the last ``change``, and the final
    ``elbo`` in closed form.
    """
    tolerance, sweeps = stopping(job)
    way = registry.load(job.model).coordinate_ascent(job.data)[job.name]
    states, elbos, made, change = ascend(way, tolerance, sweeps)
    converged = change < tolerance
    reason = (
        f"every change below {tolerance:g} after {made} sweeps"
        if converged
        else f"stopped after {made} sweeps, with changes still as large as {change:.1g}"
    )
    optimisation: dict[str, np.ndarray] = {
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
        "tolerance": tolerance,
        "converged": int(converged),
        "reason": reason,
        "sweeps": made,
        "change": change,
    }
    posterior, stats, coordinates = sample(job, way, states[-1])
    tree = build(posterior, stats, job.layout.observed, coordinates, optimisation, attributes)
    if len(states) == len(elbos):
        paths = {name: np.stack([state[name] for state in states]) for name in states[0]}
        steps = tree["optimisation"].to_dataset()
        for name, path in paths.items():
            if path[0].size <= 10:
                steps[name] = (("step", *(f"{name}_dim_{axis}" for axis in range(path.ndim - 1))), path)
        tree["optimisation"] = xr.DataTree(steps)
    return tree, 0
