"""The integrals of many densities at once, over one or two dimensions, by the trapezoid rule on a lattice they share.

Summed over a whole lattice the rule converges faster than any power of the step where the integrand is smooth
(Trefethen & Weideman 2014, The exponentially convergent trapezoidal rule, SIAM Review 56). Each density is N(z; 0, I)
times a likelihood of its own, and all likelihoods are evaluated together, so that an expensive function of z is
evaluated once a point. First the mass is located on a coarse lattice over a wide disc; then the step is halved again
and again, and only points around which some density has mass are visited. Of every lattice the rule is also taken with
twice the step, in the 2 or 4 ways that there are: when they all agree with the whole, a density is finished.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import special

from models import quadrature
from models.marginals import BandLimited
from models.quadrature import find, sample_by_rejection

LogJoint = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From numbers of densities, shape (rows,), and points, (n_points, dimension), to nats, shape (n_points, rows)."""

GOAL = 1e-9  # in nats: a density is finished when twice the step changes its log integral by less
DROP = 35.0  # points this many nats below the highest of a density are left out: each has less than 1e-15 of its mass

BEYOND = 30.0
"""Nats by which the mass beyond the disc is below the integral, whatever the likelihood there."""

NARROWEST, WIDEST = 8.0, 24.0  # radii of the first disc; it is widened beyond where there is mass at its edge

FIRST = 0.25
"""The step of the first lattice, unless that has more points on a radius than `ACROSS`: then twice that, and so on."""

ACROSS = 96

FINEST = 1e-7
"""No lattice has half of a smaller step: what is not finished by then keeps its change, and is not called exact."""

ENTRIES = 16_000_000  # most log densities held at once, of 8 bytes; with more, the densities are divided


def pack(indices: np.ndarray) -> np.ndarray:
    """One integer for each row of integers, (n, dimension), sorted by the first column first. It is linear in them."""
    return quadrature.pack(indices[:, ::-1], 31)


def unpack(codes: np.ndarray, dimension: int) -> np.ndarray:
    """The rows of integers again."""
    return quadrature.unpack(codes, dimension, 31)[:, ::-1]


@dataclass(frozen=True)
class Mass:
    """Where the mass of a density is: the points ``step * indices``, in ascending order.

    Attributes:
        step: The lattice's step.
        indices: Shape (n_points, dimension).
        log_joint: The log of the density at the points, in nats, shape (n_points,).
        log_evidence: The log of its integral, in nats.
        change: By how much twice the step changes that, and with it the points left out: the error of the step itself
            is far smaller.
    """

    step: float
    indices: np.ndarray
    log_joint: np.ndarray
    log_evidence: float
    change: float

    @property
    def points(self) -> np.ndarray:
        """Shape (n_points, dimension)."""
        return self.step * self.indices

    @cached_property
    def codes(self) -> np.ndarray:
        """The indices, packed."""
        return pack(self.indices)

    @cached_property
    def probabilities(self) -> np.ndarray:
        """The mass that each point stands for, shape (n_points,); they sum to 1."""
        return special.softmax(self.log_joint)

    @cached_property
    def mean(self) -> np.ndarray:
        """Shape (dimension,)."""
        return self.probabilities @ self.points

    @cached_property
    def covariance(self) -> np.ndarray:
        """Shape (dimension, dimension)."""
        return (self.points - self.mean).T @ (self.probabilities[:, None] * (self.points - self.mean))

    def marginal(self, axis: int) -> BandLimited:
        """The distribution of one dimension."""
        first = int(self.indices[:, axis].min())
        masses = np.bincount(self.indices[:, axis] - first, self.probabilities)
        return BandLimited(self.step * (first + np.arange(len(masses))), masses, self.step)

    def interpolated(self, points: np.ndarray) -> np.ndarray:
        """The log of the normalised density at points (n, dimension), linear between the lattice's points: (n,)."""
        low, share = np.divmod(points / self.step, 1.0)
        density = np.zeros(len(points))
        for corner in itertools.product((0, 1), repeat=points.shape[1]):
            weight = np.prod(np.where(corner, share, 1 - share), axis=1)
            place, there = find(self.codes, pack(low.astype(np.int64) + corner))
            density += np.where(there, weight * self.probabilities[place], 0.0)
        with np.errstate(divide="ignore"):
            return np.log(density) - points.shape[1] * math.log(self.step)

    def draw(self, log_joint: quadrature.LogDensity, rng: np.random.Generator, count: int) -> np.ndarray:
        """Independent draws, shape (count, dimension), from the exact density but for the mass of points left out.

        Proposed is a point of the lattice by its mass, and around it a triangular step: that is a draw from the density
        interpolated between the points.
        """
        cumulative, dimension = np.cumsum(self.probabilities), self.indices.shape[1]

        def propose(size: int) -> tuple[np.ndarray, np.ndarray]:
            nodes = np.searchsorted(cumulative, cumulative[-1] * rng.random(size), side="right")
            step = self.step * (rng.random((size, dimension)) - rng.random((size, dimension)))
            points = self.points[nodes] + step
            return points, log_joint(points) - self.log_evidence - self.interpolated(points)

        return sample_by_rejection(propose, rng, count, lambda missing: math.ceil(1.3 * missing) + 100)


