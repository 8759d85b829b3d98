"""The modes that a user's reference has not seen: a search for modes, compared with the draws of its chains."""

from __future__ import annotations

import time

import numpy as np
import xarray as xr
from scipy import special

from compare import user_model
from compare.comparison import Job, Layout
from compare.fit.reference.bridge import span
from compare.fit.reference.evidence import MOST_DIMENSIONS, draws_of
from compare.fit.reference.importance import Sample, adapt, draw, log_proposal
from compare.fit.reference.modes import BARRIER, MANY_PROBES, Mode, ModeSearch, find_modes
from compare.fit.reference.optimise import ascend
from compare.fit.reference.proposal import around_modes
from compare.fit.reference.solve import starts_in_time
from compare.fit.reference.target import SHARE, OutOfTime, Refused, Target, evaluate, why_not
from compare.user_model.unconstrained import Unconstrained
from models.selection import evenly

__all__ = ["LEAST_MASS", "missed_mass", "unvisited", "with_missed_modes", "without_evidence"]

LEAST_MASS = 0.01
"""Share of the mass that a reference may miss."""

N_PRIOR, N_STARTS, LEAST_STARTS = 1024, 256, 64
"""Draws from the prior that the search begins with; starts of its optimiser, and the fewest."""

MOST_MODES, MOST_DRAWS = 24, 8192
"""Modes, the largest by Laplace's method, and draws of the reference, evenly spaced, that are compared with them."""

NEAREST, EVENLY, VISITS = 16, 256, 2
"""Draws nearest to each mode and evenly spaced ones that climb from where they are, and how many of all these must
arrive at a mode's top."""

LEAST_DRAWS, LEAST_ARRIVED = 100, 0.5
"""Draws inside the support, and the share of evenly spaced ones that must climb to some mode: where fewer do, as in a
funnel without a top, the modes do not describe what the reference has seen."""

N_WEIGHTED = 2048
"""Weighted draws of a proposal around unseen modes; each climbs to show whether it is theirs."""

UNSEEN = "the chains of the reference have not seen all modes"
"""Why there is no log evidence beside an unseen mode."""

N_NAMED = 3
"""Elements that say where a mode is."""

DF, INFLATION = 4.0, 1.2
"""Degrees of freedom and width, in sds, of the proposal for unseen modes."""


def with_missed_modes(job: Job, tree: xr.DataTree) -> xr.DataTree:
    """The tree of a reference, with what it misses in its attributes where the posterior is that of a user's model.

    These are ``missed``, the sentence about modes of `LEAST_MASS` or more that no chain has seen; or ``no_search``, the
    reason why nothing is known of such. Unseen modes, weighed or not, take away the log evidence. The search takes its
    share of the budget after the chains have ended.
    """
    if not user_model.knows(job.model):
        return tree
    seconds = job.options.reference_budget / SHARE
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            missed = describe_missed(job, tree, time.perf_counter() + seconds)
    except Unweighed as unweighed:
        return without_evidence(tree, UNSEEN, no_search=str(unweighed))
    except Exception as error:  # a search that cannot be made costs nobody a reference
        tree.attrs["no_search"] = why_not(error, seconds)
        return tree
    return without_evidence(tree, UNSEEN, missed=missed) if missed else tree


class Unweighed(Exception):
    """A mode that no chain has seen, and nobody knows how much of the mass it holds."""


def without_evidence(tree: xr.DataTree, reason: str, **attributes: str) -> xr.DataTree:
    """The tree with these attributes in place of a log evidence, of which something is missing for a reason."""
    for name in ("log_evidence", "log_evidence_mcse", "log_evidence_method"):
        tree.attrs.pop(name, None)
    tree.attrs.update(attributes, no_log_evidence=reason)
    return tree


def describe_missed(job: Job, tree: xr.DataTree, deadline: float) -> str:
    """The sentence about what the reference misses, empty where it misses nothing.

    Raises:
        Refused: there are too many dimensions, nothing to search, or the reference's draws climb to no mode.
        OutOfTime: the deadline has passed before modes were known.
        Unweighed: there is an unseen mode, and its mass could not be estimated.
    """
    start, rng = time.perf_counter(), np.random.default_rng([job.fit_seed, 3])
    known = user_model.find(job.model), job.data.values, job.layout
    d = Unconstrained(*known, 1, job.fit_seed).prior_draws.shape[1]
    if d > MOST_DIMENSIONS:
        raise Refused(f"it is tried in up to {MOST_DIMENSIONS} unconstrained dimensions; here are {d}")
    space = Unconstrained(*known, N_PRIOR, job.fit_seed)
    target = Target(d, space.log_joint, space.value_and_gradient, space.prior_draws, deadline=deadline)
    n_starts = min(N_STARTS, starts_in_time(space, (start + deadline) / 2, LEAST_STARTS, MANY_PROBES))
    search = find_modes(target, rng, n_starts, MANY_PROBES)
    if search.trouble or not search.has_maximum:
        raise Refused(search.trouble or "the log joint has no maximum")
    draws = draws_of(space, job, tree).reshape(-1, d)
    draws = draws[evenly(len(draws), MOST_DRAWS)]
    draws = draws[np.isfinite(draws).all(1) & np.isfinite(evaluate(target, draws))]
    if len(draws) < LEAST_DRAWS:
        raise Refused(f"only {len(draws)} of its draws lie inside the support")
    modes = search.modes[:MOST_MODES]
    unseen = unvisited(target, modes, draws)
    if not unseen:
        return ""
    where = place_of([modes[k] for k in unseen], draws, space, job.layout)
    try:
        mass = missed_mass(target, modes, unseen, draws, rng)
    except Exception as error:
        reason = why_not(error, deadline - start)
        raise Unweighed(f"no chain has seen {where}, and its mass could not be estimated: {reason}") from error
    return (
        f"The reference misses about {mass:.0%} of the mass: no chain has seen {where}." if mass >= LEAST_MASS else ""
    )


