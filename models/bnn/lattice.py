"""Integrals over a few dimensions: the trapezoid rule on a lattice that grows over the mass.

Summed over a whole lattice the trapezoid rule converges exponentially in the steps where the integrand is analytic, and
polynomially where it has kinks (Trefethen & Weideman 2014, The exponentially convergent trapezoidal rule, SIAM Review
56). Only the points that matter are visited: from some given ones on, all neighbours in turn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import fft, special

__all__ = ["Lattice", "LogDensity", "Marginal", "TooManyPoints", "Trapezoid", "grow"]

LogDensity = Callable[[np.ndarray], np.ndarray]
"""From points, shape (count, dimension), to nats, shape (count,)."""

SHIFT = np.sqrt([2.0, 3.0, 5.0, 7.0]) % 1
"""The fractions of its steps by which each of three lattices is shifted against the one before."""

LEVELS = 16
"""Gaussians that are tabulated together are alike to a sixteenth of the (logarithmic) range of their sds."""

SHARP = 8
"""How sharply waves are cut off: by a factor whose first seven derivatives vanish at wave number 0."""


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

    The rule's error is a sum of waves in the lattice's place (Poisson's summation formula), and no wave looks the same to
    all three: they disagree by as much as each of them is wrong. ``principal`` is a lattice whose steps are the
    density's standard deviations, ``steps`` (dimension,) are fractions of these. The lattices grow from the ``seeds``
    (count, dimension) to all points less than ``drop`` nats below the highest, ``limit`` of them at most.
    """

    log_density: LogDensity
    principal: Lattice
    steps: np.ndarray
    seeds: np.ndarray
    drop: float
    limit: float

    @cached_property
    def lattices(self) -> list[Lattice]:
        """The three lattices."""
        origin, axes = self.principal.origin, self.principal.axes * self.steps
        return [Lattice(origin + number * axes @ SHIFT[: len(origin)], axes) for number in range(3)]

    @cached_property
    def grown(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of each lattice the indices (count, dimension) and the log densities (count,) of its points."""
        return [grow(self.log_density, lattice, self.seeds, self.drop, self.limit / 3) for lattice in self.lattices]

    @cached_property
    def log_integrals(self) -> np.ndarray:
        """By each lattice, in nats, shape (3,)."""
        return np.array([special.logsumexp(values) for _, values in self.grown]) + self.lattices[0].log_volume

    def points(self) -> np.ndarray:
        """The points of all lattices, shape (count, dimension)."""
        pairs = zip(self.lattices, self.grown, strict=True)
        return np.concatenate([lattice.points(indices) for lattice, (indices, _) in pairs])

    def finer(self) -> Trapezoid | None:
        """With shorter steps along the axes that most need it; None where that would be beyond the limit.

        Along those axes the even and the odd points disagree most.
        """
        apart = [np.abs(special.softmax(values) @ (1.0 - 2.0 * (indices % 2))) for indices, values in self.grown]
        worst = np.max(apart, axis=0)
        shorter = np.where(worst > worst.max() / 5, 0.75, 1.0)
        # About as many points again are visited about the mass.
        visits = 2 * sum(len(values) for _, values in self.grown) / np.prod(shorter)
        return replace(self, steps=self.steps * shorter) if visits < self.limit else None

    def neighbours(self) -> np.ndarray:
        """Of every point the number of the next one along each axis, its own at the edge, shape (count, dimension)."""
        found, before = [], 0
        for indices, _ in self.grown:
            bits = 62 // indices.shape[1]
            codes = packed(indices, bits)
            beyond = codes[:, None] + 2 ** (bits * np.arange(indices.shape[1]))
            place = np.searchsorted(codes, beyond).clip(max=len(codes) - 1)
            found.append(before + np.where(codes[place] == beyond, place, np.arange(len(codes))[:, None]))
            before += len(codes)
        return np.concatenate(found)


class Marginal:
    """The distribution of one number, tabulated: its density is linear between the points of a grid.

    It is a mixture of Gaussians with ``means``, ``sds`` and ``weights`` (count,), each of which stands for a cell of a
    lattice; ``gaps`` (count,) are the distances from their means to those of the neighbouring cells. The table is made
    in Fourier space. There each Gaussian is smoothly cut off at waves as short as two gaps: shorter ones would be the
    lattice's own.
    """

    def __init__(self, means: np.ndarray, sds: np.ndarray, gaps: np.ndarray, weights: np.ndarray) -> None:
        lower, upper = float((means - 8 * sds - 8 * gaps).min()), float((means + 8 * sds + 8 * gaps).max())
        heavy = weights > 1e-5 * weights.max()
        finest = np.sqrt(sds[heavy] ** 2 + gaps[heavy] ** 2).min()
        cells = 2 ** int(np.clip(np.ceil(np.log2(4 * (upper - lower) / finest)), 10, 17))
        width = (upper - lower) / cells
        place = (means - lower) / width
        cell = place.astype(np.int64).clip(max=cells - 2)
        right = weights * (place - cell)
        waves = 2 * np.pi * fft.rfftfreq(cells, width)
        spectrum = np.zeros(len(waves), complex)
        kind = (levels(sds, heavy) * LEVELS + levels(gaps, heavy)).astype(np.uint16)
        order = np.argsort(kind, kind="stable")
        for one in np.split(order, np.flatnonzero(np.diff(kind[order])) + 1):
            # Each Gaussian is shared by the two points of the grid about its mean, which sinc^2 undoes below.
            counts = np.bincount(cell[one], weights[one] - right[one], cells)
            counts += np.bincount(cell[one] + 1, right[one], cells)
            share = weights[one] / weights[one].sum()
            gaussian = np.exp(-0.5 * waves**2 * (share @ sds[one] ** 2))
            spectrum += fft.rfft(counts) * gaussian * special.gammaincc(SHARP, SHARP * (waves * (share @ gaps[one]) / np.pi) ** 2)
        spectrum /= np.sinc(waves * width / (2 * np.pi)) ** 2
        density = np.maximum(fft.irfft(spectrum, FINER * cells), 0.0)
        width /= FINER
        below = np.concatenate([[0.0], np.cumsum(0.5 * width * (density[1:] + density[:-1]))])
        self.grid = lower + width * np.arange(FINER * cells)
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


def levels(sizes: np.ndarray, heavy: np.ndarray) -> np.ndarray:
    """Of each size its level on a logarithmic scale from the smallest to the largest of the heavy, shape (count,)."""
    high = sizes[heavy].max() + np.finfo(float).tiny
    low = max(sizes[heavy].min(), 1e-3 * high)
    return np.rint((LEVELS - 1) * np.log(sizes.clip(low, high) / low) / max(np.log(high / low), 1e-9)).astype(np.int64)
