"""Integrals over a few dimensions: the trapezoid rule on a lattice that grows over the mass.

Summed over a whole lattice the trapezoid rule converges exponentially in the steps where the integrand is analytic, and
polynomially where it has kinks (Trefethen & Weideman 2014, The exponentially convergent trapezoidal rule, SIAM Review
56). Only the points that matter are visited: from some given ones on, all neighbours in turn.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.fft
from scipy import special

__all__ = ["Lattice", "LogDensity", "Marginal", "TooManyPoints", "Trapezoid", "grow"]

LogDensity = Callable[[np.ndarray], np.ndarray]
"""From points, shape (count, dimension), to nats, shape (count,)."""

GENERIC = np.sqrt([2.0, 3.0, 5.0, 7.0])
"""Numbers without any simple ratios: they turn the lattices, and shift them against each other."""

LEVELS = 64
"""How many different sds a table of Gaussians is made with."""


class TooManyPoints(ArithmeticError):
    """The mass spans more points of a lattice than are allowed."""


@dataclass(frozen=True)
class Lattice:
    """The points origin + axes @ whole numbers: ``origin`` (dimension,), the columns of ``axes`` are the steps."""

    origin: np.ndarray
    axes: np.ndarray

    @cached_property
    def log_volume(self) -> float:
        """Log of the volume that each point stands for."""
        return float(np.linalg.slogdet(self.axes)[1])

    def points(self, indices: np.ndarray) -> np.ndarray:
        """The points of those indices, both of shape (count, dimension)."""
        return self.origin + indices @ self.axes.T

    def fitted(self, indices: np.ndarray, values: np.ndarray) -> Lattice:
        """The lattice whose steps are one sd along the principal axes of the mass, and whose origin is its mean.

        The mass lies at this lattice's ``indices`` (count, dimension), and its logs are ``values`` (count,).
        """
        weights = special.softmax(values)
        mean = weights @ indices
        # The floor is for a mass so narrow that it falls between the points: the steps must become shorter then.
        variance = (indices - mean).T @ (weights[:, None] * (indices - mean)) + 0.05 * np.eye(len(mean))
        directions, sds, _ = np.linalg.svd(self.axes @ np.linalg.cholesky(variance))
        return Lattice(self.points(mean), directions * sds)

    def nearest(self, points: np.ndarray) -> np.ndarray:
        """The indices of the lattice's points next to those points, both of shape (count, dimension)."""
        return np.rint(np.linalg.solve(self.axes, (points - self.origin).T).T)


def packed(indices: np.ndarray, bits: int) -> np.ndarray:
    """One whole number for each row of indices."""
    return (indices.astype(np.int64) + 2 ** (bits - 1)) @ 2 ** (bits * np.arange(indices.shape[1]))


def unpacked(codes: np.ndarray, dimension: int, bits: int) -> np.ndarray:
    """The rows of indices again."""
    return (codes[:, None] >> bits * np.arange(dimension)) % 2**bits - 2 ** (bits - 1)


def grow(
    log_density: LogDensity, lattice: Lattice, seeds: np.ndarray, drop: float, limit: float
) -> tuple[np.ndarray, np.ndarray]:
    """The points within ``drop`` nats of the highest to which a path of such points leads from the seeds.

    Returns:
        Their indices (count, dimension) and log densities (count,).

    Raises:
        TooManyPoints: more than ``limit`` points would be visited.
    """
    dimension = len(lattice.origin)
    bits = 62 // dimension
    reach = 2 ** (bits - 1) - 2
    steps = 2 ** (bits * np.arange(dimension))
    steps = np.concatenate([steps, -steps])
    front = np.unique(packed(lattice.nearest(seeds).clip(-reach, reach), bits))
    behind, kept, values = np.empty(0, np.int64), [], []
    visited, top = 0, -np.inf
    while front.size:
        indices = unpacked(front, dimension, bits)
        visited += len(indices)
        if visited > limit or np.abs(indices).max() > reach:
            raise TooManyPoints(f"the mass spans more than {limit:,.0f} points of the lattice")
        found = log_density(lattice.points(indices))
        top = max(top, float(found.max()))
        live = found > top - drop
        kept.append(front[live])
        values.append(found[live])
        # A live point's neighbours that were visited are in its own front or the one behind it, or else too low.
        neighbours = np.setdiff1d(np.unique(kept[-1][:, None] + steps), front, assume_unique=True)
        front, behind = np.setdiff1d(neighbours, behind, assume_unique=True), front
    codes, first = np.unique(np.concatenate(kept), return_index=True)
    found = np.concatenate(values)[first]
    live = found > top - drop
    return unpacked(codes[live], dimension, bits), found[live]


