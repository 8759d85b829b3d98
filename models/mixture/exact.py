"""The mixture's posterior by a sum over all assignments of values to components, where these are few.

Given the assignments and the scale the prior is conjugate: weights ~ Dirichlet, locations ~ N, all independent. The
assignments' evidence is in closed form (Bishop 2006, sections 2.2.1 and 2.3.6), and an unknown scale is the one
dimension over which is integrated. What the names of the components leave alone is reported: the locations in
ascending order, and the weights in that order.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import special, stats

from models import dirichlet
from models.contract import Exact, Latents, Marginal
from models.marginals import BandLimited, BetaMixture, NormalScores, TabulatedMixture
from models.mixture.data import MixtureData
from models.shared_lattice import Mass, integrate

MOST_ASSIGNMENTS = 4096
MOST_PLACES = 400_000  # points of the grid on which ordered locations are known
MOST_WORK = 2e9  # points times pairs of assignments and scales, times the square of the components
LEAST = 1e-11  # pairs of assignments and scales with less probability are left out of the ordered locations


def by_location(latents: Latents) -> dict[str, np.ndarray]:
    """The locations in ascending order, and weights and scales in that order, each of shape (n_draws, K)."""
    locations = np.asarray(latents["locations"])
    order = np.argsort(locations, axis=1)
    ordered = {"ordered_locations": np.take_along_axis(locations, order, axis=1)}
    if "weights" in latents:
        ordered["ordered_weights"] = np.take_along_axis(np.asarray(latents["weights"]), order, axis=1)
    if "variances" in latents:
        ordered["ordered_scales"] = np.sqrt(np.take_along_axis(np.asarray(latents["variances"]), order, axis=1))
    return ordered


class EnumeratedMixture(Exact):
    """A mixture of conjugate posteriors, one for each assignment, and each scale where that is unknown.

    Attributes:
        counts: The values that each component has by each assignment, shape (assignments, K).
        alpha: Concentrations of the weights given each assignment, shape (assignments, K).
    """

    def __init__(self, data: MixtureData) -> None:
        self.data, x = data, data.values - data.location_mean
        places = np.arange(data.components ** len(x))
        labels = places[:, None] // data.components ** np.arange(len(x)) % data.components
        self.labels, belongs = labels, labels[:, :, None] == np.arange(data.components)
        self.counts = belongs.sum(1)
        means = np.einsum("anm,n->am", belongs, x) / np.maximum(self.counts, 1)
        self.squares = np.einsum("anm,anm->am", belongs, (x[:, None] - means[:, None, :]) ** 2)
        self.means, self.alpha = means, data.concentration + self.counts
        prior = np.full(data.components, data.concentration)
        self.log_prior = dirichlet.log_beta(self.alpha) - dirichlet.log_beta(prior)
        self.scores: NormalScores | None = None
        self.scales, self.shares = np.array([data.known_scale or 0.0]), np.ones(1)
        if data.known_scale is None:
            self.prior = stats.lognorm(data.scale_sd, scale=data.scale_median)
            ceiling = special.logsumexp(self.given(self.scale(np.linspace(-8, 8, 801))), axis=1).max() + 1.0
            self.mass: Mass = integrate(lambda rows, z: self.log_joint(z)[:, None], 1, np.array([ceiling]))[0]
            self.scores = NormalScores(self.prior, self.mass.marginal(0))
            self.scales, self.shares = self.scale(self.scores.base.places), self.scores.base.masses
        logs = self.given(self.scales)
        self.log_evidence = float(special.logsumexp(logs))
        self.tolerance = 1e-13 * (10 + len(x) + abs(self.log_evidence))
        self.method = "closed form" if len(places) == 1 else f"enumeration of {len(places):,} assignments"
        if self.scores:
            self.log_evidence, self.tolerance = self.mass.log_evidence, self.mass.change + 1e-9
            self.method += f", quadrature over the scale ({len(self.scales):,} nodes)"
        self.weights = self.shares[:, None] * special.softmax(logs, axis=1)

    def scale(self, z: np.ndarray) -> np.ndarray:
        """The scale whose normal score is z."""
        return self.data.scale_median * np.exp(self.data.scale_sd * z)

    def log_joint(self, z: np.ndarray) -> np.ndarray:
        """log p(values, z) at normal scores of the scale, shape (n, 1)."""
        return stats.norm.logpdf(z[:, 0]) + special.logsumexp(self.given(self.scale(z[:, 0])), axis=1)

    def given(self, scales: np.ndarray) -> np.ndarray:
        """log p(values, assignment | scale), shape (scales, assignments)."""
        logs = np.empty((len(scales), len(self.counts)))
        for place, variance in enumerate(scales**2):
            wide = variance + self.counts * self.data.location_sd**2
            fit = self.squares / variance + self.counts * self.means**2 / wide
            log_det = self.counts * np.log(2 * np.pi * variance) + np.log(wide / variance)
            logs[place] = self.log_prior - 0.5 * (fit + log_det).sum(axis=1)
        return logs

    def locations(self, scales: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Means and sds of the locations, each of shape (scales, assignments, K)."""
        variance, prior = scales[:, None, None] ** 2, self.data.location_sd**2
        wide = variance + self.counts * prior
        return self.data.location_mean + self.counts * self.means * prior / wide, np.sqrt(variance * prior / wide)

    def draw(self, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        known = self.scores is None
        scales = (
            np.repeat(self.scales, count) if known else self.scale(self.mass.draw(self.log_joint, rng, count)[:, 0])
        )
        noise = rng.gumbel(size=(count, len(self.counts)))
        chosen = np.argmax(self.given(scales) + noise, axis=1)
        means, sds = (values[np.arange(count), chosen] for values in self.locations(scales))
        latents = {"locations": means + sds * rng.standard_normal(means.shape)}
        if self.data.components > 1:
            latents["weights"] = dirichlet.draw(self.alpha[chosen], rng)
        return latents if known else {**latents, "scale": scales}

    def log_posterior(self, latents: Latents) -> np.ndarray:
        count = len(latents["locations"])
        scales = np.repeat(self.scales, count) if self.scores is None else np.asarray(latents["scale"])
        logs = self.given(scales) - self.log_evidence
        means, sds = self.locations(scales)
        logs += stats.norm.logpdf(np.asarray(latents["locations"])[:, None, :], means, sds).sum(-1)
        if self.data.components > 1:
            logs += dirichlet.log_density(np.asarray(latents["weights"])[:, None, :], self.alpha)
        prior = 0.0 if self.scores is None else self.prior.logpdf(scales)
        return special.logsumexp(logs, axis=1) + prior

    def marginal(self, site: str, index: tuple[int, ...] = ()) -> Marginal:
        if site == "scale":
            assert self.scores is not None
            return self.scores
        if site == "locations":
            means, sds = (values[:, :, index[0]].ravel() for values in self.locations(self.scales))
            return TabulatedMixture(means, sds, self.weights.ravel())
        if site == "weights":
            return self.weight(self.counts[:, index[0]], self.weights.sum(0))
        if site == "ordered_locations":
            return self.ordered[0][index[0]]
        return self.weight(self.counts.ravel(), self.ordered[1][:, :, index[0]].ravel())

    def weight(self, counts: np.ndarray, shares: np.ndarray) -> BetaMixture:
        """The distribution of a weight from the counts of its component, and their probabilities."""
        a, n = self.data.concentration, len(self.data.values)
        return BetaMixture(a + counts, (self.data.components - 1) * a + n - counts, shares)

    @cached_property
    def partitions(self) -> np.ndarray:
        """For each assignment the index of its relabelling that numbers components in the order of their first values,
        shape (assignments,)."""
        renamed = np.empty_like(self.labels)
        for place, labels in enumerate(self.labels):
            names = list(dict.fromkeys(labels.tolist()))
            renamed[place] = [names.index(label) for label in labels]
        return renamed @ self.data.components ** np.arange(self.labels.shape[1])

    @cached_property
    def pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The pairs of scale and partition that matter, n of them.

        Every other scale is left out, as the integral over the scale is finished with twice the step.

        Returns:
            Their probabilities, shape (n,); each location's means and sds, (n, K); the partitions' assignments, (n,).
        """
        thinned = slice(None, None, 2 if len(self.scales) > 1 else 1)
        n = len(self.partitions)
        weights = np.stack([np.bincount(self.partitions, row, n) for row in self.weights[thinned]])
        weights = weights / weights.sum()
        means, sds = self.locations(self.scales[thinned])
        matter = weights > LEAST
        return weights[matter], means[matter], sds[matter], np.nonzero(matter)[1]

    @cached_property
    def grid(self) -> np.ndarray:
        """The places at which ordered locations are tabulated."""
        weights, means, sds, _ = self.pairs
        low, high = (means - 8.5 * sds).min(), (means + 8.5 * sds).max()
        step = 0.5 * sds[weights > 1e-7].min()
        return np.arange(low, min(high, low + (MOST_PLACES + 1) * step), step)

    @property
    def is_resolved(self) -> bool:
        """Whether the narrowest location is not too narrow for the grid."""
        work = len(self.grid) * len(self.pairs[0]) * self.data.components**2
        return len(self.grid) < MOST_PLACES and work < MOST_WORK

    @cached_property
    def ordered(self) -> tuple[list[BandLimited], np.ndarray]:
        """The distributions of the locations in ascending order; and the probability that the component of an
        assignment is at a place in that order, shape (assignments, K, K)."""
        step = self.grid[1] - self.grid[0]
        masses = np.zeros((self.data.components, len(self.grid)))
        shares = np.zeros((*self.counts.shape, self.data.components))
        for weight, means, sds, assignment in zip(*self.pairs, strict=True):
            for component, place, density in place_densities(means, sds, self.grid):
                masses[place] += weight * step * density
                shares[assignment, component, place] += weight * step * density.sum()
        return [BandLimited(self.grid, mass / mass.sum(), step) for mass in masses], shares

    @cached_property
    def _shapes(self) -> dict[str, tuple[int, ...]]:  # type: ignore[override]
        draws = self.draw(np.random.default_rng(0), 1)
        return {site: value.shape[1:] for site, value in (draws | by_location(draws)).items()}

    @cached_property
    def together(self) -> np.ndarray:
        """The probability that two values have the same component, shape (values, values)."""
        same = self.labels[:, :, None] == self.labels[:, None, :]
        return np.einsum("a,aij->ij", self.weights.sum(0), same)

    def extra_summary(self) -> dict[str, Any]:
        masses, used = self.weights.sum(0), (self.counts > 0).sum(1)
        known: dict[str, Any] = {
            "components that have values": {str(k): float(masses[used == k].sum()) for k in range(1, used.max() + 1)}
        }
        if used.max() > 1:
            clusters = np.bincount(self.partitions, masses)
            likely = np.argsort(-clusters)[:3]
            known["likeliest clusters"] = {
                clusters_of(self.labels[place], self.data.values): float(clusters[place]) for place in likely
            }
            order = np.argsort(self.data.values)
            known["probability that neighbours share a component"] = {
                f"{self.data.values[i]:g} and {self.data.values[j]:g}": float(self.together[i, j])
                for i, j in pairwise(order)
            }
        return known


def count_probabilities(heads: np.ndarray, tails: np.ndarray) -> np.ndarray:
    """P(r coins show heads), shape (coins + 1, n), from each coin's P(heads) and P(tails), shape (coins, n)."""
    shares = np.zeros((len(heads) + 1, *heads.shape[1:]))
    shares[0] = 1.0
    for i in range(len(heads)):
        grown = shares[: i + 1] * heads[i]
        shares[: i + 1] *= tails[i]
        shares[1 : i + 2] += grown
    return shares


def place_densities(means: np.ndarray, sds: np.ndarray, grid: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
    """Independent normals in ascending order: k, r, and the density of the k-th where r others are below it, (n,)."""
    eps = (grid - means[:, None]) / sds[:, None]
    below, density = special.ndtr(eps), np.exp(-0.5 * eps**2) / (sds[:, None] * np.sqrt(2 * np.pi))
    for k in range(len(means)):
        others = np.delete(below, k, axis=0)
        yield from ((k, r, density[k] * share) for r, share in enumerate(count_probabilities(others, 1 - others)))


def clusters_of(labels: np.ndarray, values: np.ndarray) -> str:
    """The values of an assignment's components, such as ``0 1 | 10 11 12``."""
    clusters = [sorted(values[labels == label]) for label in np.unique(labels)]
    return " | ".join(" ".join(f"{value:g}" for value in cluster) for cluster in sorted(clusters))