def unvisited(target: Target, modes: tuple[Mode, ...], draws: np.ndarray) -> list[int]:
    """The modes at whose tops no draws arrive: the nearest to each, and evenly spaced ones, climb from where they are.

    Args:
        target: The posterior.
        modes: Its modes.
        draws: Draws of the reference, shape (n, d), with finite log joints.

    Raises:
        Refused: fewer than half of the evenly spaced draws arrive at any mode.
    """
    spread = evenly(len(draws), EVENLY)
    owners = basins(target, modes, draws[spread])
    if np.mean(owners >= 0) < LEAST_ARRIVED:
        raise Refused("most of its draws climb to none of the modes that a search finds")
    near = np.unique(np.concatenate([np.argsort(mode.squares(draws).min(1))[:NEAREST] for mode in modes]))
    owners = np.concatenate([owners, basins(target, modes, draws[np.setdiff1d(near, spread)])])
    arrived = np.bincount(owners + 1, minlength=len(modes) + 1)[1:]
    return [int(k) for k in np.flatnonzero(arrived < min(VISITS, len(owners)))]


def basins(target: Target, modes: tuple[Mode, ...], points: np.ndarray) -> np.ndarray:
    """The mode that each point (n, d) climbs to, shape (n,); -1 where that is none of them.

    It is the one with the nearest member to where the climb ends, if no barrier lies between.
    """
    ends, tops = ascend(target, points)
    owners = np.repeat(np.arange(len(modes)), [len(mode.members) for mode in modes])
    members = np.concatenate([mode.members for mode in modes])
    distances = np.concatenate([mode.squares(ends) for mode in modes], axis=1)
    nearest = np.argmin(np.nan_to_num(distances, nan=np.inf), axis=1)
    fractions = np.linspace(0, 1, 18)[1:, None]
    segments = ends[:, None] + fractions * (members[nearest] - ends)[:, None]
    heights = evaluate(target, segments.reshape(-1, target.dimension)).reshape(len(ends), -1)
    is_linked = np.isfinite(tops) & (heights.min(1) > np.minimum(tops, heights[:, -1]) - BARRIER)
    return np.where(is_linked, owners[nearest], -1)


def missed_mass(
    target: Target, modes: tuple[Mode, ...], unseen: list[int], draws: np.ndarray, rng: np.random.Generator
) -> float:
    """The share of the mass that the unseen modes hold.

    Importance sampling from proposals around them gives the mass there: draws count that climb to their tops. A bridge
    between the reference's draws and mixtures fitted to them gives the mass that it has seen. The first estimate
    has no bias: it is a hundred times too much less often than once in a hundred times (Markov's inequality), so that a
    mode too light to matter seldom convicts.
    """
    chosen = ModeSearch(tuple(modes[k] for k in unseen), draws[:0], np.empty(0), 0)
    left, right = np.array_split(draws, 2)
    seen = np.mean([span(target, a[None], b[None], rng).log_evidence for a, b in ((left, right), (right, left))])
    samples = [draw(target, around_modes(chosen.modes, DF), N_WEIGHTED, rng)]
    mass = float(special.expit(log_mass_in(target, modes, unseen, samples) - seen))
    if mass >= LEAST_MASS:
        return mass
    try:
        adapted = adapt(target, chosen, DF, INFLATION, rng).mixture  # it may go to where more of the mass is
        samples.append(draw(target, adapted, N_WEIGHTED, rng))
        return float(special.expit(log_mass_in(target, modes, unseen, samples) - seen))
    except OutOfTime:
        return mass


def log_mass_in(target: Target, modes: tuple[Mode, ...], unseen: list[int], samples: list[Sample]) -> float:
    """The log of the mass in the basins of the unseen modes by weighted draws, in nats; -inf where none is there."""
    points = np.concatenate([sample.points for sample in samples])
    log_ratios = np.concatenate([sample.log_joint for sample in samples]) - log_proposal(samples, points)
    is_theirs = np.isfinite(log_ratios)
    is_theirs[is_theirs] = np.isin(basins(target, modes, points[is_theirs]), unseen)
    return float(special.logsumexp(log_ratios[is_theirs]) - np.log(len(points))) if is_theirs.any() else -np.inf


def place_of(modes: list[Mode], draws: np.ndarray, space: Unconstrained, layout: Layout) -> str:
    """Where the heaviest of some modes is: the elements that are furthest from the draws."""
    seen, (there,) = (space.elements(points, layout.reported_elements) for points in (draws, modes[0].location[None]))
    apart = np.abs(there - seen.mean(0)) / np.maximum(seen.std(0), 1e-300)
    order = np.argsort(-np.nan_to_num(apart))[:N_NAMED]
    elements = sorted(order[apart[order] > apart[order[0]] / 2])
    where = ", ".join(f"{layout.label(*layout.reported_elements[k])} {there[k]:.3g}" for k in elements)
    return f"{'a mode' if len(modes) == 1 else f'{len(modes)} modes, the heaviest of them'} at {where}"
