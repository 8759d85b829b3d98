"""Parts of which posteriors with known truth are made: curves, mixtures and rings, each exact or by one integral."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from scipy import special, stats

__all__ = ["Curve", "Hard", "Mixture", "Name", "Ring"]

Name = tuple[str, tuple[int, ...]]

N_CELL_DRAWS = 200_000
"""Exact draws by which the shares of cells are known."""


class Part(Protocol):
    """A group of coordinates that is independent of the others.

    Attributes:
        names: The coordinates, site and index.
        has_modes: Whether its cells are modes, to be combined with those of other parts.
        log_evidence: Its part of the log evidence, in nats.
        mean, sd: Of its coordinates, shape (k,).
    """

    names: Sequence[Name]
    has_modes: bool

    @property
    def log_evidence(self) -> float: ...
    @property
    def mean(self) -> np.ndarray: ...
    @property
    def sd(self) -> np.ndarray: ...

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Independent draws, shape (n, k)."""

    def log_density(self, points: np.ndarray) -> np.ndarray:
        """The normalised log density at points (n, k), shape (n,)."""

    def cells(self, points: np.ndarray) -> np.ndarray:
        """The cell of each point (n, k), shape (n,)."""


def alone(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """No further coordinates: means and sds of shape (n, 0)."""
    return np.empty((len(u), 0)), np.empty((len(u), 0))


class WithMoments:
    """Means and sds from first and second ``moments``, shape (k,) each."""

    moments: tuple[np.ndarray, np.ndarray]

    @property
    def mean(self) -> np.ndarray:
        return self.moments[0]

    @property
    def sd(self) -> np.ndarray:
        return np.sqrt(self.moments[1] - self.moments[0] ** 2)


@dataclass(frozen=True)
class Curve(WithMoments):
    """One coordinate u on a grid, and others that are independent and Gaussian given it.

    Attributes:
        names: The names of u and of the others.
        grid: Increasing values of u, shape (n,).
        log_marginal: The log of the joint density of u and the data, (n,) to (n,), in nats.
        given: Means and sds of the others given u, (n,) to (n, k) each.
        cuts: Where u is cut into cells; by default at its 10% and 90% quantiles.
        has_modes: Whether these are modes.
    """

    names: Sequence[Name]
    grid: np.ndarray
    log_marginal: Callable[[np.ndarray], np.ndarray]
    given: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] = alone
    cuts: Sequence[float] = ()
    has_modes: bool = False

    @cached_property
    def log_evidence(self) -> float:
        heights = self.log_marginal(self.grid)
        return float(np.log(np.trapezoid(np.exp(heights - heights.max()), self.grid)) + heights.max())

    @cached_property
    def density(self) -> np.ndarray:
        """The density of u on the grid, shape (n,)."""
        return np.exp(self.log_marginal(self.grid) - self.log_evidence)

    @cached_property
    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """First and second moments."""
        means, sds = self.given(self.grid)
        firsts = np.column_stack([self.grid, means])
        squares = np.column_stack([self.grid**2, means**2 + sds**2])
        first, second = (np.trapezoid(self.density[:, None] * part, self.grid, axis=0) for part in (firsts, squares))
        return first, second

    def quantile(self, probability: Any) -> np.ndarray:
        """Quantiles of u."""
        steps = np.diff(self.grid) * (self.density[1:] + self.density[:-1]) / 2
        below = np.append(0.0, np.cumsum(steps))
        return np.interp(np.asarray(probability) * below[-1], below, self.grid)

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        u = self.quantile(rng.random(n))
        means, sds = self.given(u)
        return np.column_stack([u, means + sds * rng.standard_normal(means.shape)])

    def log_density(self, points: np.ndarray) -> np.ndarray:
        means, sds = self.given(points[:, 0])
        log_conditional = stats.norm.logpdf(points[:, 1:], means, sds).sum(1)
        return self.log_marginal(points[:, 0]) - self.log_evidence + log_conditional

    def cells(self, points: np.ndarray) -> np.ndarray:
        cuts = self.cuts if len(self.cuts) else self.quantile([0.1, 0.9])
        return np.searchsorted(cuts, points[:, 0])


@dataclass(frozen=True)
class Mixture:
    """Round Gaussians at ``means`` (m, d) with ``sds`` and ``weights`` (m,)."""

    names: Sequence[Name]
    means: np.ndarray
    sds: np.ndarray
    weights: np.ndarray
    log_evidence: float
    has_modes: bool = True

    @property
    def mean(self) -> np.ndarray:
        return self.weights @ self.means

    @property
    def sd(self) -> np.ndarray:
        return np.sqrt(self.weights @ (self.sds[:, None] ** 2 + (self.means - self.mean) ** 2))

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        which = rng.choice(len(self.weights), n, p=self.weights)
        return self.means[which] + self.sds[which, None] * rng.standard_normal((n, self.means.shape[1]))

    def heights(self, points: np.ndarray) -> np.ndarray:
        """Each component's part of the density at points (n, d), its log, shape (n, m)."""
        scaled = stats.norm.logpdf(points[:, None], self.means, self.sds[:, None]).sum(2)
        return np.log(self.weights) + scaled

    def log_density(self, points: np.ndarray) -> np.ndarray:
        return special.logsumexp(self.heights(points), axis=1)

    def cells(self, points: np.ndarray) -> np.ndarray:
        return np.concatenate([self.heights(block).argmax(1) for block in np.array_split(points, 16)])


