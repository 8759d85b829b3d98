"""All modes of a posterior: where they are, how high, how wide, and how much mass each has by Laplace's method."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import special
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from scipy.stats import qmc

from compare.fit.reference.optimise import ascend, hessians
from compare.fit.reference.target import Target, evaluate, evaluate_gradient

__all__ = ["MANY_PROBES", "PROBES", "Mode", "ModeSearch", "find_modes"]

PROBES = {1: 2**12, 2: 2**15, 3: 2**19}
"""Points evaluated before any is optimised, by dimension: enough to meet a mode of a hundredth of the prior's width."""

MANY_PROBES = 2**13
"""The same in more dimensions, where no number of points meets all modes."""

BARRIER = 0.5
"""A dip of the log density between two maxima, in nats, up to which they belong to one mode."""

NEGLIGIBLE = 40.0
"""Nats below the largest Laplace mass from which a maximum is dropped."""

FARTHEST = 1e6
"""Prior sds from the centre beyond which a point is on its way to infinity."""

MAX_MAXIMA = 200
"""Maxima kept before those on one ridge are joined."""

MAX_MEMBERS = 40
"""Maxima that describe one mode at most."""


@dataclass(frozen=True)
class Mode:
    """A mode: a maximum, or a ridge of maxima with no barrier between neighbours.

    Attributes:
        location: The highest point, shape (d,).
        log_density: The log joint there, in nats.
        log_mass: Laplace's estimate of the log of the mode's mass (the largest among its members), in nats.
        members: Points spread along the ridge, the highest first, shape (m, d); one point for a simple mode.
        member_log_mass: Laplace's log mass of each member, shape (m,).
        member_factors: Upper triangular R with R^T R = the precision at each member, shape (m, d, d).
    """

    location: np.ndarray
    log_density: float
    log_mass: float
    members: np.ndarray = field(repr=False)
    member_log_mass: np.ndarray = field(repr=False)
    member_factors: np.ndarray = field(repr=False)

    def squares(self, points: np.ndarray) -> np.ndarray:
        """Squared distances in sds of points (n, d) from each member, shape (n, m)."""
        pairs = zip(self.members, self.member_factors, strict=True)
        return np.stack([(((points - place) @ r.T) ** 2).sum(1) for place, r in pairs], axis=1)


@dataclass(frozen=True)
class ModeSearch:
    """What a search for modes returns.

    Attributes:
        modes: The modes, the largest Laplace mass first.
        probes: Points with the highest log joints among all evaluated, shape (p, d).
        probe_log_joint: Their log joints, shape (p,), in nats.
        n_probes: Points evaluated.
        has_maximum: Whether the optimiser arrived anywhere; where it did not, the modes are the highest probes.
        trouble: What was wrong in one sentence; empty where nothing was.
    """

    modes: tuple[Mode, ...]
    probes: np.ndarray = field(repr=False)
    probe_log_joint: np.ndarray = field(repr=False)
    n_probes: int
    trouble: str = ""
    has_maximum: bool = True