@dataclass(frozen=True)
class Trapezoid:
    """The integral of a density by the trapezoid rule on three lattices, shifted against each other.

    The rule's error is a sum of waves in the lattice's place (Poisson's summation formula), and no wave looks the same
    to all three: they disagree by as much as each of them is wrong. ``principal`` is a lattice whose steps are the
    density's standard deviations, ``step`` is in these. The lattices grow from the ``seeds`` (count, dimension) to all
    points less than ``drop`` nats below the highest; ``limit`` is how many may be visited.
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
        """Of each lattice the indices (count, dimension) and the log densities (count,) of its points."""
        return [grow(self.log_density, lattice, self.seeds, self.drop, self.limit) for lattice in self.lattices]

    @cached_property
    def log_integrals(self) -> np.ndarray:
        """By each lattice, in nats, shape (3,)."""
        return np.array([special.logsumexp(values) for _, values in self.grown]) + self.lattices[0].log_volume

    def points(self) -> np.ndarray:
        """The points of all lattices, shape (count, dimension)."""
        pairs = zip(self.lattices, self.grown, strict=True)
        return np.concatenate([lattice.points(indices) for lattice, (indices, _) in pairs])

    @cached_property
    def ceilings(self) -> np.ndarray:
        """Of the first lattice's points the largest log density among each and all its neighbours, shape (count,)."""
        indices, highest = self.grown[0]
        bits = 62 // indices.shape[1]
        codes = packed(indices, bits)
        for step in 2 ** (bits * np.arange(indices.shape[1])):
            # Axis by axis, so that in the end the neighbours across the corners are among them.
            beside = []
            for neighbour in (codes - step, codes + step):
                place = np.searchsorted(codes, neighbour).clip(max=len(codes) - 1)
                beside.append(np.where(codes[place] == neighbour, highest[place], -np.inf))
            highest = np.maximum(highest, np.maximum(*beside))
        return highest

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Independent draws from the density, shape (count, dimension), by rejection.

        Proposed is a cell of the first lattice in proportion to its ceiling, and in it any point. When the density is
        above a ceiling by more than the margin, the margin is raised and all that was accepted thrown away.
        """
        lattice, indices = self.lattices[0], self.grown[0][0]
        cumulative = np.cumsum(np.exp(self.ceilings - self.ceilings.max()))
        size = min(10_000 + 5 * count, 400_000)
        margin, kept, accepted = 0.2, [], 0
        while accepted < count:
            cell = np.searchsorted(cumulative, cumulative[-1] * rng.random(size), side="right")
            points = lattice.points(indices[cell] + rng.uniform(-0.5, 0.5, (size, indices.shape[1])))
            above = self.log_density(points) - self.ceilings[cell]
            if above.max() > margin:
                margin, kept, accepted = float(above.max()) + 0.1, [], 0
            kept.append(points[np.log(rng.random(size)) < above - margin])
            accepted += len(kept[-1])
        return np.concatenate(kept)[:count]

    def finer(self) -> Trapezoid | None:
        """With twice as many points; None where that would be beyond the limit."""
        points = 2 * sum(len(values) for _, values in self.grown)
        # About as many points again are visited around them.
        return replace(self, step=0.5 ** (1 / self.seeds.shape[1]) * self.step) if 2 * points < self.limit else None


class Marginal:
    """The distribution of one number, tabulated: its density is linear between the points of a grid.

    It is a mixture of Gaussians with ``means``, ``sds`` and ``weights`` (count,), and the table is made by Fourier
    transforms. Nothing narrower than a ten-thousandth of the whole range is resolved.
    """

    def __init__(self, means: np.ndarray, sds: np.ndarray, weights: np.ndarray) -> None:
        lower, upper = float((means - 8 * sds).min()), float((means + 8 * sds).max())
        heavy = weights > 1e-5 * weights.max()
        cells = math.ceil(4 * (upper - lower) / max(float(sds[heavy].min()), 1e-4 * (upper - lower)))
        cells = scipy.fft.next_fast_len(max(1000, cells), real=True)
        width = (upper - lower) / cells
        waves = 2 * np.pi * scipy.fft.rfftfreq(cells, width)
        cell, right = np.divmod((means - lower) / width, 1.0)
        cell, right = cell.astype(np.int64), right * weights
        # A Gaussian is shared by the two nearest of a few sds, and by the two points of the grid beside its mean. The
        # first keeps its variance, the second is undone by the division by sinc^2.
        scale = np.geomspace(sds[heavy].min(), max(sds[heavy].max(), 1.0001 * sds[heavy].min()), LEVELS)
        level = np.searchsorted(scale[1:-1], sds)
        wider = ((sds**2 - scale[level] ** 2) / (scale[level + 1] ** 2 - scale[level] ** 2)).clip(0, 1)
        order = np.argsort(level.astype(np.uint16), kind="stable")
        spectrum = np.zeros(len(waves), complex)
        for alike in np.split(order, np.flatnonzero(np.diff(level[order])) + 1):
            for sd, share in ((scale[level[alike[0]]], 1 - wider[alike]), (scale[level[alike[0]] + 1], wider[alike])):
                counts = np.bincount(cell[alike], share * (weights[alike] - right[alike]), cells)
                counts += np.bincount(cell[alike] + 1, share * right[alike], cells)
                spectrum += scipy.fft.rfft(counts) * np.exp(-0.5 * (sd * waves) ** 2)
        spectrum /= np.sinc(waves * width / (2 * np.pi)) ** 2
        # Between the points of the grid its waves are known too.
        density, width = np.maximum(scipy.fft.irfft(spectrum, 4 * cells), 0.0), width / 4
        below = np.concatenate([[0.0], np.cumsum(0.5 * width * (density[1:] + density[:-1]))])
        self.grid = lower + width * np.arange(4 * cells)
        self.density, self.below = density / below[-1], below / below[-1]

    def at(self, values: np.ndarray) -> np.ndarray:
        """The density at the values."""
        return np.interp(values, self.grid, self.density, left=0.0, right=0.0)

    def distribution(self, values: np.ndarray) -> np.ndarray:
        """The probability below the values."""
        return np.interp(values, self.grid, self.below)

    def quantile(self, probability: float) -> float:
        """The number below which the probability lies."""
        return float(np.interp(probability, self.below, self.grid))