@dataclass(frozen=True)
class Ring(WithMoments):
    """A shell in two or three dimensions whose radius is observed, N(|z|, width), under the prior N((shift, 0, 0), 1).

    Given the radius, the direction is a von Mises-Fisher one (Mardia & Jupp 2000, Directional statistics, 9.3.2).
    """

    names: Sequence[Name]
    radius: float
    width: float
    shift: float
    has_modes: bool = True

    @cached_property
    def radial(self) -> Curve:
        """The radius as a curve."""
        reach = 12 * self.width
        grid = np.linspace(max(1e-9, self.radius - reach), self.radius + reach, 200_001)
        return Curve((), grid, self.log_radial)

    def log_radial(self, r: np.ndarray) -> np.ndarray:
        """The log of the joint density of the radius and what was observed, in nats."""
        half, strength = len(self.names) / 2, r * self.shift
        sphere = np.log(special.ive(half - 1, strength)) + strength - (half - 1) * np.log(strength)
        prior = sphere - (r**2 + self.shift**2) / 2 + (2 * half - 1) * np.log(r)
        return prior + stats.norm.logpdf(self.radius, r, self.width)

    @property
    def log_evidence(self) -> float:
        return self.radial.log_evidence

    @cached_property
    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """First and second moments."""
        n, r = len(self.names), self.radial.grid
        strength = r * self.shift
        cosine = special.ive(n / 2, strength) / special.ive(n / 2 - 1, strength)
        along = 1 - (n - 1) * cosine / strength  # the mean of the squared cosine
        parts = [r * cosine, r**2 * along, r**2 * (1 - along) / (n - 1)]
        first, square, other = (np.trapezoid(self.radial.density * part, r) for part in parts)
        return np.append(first, np.zeros(n - 1)), np.append(square, np.full(n - 1, other))

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        r = self.radial.quantile(rng.random(n))
        strength = r * self.shift
        if len(self.names) == 2:
            angle = rng.vonmises(0.0, strength)
            return r[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
        uniform, turn = rng.random(n), rng.uniform(0, 2 * np.pi, n)
        cosine = 1 + np.log(uniform + (1 - uniform) * np.exp(-2 * strength)) / strength
        sine = np.sqrt(np.maximum(1 - cosine**2, 0))
        return r[:, None] * np.column_stack([cosine, sine * np.cos(turn), sine * np.sin(turn)])

    def log_density(self, points: np.ndarray) -> np.ndarray:
        prior = stats.norm.logpdf(points, np.eye(len(self.names))[0] * self.shift).sum(1)
        seen = stats.norm.logpdf(self.radius, np.linalg.norm(points, axis=1), self.width)
        return prior + seen - self.log_evidence

    def cells(self, points: np.ndarray) -> np.ndarray:
        return (points[:, 0] > 0) + 2 * (points[:, 1] > 0)


@dataclass(frozen=True, eq=False)
class Hard:
    """A posterior with its truth.

    Attributes:
        kind: The model's name.
        data: Its arguments.
        parts: The posterior.
    """

    kind: str
    data: dict[str, Any]
    parts: Sequence[Part] = field(repr=False)

    @property
    def names(self) -> list[Name]:
        """The coordinates in the order of the parts."""
        return [name for part in self.parts for name in part.names]

    @property
    def log_evidence(self) -> float:
        return sum(part.log_evidence for part in self.parts)

    @property
    def mean(self) -> np.ndarray:
        return np.concatenate([part.mean for part in self.parts])

    @property
    def sd(self) -> np.ndarray:
        return np.concatenate([part.sd for part in self.parts])

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Independent draws, shape (n, d)."""
        return np.concatenate([part.draw(n, rng) for part in self.parts], axis=1)

    def split(self, points: np.ndarray) -> list[np.ndarray]:
        """Points (n, d) by part."""
        return np.split(points, np.cumsum([len(part.names) for part in self.parts])[:-1], axis=1)

    def log_density(self, points: np.ndarray) -> np.ndarray:
        """The normalised log density at points (n, d), shape (n,)."""
        return np.sum([p.log_density(z) for p, z in zip(self.parts, self.split(points), strict=True)], axis=0)

    def cells(self, points: np.ndarray) -> list[np.ndarray]:
        """The cells of points (n, d): the modes of all parts together, and the slabs of each part that has none."""
        modes, slabs = np.zeros(len(points), int), []
        for part, z in zip(self.parts, self.split(points), strict=True):
            if part.has_modes:
                modes = modes * 16 + part.cells(z)
            else:
                slabs.append(part.cells(z))
        return [modes, *slabs]

    @cached_property
    def shares(self) -> list[dict[int, float]]:
        """The mass of each cell."""
        return [shares_of(labels) for labels in self.cells(self.draw(N_CELL_DRAWS, np.random.default_rng(0)))]

    def missed(self, points: np.ndarray) -> float:
        """The mass that draws (n, d) lack in cells of which they have too little, at most over the ways to cut."""
        lacking = []
        for true, labels in zip(self.shares, self.cells(points), strict=True):
            own = shares_of(labels)
            lacking.append(sum(max(0.0, mass - own.get(cell, 0.0)) for cell, mass in true.items()))
        return max(lacking)

    def noise(self, n: float) -> float:
        """The sum of the standard errors of the cells' shares in n independent draws, at most over the ways to cut.

        Of right draws, `missed` has 0.4 of it on average.
        """
        return max(sum(np.sqrt(mass * (1 - mass) / n) for mass in true.values()) for true in self.shares)


def shares_of(labels: np.ndarray) -> dict[int, float]:
    """The share of each label."""
    values, counts = np.unique(labels, return_counts=True)
    return {int(value): count / len(labels) for value, count in zip(values, counts, strict=True)}
