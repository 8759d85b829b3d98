"""The posterior of two components with a known scale, of many values: a sum over counts, and a lattice of locations.

Given both locations each value has its odds, and the weight's posterior is a mixture of Betas over how many values the
first component has: the counts are those of independent, unequal coins (the Poisson-binomial distribution). That leaves
the two locations, over which the trapezoid rule is taken.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
from scipy import special, stats

from models.contract import Exact, Latents, Marginal
from models.marginals import BandLimited, BetaMixture
from models.mixture.data import MixtureData
from models.mixture.exact import count_probabilities
from models.shared_lattice import Mass, integrate

MOST_VALUES = 200
CHUNK = 500  # locations whose counts are summed together: they fit into the processor's cache


class CountedMixture(Exact):
    """Two components: the locations' normal scores z by quadrature (their prior is N(0, I) in z), then the weight."""

    def __init__(self, data: MixtureData) -> None:
        self.data, n, scale = data, len(data.values), data.known_scale
        assert scale is not None and data.components == 2
        counts, a = np.arange(n + 1), data.concentration
        self.a, self.b = a + counts, a + n - counts
        self.log_counts = special.betaln(self.a, self.b) - special.betaln(a, a)
        ceiling = -n * math.log(scale * math.sqrt(2 * math.pi))
        self.mass: Mass = integrate(lambda rows, z: self.log_joint(z)[:, None], 2, np.array([ceiling]))[0]
        self.log_evidence, self.tolerance = self.mass.log_evidence, self.mass.change + 1e-9
        self.tolerance += 1e-13 * abs(self.log_evidence)
        self._shapes = dict.fromkeys(("weights", "locations", "ordered_locations", "ordered_weights"), (2,))
        self.method = f"sum over counts, quadrature over the locations ({len(self.mass.indices):,} nodes)"

    def chunks(self, z: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For each chunk of n points: log p(values, z), summed over the first component's count, shape (n,); and
        p(count | values, z), shape (values + 1, n)."""
        values, scale = self.data.values, self.data.known_scale
        for piece in np.array_split(z, max(1, len(z) // CHUNK)):
            located = self.data.location_mean + self.data.location_sd * piece
            first, second = (stats.norm.logpdf(values[:, None], column, scale) for column in located.T)
            either = np.logaddexp(first, second)
            shares = count_probabilities(np.exp(first - either), np.exp(second - either))
            shares *= np.exp(self.log_counts)[:, None]
            total = shares.sum(axis=0)
            yield either.sum(axis=0) + np.log(total) + stats.norm.logpdf(piece).sum(axis=1), shares / total

    def log_joint(self, z: np.ndarray) -> np.ndarray:
        """log p(values, z), the weight integrated out, shape (n,). Both names give the same: half is computed."""
        places, back = np.unique(np.sort(z, axis=1), axis=0, return_inverse=True)
        return np.concatenate([logs for logs, _ in self.chunks(places)])[back.ravel()]

    def draw(self, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        z = self.mass.draw(self.log_joint, rng, count)
        below = np.concatenate([shares.cumsum(axis=0) for _, shares in self.chunks(z)], axis=1)
        counts = (below < rng.random(count)).sum(axis=0)
        first = rng.beta(self.a[counts], self.b[counts])
        return {
            "weights": np.stack([first, 1 - first], axis=1).clip(1e-300),
            "locations": self.data.location_mean + self.data.location_sd * z,
        }

    def log_posterior(self, latents: Latents) -> np.ndarray:
        z = (np.asarray(latents["locations"]) - self.data.location_mean) / self.data.location_sd
        logs, first = [], np.asarray(latents["weights"])[:, 0]
        for joint, shares in self.chunks(z):
            with np.errstate(divide="ignore"):
                betas = np.log(shares).T + stats.beta.logpdf(first[: len(joint), None], self.a, self.b)
            first = first[len(joint) :]
            logs.append(joint - self.log_evidence + special.logsumexp(betas, axis=1))
        return np.concatenate(logs) - 2 * math.log(self.data.location_sd)

    def marginal(self, site: str, index: tuple[int, ...] = ()) -> Marginal:
        if site == "weights":
            return BetaMixture(self.a, self.b, self.counts[0])
        if site == "ordered_weights":
            return BetaMixture(*((self.a, self.b) if index[0] == 0 else (self.b, self.a)), self.counts[1])
        return self.moved(self.mass.marginal(0) if site == "locations" else self.ordered[index[0]])

    def moved(self, scores: BandLimited) -> BandLimited:
        """The distribution of a location from that of its normal score."""
        sd = self.data.location_sd
        return BandLimited(self.data.location_mean + sd * scores.places, scores.masses, sd * scores.step)

    @cached_property
    def below(self) -> np.ndarray:
        """The share of each point's mass that lies where the first location is the lower.

        The density is a sum of waves sin(pi x / step) / (pi x / step): this is the integral of one over a half-line.
        """
        apart = self.mass.indices[:, 1] - self.mass.indices[:, 0]
        return 0.5 + special.sici(np.pi * apart)[0] / np.pi

    @cached_property
    def counts(self) -> np.ndarray:
        """The probabilities of the first component's count; and if it is the lower one: shape (2, values + 1)."""
        masses = np.stack([self.mass.probabilities, 2 * self.mass.probabilities * self.below])
        sums, start = np.zeros((2, len(self.a))), 0
        for logs, shares in self.chunks(self.mass.points):
            sums += masses[:, start : start + len(logs)] @ shares.T
            start += len(logs)
        return sums

    @cached_property
    def ordered(self) -> list[BandLimited]:
        """The distributions of the lower and of the higher location's normal scores."""
        first, last = int(self.mass.indices.min()), int(self.mass.indices.max())
        places = self.mass.step * np.arange(first, last + 1)
        sides = []
        for axis in (0, 1):
            masses = np.bincount(self.mass.indices[:, axis] - first, self.mass.probabilities * self.below, len(places))
            sides.append(BandLimited(places, masses / masses.sum(), self.mass.step))
        return sides

    def extra_summary(self) -> dict[str, Any]:
        both, low = 1 - self.counts[0][[0, -1]].sum(), self.counts[1]
        return {
            "components that have values": {"1": float(1 - both), "2": float(both)},
            "mean count of the component with the lower location": float(low @ np.arange(len(low)) / low.sum()),
        }
