"""Integrals over one or two latent dimensions, of many images at once, by the trapezoid rule.

Summed over a whole lattice the rule converges faster than any power of the step where the integrand is smooth
(Trefethen & Weideman 2014, The exponentially convergent trapezoidal rule, SIAM Review 56). All images share a lattice,
so that the network is evaluated once a point and the likelihood of all images is one matrix product. First the mass is
located on a coarse lattice over a wide disc; then the step is halved again and again, and only points around which some
image has mass are visited. Of every lattice the rule is also taken with twice the step, in the 2 or 4 ways that there
are: when they all agree with the whole, an image is finished.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import special

__all__ = ["LogJoint", "Mass", "integrate"]

LogJoint = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From positions of images, shape (rows,), and points, shape (points, dimension), to nats, shape (points, rows)."""

GOAL = 1e-9
"""In nats: an image is finished when twice the step changes its log evidence by less."""

DROP = 35.0
"""Points so many nats below the highest of an image are left out: each has less than 1e-15 of its mass."""

BEYOND = 30.0
"""The disc is so wide that the mass beyond it is so many nats below the evidence, whatever the likelihood there."""

NARROWEST, WIDEST = 8.0, 24.0
"""Radii of the first disc; it is widened beyond where there is mass at its edge."""

FIRST = 0.25
"""The step of the first lattice, unless that has more points on a radius than `ACROSS`: then twice that, and so on."""

ACROSS = 96

FINEST = 1e-7
"""No lattice has half of a smaller step: what is not finished by then keeps its change, and is not called exact."""

ENTRIES = 16_000_000
"""Most log densities held at once, of 8 bytes; with more, the images are divided."""


@dataclass(frozen=True)
class Mass:
    """Where the mass of an image is: the points ``step * indices`` (points, dimension), in ascending order.

    ``log_joint`` (points,) and ``log_evidence`` are in nats. ``change`` is by how much twice the step changes the log
    evidence, and the points left out with it: that of the step itself is far smaller.
    """

    step: float
    indices: np.ndarray
    log_joint: np.ndarray
    log_evidence: float
    change: float

    @property
    def points(self) -> np.ndarray:
        """Shape (points, dimension)."""
        return self.step * self.indices

    @cached_property
    def probabilities(self) -> np.ndarray:
        """The mass that each point stands for, shape (points,); they sum to 1."""
        return special.softmax(self.log_joint)

    @cached_property
    def codes(self) -> np.ndarray:
        """The indices, packed."""
        return packed(self.indices)

    def interpolated(self, points: np.ndarray) -> np.ndarray:
        """The log of the density, shape (count,), linear in every dimension between the lattice's points."""
        low, share = np.divmod(points / self.step, 1.0)
        density = np.zeros(len(points))
        for corner in itertools.product((0, 1), repeat=points.shape[1]):
            weight = np.prod(np.where(corner, share, 1 - share), axis=1)
            place, found = positions(self.codes, packed(low.astype(np.int64) + corner))
            density += np.where(found, weight * self.probabilities[place], 0.0)
        with np.errstate(divide="ignore"):
            return np.log(density) - points.shape[1] * math.log(self.step)


def packed(indices: np.ndarray) -> np.ndarray:
    """One whole number for each row of indices, in the same order."""
    return indices[:, 0] if indices.shape[1] == 1 else (indices[:, 0] << 31) + indices[:, 1]


def unpacked(codes: np.ndarray, dimension: int) -> np.ndarray:
    """The rows of indices again."""
    if dimension == 1:
        return codes[:, None]
    first = (codes + (1 << 30)) >> 31
    return np.stack([first, codes - (first << 31)], axis=1)


