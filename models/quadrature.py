"""The integral of a density over a few dimensions, and draws from it: the trapezoid rule on a lattice that grows.

Summed over a whole lattice the trapezoid rule converges exponentially in the steps where the integrand is analytic, and
polynomially where it has kinks (Trefethen & Weideman 2014, The exponentially convergent trapezoidal rule, SIAM Review
56). Only the points that matter are visited: from given seeds on, neighbour after neighbour. Many densities at once,
over one or two dimensions, are integrated by `models.shared_lattice`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import special

LogDensity = Callable[[np.ndarray], np.ndarray]  # from points, shape (n_points, dimension), to nats, shape (n_points,)

GENERIC = np.sqrt([2.0, 3.0, 5.0, 7.0])
"""Numbers without simple ratios: they turn the lattices, and shift them against each other."""


class TooManyPoints(ArithmeticError):
    """The mass spans more points of a lattice than are allowed."""


def pack(indices: np.ndarray, bits: int) -> np.ndarray:
    """One integer for each row of integers, (n, dimension), sorted by the last column first. It is linear in them."""
    return indices.astype(np.int64) @ 2 ** (bits * np.arange(indices.shape[1]))


def unpack(codes: np.ndarray, dimension: int, bits: int) -> np.ndarray:
    """The rows of integers again: the inverse of `pack` for integers of less than ``bits`` bits."""
    shifts, half = bits * np.arange(dimension), 2 ** (bits - 1)
    return (codes[:, None] + np.sum(half << shifts) >> shifts) % 2**bits - half


def find(codes: np.ndarray, sought: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The positions of the sought codes among sorted ones, and whether each is there."""
    position = np.searchsorted(codes, sought).clip(max=len(codes) - 1)
    return position, codes[position] == sought


def sample_by_rejection(
    propose: Callable[[int], tuple[np.ndarray, np.ndarray]],
    rng: np.random.Generator,
    count: int,
    batch: Callable[[int], int],
) -> np.ndarray:
    """Independent draws from a density by rejection, shape (count, dimension).

    The envelope is the proposals' density and a margin. Where the density is above it, the margin is raised and all
    that was accepted is thrown away.

    Args:
        propose: From a number of proposals to the points, (n, dimension), and the log of the density at each less the
            log of the proposals' density, (n,), up to a common constant.
        rng: Accepts or rejects.
        count: The number of draws.
        batch: From the number of draws that are missing to the number of proposals.
    """
    margin = 0.2
    accepted: list[np.ndarray] = []
    while (missing := count - sum(len(points) for points in accepted)) > 0:
        points, excess = propose(batch(missing))
        if excess.max() > margin:
            margin, accepted = float(excess.max()) + 0.1, []
        accepted.append(points[np.log(rng.random(len(points))) < excess - margin])
    return np.concatenate(accepted)[:count]


@dataclass(frozen=True)
class Lattice:
    """The points origin + axes @ integers.

    Attributes:
        origin: Shape (dimension,).
        axes: Its columns are the steps, shape (dimension, dimension).
    """

    origin: np.ndarray
    axes: np.ndarray

    @cached_property
    def log_volume(self) -> float:
        """Log of the volume that each point stands for."""
        return float(np.linalg.slogdet(self.axes)[1])

    def points(self, indices: np.ndarray) -> np.ndarray:
        """The points with these indices, both of shape (n, dimension)."""
        return self.origin + indices @ self.axes.T

    def nearest(self, points: np.ndarray) -> np.ndarray:
        """The indices of the lattice's points nearest to these, both of shape (n, dimension)."""
        return np.rint(np.linalg.solve(self.axes, (points - self.origin).T).T)

    def fitted(self, indices: np.ndarray, log_densities: np.ndarray) -> Lattice:
        """The lattice whose origin is the mean of a mass, and whose steps are its sds along its principal axes.

        Args:
            indices: Where the mass lies on this lattice, shape (n, dimension).
            log_densities: Its logs there, shape (n,).
        """
        weights = special.softmax(log_densities)
        mean = weights @ indices
        # The floor is for a mass so narrow that it falls between the points: the steps must become shorter then.
        variance = (indices - mean).T @ (weights[:, None] * (indices - mean)) + 0.05 * np.eye(len(mean))
        directions, sds, _ = np.linalg.svd(self.axes @ np.linalg.cholesky(variance))
        return Lattice(self.points(mean), directions * sds)