def find_modes(
    target: Target, rng: np.random.Generator, n_starts: int = 1024, n_probes: int | None = None
) -> ModeSearch:
    """Find all modes by optimisation from prior draws, wide draws and the best of many probes.

    Args:
        target: The posterior.
        rng: Source of all randomness.
        n_starts: Starts in the first round; up to three rounds of an eighth follow, from probes that no mode explains.
        n_probes: About how many points are evaluated first; by dimension where None is given.

    Returns:
        The modes and what the search cost. Without a finite log joint anywhere there are none, and ``trouble`` says so.
    """
    center, scale = _extent(target)
    n_probes = PROBES.get(target.dimension, MANY_PROBES) if n_probes is None else n_probes
    probes = _probes(target, rng, center, scale, n_probes)
    values = evaluate(target, probes)
    n_evaluated = len(probes)
    finite = np.isfinite(values)
    probes, values = probes[finite], values[finite]
    if not len(probes):
        return ModeSearch((), probes, values, n_evaluated, "the log joint is finite at none of the starts")
    chosen = _first_starts(target, values, rng, n_starts)
    is_new = np.ones(len(probes), bool)
    maxima, heights = np.empty((0, target.dimension)), np.empty(0)
    for round_ in range(4):
        is_new[chosen] = False
        ends, tops = ascend(target, probes[chosen])
        maxima, heights = np.concatenate([maxima, ends]), np.concatenate([heights, tops])
        near_by = np.abs((maxima - center) / scale).max(1) < FARTHEST
        maxima, heights, precisions = _distinct(target, maxima[near_by], heights[near_by], scale)
        if round_ == 3:
            break
        surplus = np.where(is_new, _surplus(probes, values, maxima, heights, precisions), -np.inf)
        chosen = _unexplained(values, surplus, rng, n_starts // 8)
        if len(chosen) == 0:
            break
    has_maximum = len(maxima) > 0
    if not has_maximum:  # the log joint has its supremum at infinity: the highest probes serve
        high = np.argsort(-values)[:200]
        maxima, heights, precisions = _distinct(target, probes[high], values[high], scale, is_stationary=False)
    modes = _join(target, maxima, heights, precisions)
    top = np.argsort(-values)[:2000]
    trouble = "" if modes else "the optimiser found no maximum"
    return ModeSearch(tuple(modes), probes[top], values[top], n_evaluated, trouble, has_maximum)


def _extent(target: Target) -> tuple[np.ndarray, np.ndarray]:
    """A robust centre and scale of each coordinate, from the prior draws; 0 and 1 without them."""
    if target.prior_draws is None:
        return np.zeros(target.dimension), np.ones(target.dimension)
    draws = target.prior_draws[np.isfinite(target.prior_draws).all(1)]
    if len(draws) < 8:
        return np.zeros(target.dimension), np.ones(target.dimension)
    low, center, high = np.quantile(draws, [0.16, 0.5, 0.84], axis=0)
    return center, np.clip((high - low) / 2, 1e-6, 1e6)


def _probes(target: Target, rng: np.random.Generator, center: np.ndarray, scale: np.ndarray, n: int) -> np.ndarray:
    """Points to evaluate, about (n, d): the prior's draws first, then Gaussian, uniform and Student draws."""
    d, parts = target.dimension, []
    if target.prior_draws is not None:
        parts.append(target.prior_draws[np.isfinite(target.prior_draws).all(1)][:n])
    exponent = max(int(np.log2(n)) - 1, 4)
    uniform = qmc.Sobol(d, rng=rng).random_base2(exponent)
    parts.append(center + scale * special.ndtri(np.clip(uniform, 1e-12, 1 - 1e-12)))
    wide = qmc.Sobol(d, rng=rng).random_base2(exponent - 1)
    parts.append(center + scale * 10 * (2 * wide - 1))
    widths = 10 ** rng.uniform(-2, 2, (n // 8, 1))
    parts.append(center + scale * widths * rng.standard_t(3, (n // 8, d)))
    parts.append(rng.uniform(-2, 2, (64, d)))  # where Pyro and NumPyro start their chains
    return np.concatenate(parts)


def _first_starts(target: Target, values: np.ndarray, rng: np.random.Generator, n: int) -> np.ndarray:
    """Indices of probes: many at random (half from the prior's draws, where all are finite), the highest, the best of
    eight."""
    n_prior = min(0 if target.prior_draws is None else len(target.prior_draws), len(values))
    some = rng.permutation(n_prior)[: n // 2]
    top = np.argsort(-values)[: n // 8]
    any_ = rng.integers(len(values), size=n // 4)
    eights = rng.integers(len(values), size=(n // 8, 8))
    best = eights[np.arange(len(eights)), np.argmax(values[eights], 1)]
    return np.unique(np.concatenate([some, top, any_, best]))


def _precisions(target: Target, points: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Positive definite precisions at points (n, d), shape (n, d, d); the sd is at most ten prior scales."""
    matrices = hessians(target, points, scale)
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.clip(np.nan_to_num(matrices * np.outer(scale, scale)), -1e12, 1e12)
    values, vectors = np.linalg.eigh(scaled)
    values = np.clip(values, 1e-2, 1e12)
    values = np.maximum(values, 1e-13 * values.max(1, keepdims=True))  # so that it can be factored
    whitened = np.einsum("nij,nj,nkj->nik", vectors, values, vectors)
    return whitened / np.outer(scale, scale)


def _log_mass(heights: np.ndarray, precisions: np.ndarray) -> np.ndarray:
    """Laplace's log mass of maxima, shape (n,), in nats."""
    d = precisions.shape[-1]
    masses = heights + d / 2 * np.log(2 * np.pi) - np.linalg.slogdet(precisions)[1] / 2
    return np.where(np.isfinite(masses), masses, -np.inf)


def _distinct(
    target: Target, points: np.ndarray, heights: np.ndarray, scale: np.ndarray, is_stationary: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Maxima of which no two lie within one another's sd, the highest first: points, log joints, precisions.

    With ``is_stationary``, points where the optimiser was still on its way are left out: a Newton step would gain more
    than a twentieth of a nat there.
    """
    order = np.argsort(-heights)
    order = order[np.isfinite(heights[order])]
    points, heights = points[order], heights[order]
    left = np.arange(len(points))
    chosen: list[int] = []
    precisions: list[np.ndarray] = []
    while len(left) and len(chosen) < MAX_MAXIMA:
        block = left[:16]
        slopes = evaluate_gradient(target, points[block])[1]
        for best, precision, slope in zip(block, _precisions(target, points[block], scale), slopes, strict=True):
            if best not in left:  # it lies near a higher maximum of this block
                continue
            if is_stationary and slope @ np.linalg.solve(precision, slope) > 0.1:
                left = left[left != best]
                continue
            gaps = points[left] - points[best]
            near = np.einsum("ni,ij,nj->n", gaps, precision, gaps) < 1.0
            chosen.append(int(best))
            precisions.append(precision)
            left = left[~near & (left != best)]
    distinct = np.array(chosen, int)
    stack = np.array(precisions).reshape(-1, target.dimension, target.dimension)
    if len(distinct):
        masses = _log_mass(heights[distinct], stack)
        heavy = (masses > masses.max() - NEGLIGIBLE) & np.isfinite(masses)
        distinct, stack = distinct[heavy], stack[heavy]
    return points[distinct], heights[distinct], stack


def _surplus(
    probes: np.ndarray, values: np.ndarray, maxima: np.ndarray, heights: np.ndarray, precisions: np.ndarray
) -> np.ndarray:
    """By how many nats the log joints of probes exceed the Laplace approximations at all maxima, shape (n,)."""
    log_mixture = np.full(len(probes), -np.inf)
    for k in np.argsort(-_log_mass(heights, precisions))[:40]:
        gaps = (probes - maxima[k]) @ np.linalg.cholesky(precisions[k])
        log_mixture = np.logaddexp(log_mixture, heights[k] - np.einsum("ni,ni->n", gaps, gaps) / 2)
    return values - log_mixture


def _unexplained(values: np.ndarray, surplus: np.ndarray, rng: np.random.Generator, n: int) -> np.ndarray:
    """Indices of probes with a surplus of over 2 nats: the highest, those with the largest surplus (also among the high
    ones, where a narrow mode shows), and random ones."""
    left = np.flatnonzero(surplus > 2)
    high = left[values[left] > values.max() - NEGLIGIBLE]
    quarter = n // 4
    groups = (
        left[np.argsort(-values[left])[:quarter]],
        high[np.argsort(-surplus[high])[:quarter]],
        left[np.argsort(-surplus[left])[:quarter]],
        rng.permutation(left)[:quarter],
    )
    return np.unique(np.concatenate(groups))


def _join(target: Target, maxima: np.ndarray, heights: np.ndarray, precisions: np.ndarray) -> list[Mode]:
    """Modes from maxima: those without a barrier on the segment to a neighbour belong together."""
    n = len(maxima)
    if n == 0:
        return []
    labels = np.zeros(n, int)
    if n > 1:
        spread = np.sqrt(np.mean(np.linalg.inv(precisions)[:, range(target.dimension), range(target.dimension)], 0))
        _, neighbours = cKDTree(maxima / spread).query(maxima / spread, k=min(n, 9))
        pairs = np.array(sorted({(min(i, j), max(i, j)) for i, row in enumerate(neighbours) for j in row if i != j}))
        fractions = np.linspace(0, 1, 18)[1:-1]
        first, second = maxima[pairs[:, 0]], maxima[pairs[:, 1]]
        between = first[:, None] + fractions[:, None] * (second - first)[:, None]
        lowest = evaluate(target, between.reshape(-1, target.dimension)).reshape(len(pairs), -1).min(1)
        linked = pairs[lowest > np.minimum(heights[pairs[:, 0]], heights[pairs[:, 1]]) - BARRIER]
        graph = coo_array((np.ones(len(linked)), tuple(linked.T)), shape=(n, n))
        labels = connected_components(graph, directed=False)[1]
    modes = [_mode(maxima[labels == k], heights[labels == k], precisions[labels == k]) for k in np.unique(labels)]
    return sorted(modes, key=lambda mode: -mode.log_mass)


def _mode(points: np.ndarray, heights: np.ndarray, precisions: np.ndarray) -> Mode:
    """One mode from its maxima, the highest first."""
    keep = np.arange(len(points))
    if len(keep) > MAX_MEMBERS:  # the highest, and others spread evenly over the rest
        keep = np.unique(np.linspace(0, len(points) - 1, MAX_MEMBERS).astype(int))
    points, heights, precisions = points[keep], heights[keep], precisions[keep]
    masses = _log_mass(heights, precisions)
    factors = np.linalg.cholesky(precisions).transpose(0, 2, 1)
    return Mode(points[0], float(heights[0]), float(masses.max()), points, masses, factors)