def positions(codes: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the wanted codes are among sorted ones, and whether they are."""
    place = np.searchsorted(codes, wanted).clip(max=len(codes) - 1)
    return place, codes[place] == wanted


def neighbours(dimension: int) -> np.ndarray:
    """The steps to all neighbours, across corners too, and to the point itself, shape (3**dimension, dimension)."""
    return np.array(list(itertools.product((-1, 0, 1), repeat=dimension)))


def disc(radius: float, step: float, dimension: int) -> np.ndarray:
    """The codes of the lattice's points within the radius, in ascending order."""
    line = np.arange(-math.floor(radius / step), math.floor(radius / step) + 1)
    indices = np.stack(np.meshgrid(*[line] * dimension, indexing="ij"), axis=-1).reshape(-1, dimension)
    return packed(indices[np.sum((step * indices) ** 2, axis=1) <= radius**2])


def integrate(log_joint: LogJoint, dimension: int, ceilings: np.ndarray) -> list[Mass]:
    """The integral of each image's joint density over z.

    ``ceilings`` (n,) are what no log likelihood of an image exceeds, in nats: where the prior's mass beyond a disc
    times this is nothing, so is the mass there.
    """
    masses: dict[int, Mass] = {}
    for rows in np.array_split(np.arange(len(ceilings)), len(ceilings) // 500 + 1):
        waiting = [located(log_joint, rows, dimension, ceilings[rows])]
        while waiting:
            waiting += refined(log_joint, waiting.pop(), masses)
    return [masses[row] for row in range(len(ceilings))]


@dataclass(frozen=True)
class Lattice:
    """The lattice of some images, rows (rows,): a step, and the codes (points,) of its points in ascending order.

    ``before`` (rows,) is by how much this step was changed by twice the step, the last time.
    """

    rows: np.ndarray
    dimension: int
    step: float
    codes: np.ndarray
    before: np.ndarray

    @property
    def indices(self) -> np.ndarray:
        """Shape (points, dimension)."""
        return unpacked(self.codes, self.dimension)


def located(log_joint: LogJoint, rows: np.ndarray, dimension: int, ceilings: np.ndarray) -> Lattice:
    """A coarse lattice that covers all mass of these images."""
    radius = NARROWEST
    while True:
        step = FIRST * 2.0 ** max(0, math.ceil(math.log2(radius / FIRST / ACROSS)))
        lattice = Lattice(rows, dimension, step, disc(radius, step, dimension), np.full(len(rows), np.inf))
        values = log_joint(rows, step * lattice.indices)
        evidence = special.logsumexp(values, axis=0) + dimension * math.log(step)
        needed = math.sqrt(2 * max(0.0, float(np.max(ceilings - evidence)) + BEYOND))
        edge = np.sum((step * lattice.indices) ** 2, axis=1) > (radius - 2 * step) ** 2
        if radius < min(needed, WIDEST):
            radius = min(needed, WIDEST)
        elif radius < needed and live(values, lattice)[edge].any():
            radius *= 1.5
        else:
            return lattice


def live(values: np.ndarray, lattice: Lattice) -> np.ndarray:
    """Whether there is mass around each point of each image, both of shape (points, rows).

    Between the points the density may be higher than at them, by no more than it differs between neighbours.
    """
    found = values > values.max(axis=0) - DROP
    rise = np.zeros_like(values)
    for step in packed(np.eye(lattice.dimension, dtype=np.int64)):
        place, there = positions(lattice.codes, lattice.codes + step)
        here, there = np.flatnonzero(there), place[there]
        difference = np.abs(values[there] - values[here])
        rise[here] = np.maximum(rise[here], difference)
        rise[there] = np.maximum(rise[there], difference)
    found |= values + rise > values.max(axis=0) - DROP
    return found


def refined(log_joint: LogJoint, lattice: Lattice, masses: dict[int, Mass]) -> list[Lattice]:
    """Put the images that this lattice finishes among the masses; with half the step, the lattices of the others."""
    indices, dimension = lattice.indices, lattice.dimension
    values = log_joint(lattice.rows, lattice.step * indices)
    highest = values.max(axis=0)
    shares = np.exp(values - highest)
    total = shares.sum(axis=0)
    parity = packed(indices & 1)
    with np.errstate(divide="ignore"):
        doubled = np.log([2**dimension * shares[parity == one].sum(axis=0) for one in np.unique(parity)])
    change = np.abs(doubled - np.log(total)).max(axis=0)
    # At first the changes fall faster and faster: where they do not any more, what is left is rounding.
    finished = (change < GOAL) | (change < 1e-4) & (change >= 0.5 * lattice.before) | (lattice.step < FINEST)
    others = np.flatnonzero(~finished)
    groups, finer = [], []
    if len(others):
        around = live(values[:, others], lattice)
        groups = [np.arange(len(others))]
    while groups:
        group = groups.pop()
        parents = lattice.codes[around[:, group].any(axis=1)]
        children = np.unique(2 * parents + packed(neighbours(dimension))[:, None])
        rows = others[group]
        if len(group) * len(children) <= ENTRIES:
            finer.append(Lattice(lattice.rows[rows], dimension, lattice.step / 2, children, change[rows]))
        elif len(group) > 1:
            groups += np.array_split(group, 2)
        else:
            finished[rows] = True
    for row in np.flatnonzero(finished):
        kept = values[:, row] > highest[row] - DROP
        lost = -math.log(shares[kept, row].sum() / total[row])
        masses[int(lattice.rows[row])] = Mass(
            step=lattice.step,
            indices=indices[kept],
            log_joint=values[kept, row],
            log_evidence=float(highest[row] + math.log(total[row]) + dimension * math.log(lattice.step)),
            change=float(change[row] + lost),
        )
    return finer