def integrate(log_joint: LogJoint, dimension: int, ceilings: np.ndarray) -> list[Mass]:
    """The integral of each density N(z; 0, I) times its likelihood.

    Args:
        log_joint: The logs of the densities.
        dimension: Of z: 1 or 2.
        ceilings: What no log likelihood exceeds, in nats, shape (n,): where the prior's mass beyond a disc times this
            is nothing, so is the density's mass there.
    """
    masses: dict[int, Mass] = {}
    for rows in np.array_split(np.arange(len(ceilings)), len(ceilings) // 500 + 1):
        waiting = [locate(log_joint, rows, dimension, ceilings[rows])]
        while waiting:
            waiting += refine(log_joint, waiting.pop(), masses)
    return [masses[row] for row in range(len(ceilings))]


@dataclass(frozen=True)
class SharedLattice:
    """The lattice of some densities.

    Attributes:
        rows: The numbers of the densities, shape (rows,).
        dimension: 1 or 2.
        step: The distance of the points.
        codes: The points' indices, packed, in ascending order, shape (n_points,).
        before: By how much twice the step changed each log integral, the last time, shape (rows,).
    """

    rows: np.ndarray
    dimension: int
    step: float
    codes: np.ndarray
    before: np.ndarray

    @property
    def indices(self) -> np.ndarray:
        """Shape (n_points, dimension)."""
        return unpack(self.codes, self.dimension)

    def has_mass(self, values: np.ndarray) -> np.ndarray:
        """Whether there is mass around each point of each density with these logs, both of shape (n_points, rows).

        Between the points a density may be higher than at them, by no more than it differs between neighbours.
        """
        lowest = values.max(axis=0) - DROP
        rise = np.zeros_like(values)
        for step in pack(np.eye(self.dimension, dtype=np.int64)):
            place, there = find(self.codes, self.codes + step)
            here, beside = np.flatnonzero(there), place[there]
            difference = np.abs(values[beside] - values[here])
            for side in (here, beside):
                rise[side] = np.maximum(rise[side], difference)
        return (values > lowest) | (values + rise > lowest)

    def halved(self, rows: np.ndarray, values: np.ndarray, change: np.ndarray) -> tuple[list[SharedLattice], list[int]]:
        """The lattices with half the step of some of its densities, divided where they have too many points.

        Args:
            rows: The positions of these densities, shape (n,).
            values: Their logs at the points, shape (n_points, n).
            change: By how much twice the step changes their log integrals, shape (n,).

        Returns:
            The lattices, and the positions of densities that need too many points alone.
        """
        if not len(rows):
            return [], []
        offsets = pack(np.array(list(itertools.product((-1, 0, 1), repeat=self.dimension))))
        around = self.has_mass(values)
        groups, lattices, too_large = [np.arange(len(rows))], [], []
        while groups:
            group = groups.pop()
            parents = self.codes[around[:, group].any(axis=1)]
            children = np.unique(2 * parents + offsets[:, None])
            if len(group) * len(children) <= ENTRIES:
                members = self.rows[rows[group]]
                lattices.append(SharedLattice(members, self.dimension, self.step / 2, children, change[group]))
            elif len(group) > 1:
                groups += np.array_split(group, 2)
            else:
                too_large.append(int(rows[group[0]]))
        return lattices, too_large


def disc(radius: float, step: float, dimension: int) -> np.ndarray:
    """The codes of the lattice's points within the radius, in ascending order."""
    line = np.arange(-math.floor(radius / step), math.floor(radius / step) + 1)
    indices = np.stack(np.meshgrid(*[line] * dimension, indexing="ij"), axis=-1).reshape(-1, dimension)
    return pack(indices[np.sum((step * indices) ** 2, axis=1) <= radius**2])


def locate(log_joint: LogJoint, rows: np.ndarray, dimension: int, ceilings: np.ndarray) -> SharedLattice:
    """A coarse lattice that covers all mass of these densities."""
    radius = NARROWEST
    while True:
        step = FIRST * 2.0 ** max(0, math.ceil(math.log2(radius / FIRST / ACROSS)))
        lattice = SharedLattice(rows, dimension, step, disc(radius, step, dimension), np.full(len(rows), np.inf))
        values = log_joint(rows, step * lattice.indices)
        evidence = special.logsumexp(values, axis=0) + dimension * math.log(step)
        needed = math.sqrt(2 * max(0.0, float(np.max(ceilings - evidence)) + BEYOND))
        edge = np.sum((step * lattice.indices) ** 2, axis=1) > (radius - 2 * step) ** 2
        if radius < min(needed, WIDEST):
            radius = min(needed, WIDEST)
        elif radius < needed and lattice.has_mass(values)[edge].any():
            radius *= 1.5
        else:
            return lattice


def refine(log_joint: LogJoint, lattice: SharedLattice, masses: dict[int, Mass]) -> list[SharedLattice]:
    """Put the densities that this lattice finishes among the masses; the lattices of the others, with half the step."""
    indices, dimension = lattice.indices, lattice.dimension
    values = log_joint(lattice.rows, lattice.step * indices)
    highest = values.max(axis=0)
    shares = np.exp(values - highest)
    total = shares.sum(axis=0)
    parity = pack(indices & 1)
    with np.errstate(divide="ignore"):
        doubled = np.log([2**dimension * shares[parity == kind].sum(axis=0) for kind in np.unique(parity)])
    change = np.abs(doubled - np.log(total)).max(axis=0)
    # At first the changes fall faster and faster: where they do not any more, what is left is rounding.
    finished = (change < GOAL) | (change < 1e-4) & (change >= 0.5 * lattice.before) | (lattice.step < FINEST)
    waiting = np.flatnonzero(~finished)
    finer, too_large = lattice.halved(waiting, values[:, waiting], change[waiting])
    finished[too_large] = True
    for row in np.flatnonzero(finished):
        live = values[:, row] > highest[row] - DROP
        lost = -math.log(shares[live, row].sum() / total[row])
        masses[int(lattice.rows[row])] = Mass(
            step=lattice.step,
            indices=indices[live],
            log_joint=values[live, row],
            log_evidence=float(highest[row] + math.log(total[row]) + dimension * math.log(lattice.step)),
            change=float(change[row] + lost),
        )
    return finer