def grow(
    log_density: LogDensity, lattice: Lattice, seeds: np.ndarray, drop: float, limit: float
) -> tuple[np.ndarray, np.ndarray]:
    """The points within ``drop`` nats of the highest to which a path of such points leads from the seeds.

    Returns:
        Their indices (n, dimension) and log densities (n,).

    Raises:
        TooManyPoints: more than ``limit`` points would be visited.
    """
    dimension = len(lattice.origin)
    bits = 62 // dimension
    reach = 2 ** (bits - 1) - 2
    steps = np.concatenate([pack(np.eye(dimension), bits), pack(-np.eye(dimension), bits)])
    front = np.unique(pack(lattice.nearest(seeds).clip(-reach, reach), bits))
    behind, codes, values = np.empty(0, np.int64), [], []
    n_visited, highest = 0, -np.inf
    while front.size:
        indices = unpack(front, dimension, bits)
        n_visited += len(indices)
        if n_visited > limit or np.abs(indices).max() > reach:
            raise TooManyPoints(f"the mass spans more than {limit:,.0f} points of the lattice")
        heights = log_density(lattice.points(indices))
        highest = max(highest, float(heights.max()))
        live = heights > highest - drop
        codes.append(front[live])
        values.append(heights[live])
        # A live point's neighbours that were visited are in its own front or the one behind it, or else too low.
        neighbours = np.setdiff1d(np.unique(codes[-1][:, None] + steps), front, assume_unique=True)
        front, behind = np.setdiff1d(neighbours, behind, assume_unique=True), front
    every, first = np.unique(np.concatenate(codes), return_index=True)
    heights = np.concatenate(values)[first]
    live = heights > highest - drop
    return unpack(every[live], dimension, bits), heights[live]


@dataclass(frozen=True)
class Trapezoid:
    """The integral of a density by the trapezoid rule on three lattices, shifted against each other.

    The rule's error is a sum of waves in the lattice's place (Poisson's summation formula), and no wave looks the same
    to all three: they disagree by as much as each of them is wrong.

    Attributes:
        log_density: The density, which need not be normalised.
        principal: A lattice whose steps are the density's standard deviations.
        step: The lattices' steps in these.
        seeds: Where the lattices begin to grow, shape (n, dimension).
        drop: They grow to all points less than this many nats below the highest.
        limit: The most points that each may visit.
    """

    log_density: LogDensity
    principal: Lattice
    step: float
    seeds: np.ndarray
    drop: float
    limit: float

    @cached_property
    def lattices(self) -> list[Lattice]:
        """The three lattices, turned so that along no direction of interest many points fall on the same place."""
        origin = self.principal.origin
        generic = GENERIC[: len(origin)]
        mirror = np.eye(len(origin)) - 2 * np.outer(generic, generic) / (generic @ generic)
        axes = self.step * self.principal.axes @ mirror
        return [Lattice(origin + axes @ (number * generic % 1), axes) for number in range(3)]

    @cached_property
    def grown(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """The indices (n, dimension) and log densities (n,) of each lattice's points."""
        return [grow(self.log_density, lattice, self.seeds, self.drop, self.limit) for lattice in self.lattices]

    @cached_property
    def log_integrals(self) -> np.ndarray:
        """By each lattice, in nats, shape (3,)."""
        return np.array([special.logsumexp(values) for _, values in self.grown]) + self.lattices[0].log_volume

    def points(self) -> np.ndarray:
        """The points of all lattices, shape (n, dimension)."""
        pairs = zip(self.lattices, self.grown, strict=True)
        return np.concatenate([lattice.points(indices) for lattice, (indices, _) in pairs])

    @cached_property
    def ceilings(self) -> np.ndarray:
        """At each point of the first lattice the largest log density among it and all its neighbours, shape (n,)."""
        indices, highest = self.grown[0]
        bits = 62 // indices.shape[1]
        codes = pack(indices, bits)
        for step in pack(np.eye(indices.shape[1]), bits):
            # Axis by axis, so that in the end the neighbours across the corners are among them.
            sides = [find(codes, codes - step), find(codes, codes + step)]
            highest = np.max([highest, *(np.where(there, highest[place], -np.inf) for place, there in sides)], axis=0)
        return highest

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Independent draws from the density, shape (count, dimension).

        Proposed is a cell of the first lattice in proportion to its ceiling, and in it any point.
        """
        lattice, indices = self.lattices[0], self.grown[0][0]
        cumulative = np.cumsum(np.exp(self.ceilings - self.ceilings.max()))

        def propose(size: int) -> tuple[np.ndarray, np.ndarray]:
            cell = np.searchsorted(cumulative, cumulative[-1] * rng.random(size), side="right")
            points = lattice.points(indices[cell] + rng.uniform(-0.5, 0.5, (size, indices.shape[1])))
            return points, self.log_density(points) - self.ceilings[cell]

        return sample_by_rejection(propose, rng, count, lambda missing: min(10_000 + 5 * count, 400_000))

    def finer(self) -> Trapezoid | None:
        """With twice as many points; None where that would be beyond the limit."""
        n_points = 2 * sum(len(values) for _, values in self.grown)
        # About as many points again are visited around them.
        return replace(self, step=0.5 ** (1 / self.seeds.shape[1]) * self.step) if 2 * n_points < self.limit else None
