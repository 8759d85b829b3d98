"""The exact posterior of tiny networks: the output layer integrated out, the hidden one by quadrature.

With one input, one or two hidden units leave two or four dimensions for the trapezoid rule (`models.bnn.collapsed`).
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import special

from models.bnn import network
from models.bnn.collapsed import Collapsed, Share
from models.bnn.data import BnnData
from models.contract import Exact, Latents
from models.marginals import TabulatedMixture
from models.quadrature import Lattice, TooManyPoints, Trapezoid, grow

WORST = 0.01  # with a larger tolerance nothing is called exact
GOAL = 1e-5  # the lattices are made finer until the tolerance is below this, or the next ones would be beyond `WORK`

WORK = 4_000_000
"""Points visited on the finest lattices; a point counts once, and once more for every 100 values of its units."""

DROP = {1: 25.0, 2: 20.0}  # by the number of hidden units: points this many nats below the highest are left out
STEP = {1: 0.15, 2: 0.5}  # by the number of hidden units: the steps of the first lattices, in standard deviations
UNSEEN = 1e-6  # what the points left out may add to the tolerance, whatever the others say


def exact(data: BnnData) -> QuadraturePosterior | None:
    """The posterior of a regression with known noise, one input and one or two hidden units; None of any other.

    None too where the quadrature's tolerance would exceed `WORST`: the mass is too bent and too narrow, or the noise is
    so small beside the targets that rounding alone puts the log density off by more.
    """
    rows = data.dataset
    if rows.classes or rows.noise is None or rows.inputs.shape[1] != 1 or data.hidden > 2:
        return None
    if np.finfo(float).eps * np.sum((rows.targets / rows.noise) ** 2) > WORST:
        return None
    return solved(data, tuple(values.tobytes() for values in (rows.inputs, rows.targets, rows.grid)))


@lru_cache(maxsize=4)
def solved(data: BnnData, content: tuple[bytes, ...]) -> QuadraturePosterior | None:
    """The posterior, computed once for each content of the data (a file's may change)."""
    try:
        posterior = QuadraturePosterior(data)
    except TooManyPoints:
        return None
    return posterior if posterior.tolerance <= WORST else None


def integral(collapsed: Collapsed, tops: np.ndarray) -> Trapezoid:
    """The integral of one share, on coarse lattices, which grow from the hilltops and their copies.

    Raises:
        TooManyPoints: even these have too many points.
    """
    seeds = (collapsed.symmetries() @ tops.T).transpose(0, 2, 1).reshape(-1, collapsed.dimension)
    lattice = Lattice(tops[0], np.linalg.inv(np.linalg.cholesky(collapsed.precision(tops[0]))).T)
    # A hilltop may be its own copy, as 0 is; beside it the copies differ.
    gaussian = Lattice(lattice.points(0.2 * np.arange(1, collapsed.dimension + 1)), lattice.axes)
    for _ in range(6):
        share = Share(collapsed, gaussian)
        indices, values = grow(share, lattice, seeds, 15.0, 500_000)
        seeds = np.concatenate([seeds, lattice.points(indices[[values.argmax()]])])
        lattice = gaussian = lattice.fitted(indices, values)
    limit = WORK / (1 + collapsed.hidden * len(collapsed.inputs) / 100)
    return Trapezoid(share, lattice, STEP[collapsed.hidden], seeds, DROP[collapsed.hidden], limit)


class QuadraturePosterior(Exact):
    """The posterior as a mixture of Gaussians, one for every point of the lattices.

    ``tolerance`` is twice as much as the lattices are apart, in their log evidences, in nats, in their means of f, in
    sds, or in the logs of its sds, whichever is most; and with it what the outermost two nats of their points add, and
    an allowance for what is left out.
    """

    def __init__(self, data: BnnData) -> None:
        self.data, self.collapsed = data, Collapsed(data)
        self.symmetries = self.collapsed.symmetries()
        self._shapes = {**network.shapes(data), "f": (len(data.dataset.grid),)}
        self.marginals: dict[tuple[str, tuple[int, ...]], TabulatedMixture] = {}
        tops = self.collapsed.hilltops()
        self.heights = self.collapsed.log_joint(tops)
        rule: Trapezoid | None = integral(self.collapsed, tops)
        while rule is not None:
            finer = rule.finer()
            if finer is None or np.ptp(rule.log_integrals) < GOAL:
                self.adopt(rule)
                if self.tolerance < GOAL:
                    break
            rule = finer

    def adopt(self, rule: Trapezoid) -> None:
        """Take the points of an integral for the posterior's."""
        logs = np.concatenate([values for _, values in rule.grown])
        total = special.logsumexp(rule.log_integrals) - math.log(len(rule.log_integrals))
        self.rule, self.points, self.weights = rule, rule.points(), special.softmax(logs)
        self.layer = self.collapsed.output_layers(self.points)
        self.log_evidence = float(total + math.log(len(self.symmetries)))
        self.method = f"quadrature: trapezoid, {len(logs):,} nodes"
        inner = logs > logs.max() - rule.drop + 2
        ends = np.cumsum([0, *(len(values) for _, values in rule.grown)])
        # The moments of f by all points, by all but the outermost, and by each lattice: (points, parts, 2).
        parts = [slice(None), inner, *(slice(*pair) for pair in itertools.pairwise(ends))]
        values = np.empty((len(self.data.dataset.grid), len(parts), 2))
        for point in range(len(values)):
            mean, sd = self.components("f", (point,))[0]
            values[point] = [moments([(mean[part], sd[part])], self.weights[part]) for part in parts]
        means, sds = values[:, 0].T
        self.moments = {"f": (means, sds)}
        values = np.stack([values[:, :, 0] / sds[:, None], np.log(values[:, :, 1])])
        apart = max(np.ptp(rule.log_integrals), np.ptp(values[:, :, 2:], axis=2).max())
        edges = max(self.weights[~inner].sum(), np.abs(values[:, :, 1] - values[:, :, 0]).max())
        # Of a hilltop too low to be seen no more is known than that it is no broader than the prior.
        low = self.heights[self.heights < logs.max() - rule.drop] + self.collapsed.hidden * math.log(2 * math.pi)
        unseen = len(self.symmetries) * np.exp(low - self.log_evidence).max(initial=0.0)
        self.tolerance = float(2 * apart + edges + unseen + UNSEEN + 1e-15 * abs(self.log_evidence))

    def components(self, site: str, index: tuple[int, ...]) -> list[tuple[np.ndarray, np.ndarray]]:
        """An element's means and sds at the lattices' points, once for every unit and sign that may be its own."""
        hidden = self.collapsed.hidden
        if site == "f":
            units = self.collapsed.units(self.points, self.data.dataset.grid[index])
            return [self.layer.along([*(unit[0] for unit in units), 1.0])]
        if site == "output_bias":
            return [self.layer.along([0.0] * hidden + [1.0])]
        if site == "output_weights":
            pairs = [self.layer.along(list(row)) for row in np.eye(hidden + 1)[:hidden]]
        else:
            weights, biases = np.split(self.points.T, 2)
            pairs = [(values, np.zeros(len(values))) for values in (weights if site == "hidden_weights" else biases)]
        return [*pairs, *((-mean, sd) for mean, sd in pairs)] if self.collapsed.odd else pairs

    def marginal(self, site: str, index: tuple[int, ...] = ()) -> TabulatedMixture:
        """The distribution of one element; but for f, all elements of a site have the same."""
        key = site, index if site == "f" else ()
        if key not in self.marginals:
            heavy, components = self.weights > 1e-6 / len(self.weights), self.components(site, index)
            means, sds = (np.concatenate([part[heavy] for part in parts]) for parts in zip(*components, strict=True))
            if site in ("hidden_weights", "hidden_biases"):
                # Mere points: smoothed, over a twentieth of their standard deviation in one share.
                weights, biases = np.split(np.linalg.norm(self.rule.principal.axes, axis=1), 2)
                spreads = weights if site == "hidden_weights" else biases
                sds = np.repeat(0.05 * np.resize(spreads, len(components)), heavy.sum())
            self.marginals[key] = TabulatedMixture(means, sds, np.tile(self.weights[heavy], len(components)))
        return self.marginals[key]

    def moments_of(self, site: str) -> tuple[np.ndarray, np.ndarray]:
        """Means and sds of a site's elements, each of the site's shape."""
        if site not in self.moments:
            mean, sd = moments(self.components(site, ()), self.weights)
            self.moments[site] = np.full(self._shapes[site], mean), np.full(self._shapes[site], sd)
        return self.moments[site]

    def mean(self) -> dict[str, np.ndarray]:
        return {site: self.moments_of(site)[0] for site in self._shapes}

    def sd(self) -> dict[str, np.ndarray]:
        return {site: self.moments_of(site)[1] for site in self._shapes}

    def draw(self, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        """Exact draws, but for the mass beyond the lattices' edges: rejection, then the output layer given theta."""
        theta = self.rule.draw(rng, count)
        copies = self.symmetries[rng.integers(len(self.symmetries), size=count)]
        weights, biases = np.split(np.einsum("cij,cj->ci", copies, theta), 2, axis=1)
        return network.complete(self.data, {"hidden_weights": weights[:, None, :], "hidden_biases": biases}, rng)

    def log_posterior(self, latents: Latents) -> np.ndarray:
        return network.log_joint(self.data, latents) - self.log_evidence

    def extra_summary(self) -> dict[str, Any]:
        """What the quadrature consists of, and how far the hidden weights go."""
        below = self.marginal("hidden_weights").cdf(np.array([-3.0, 3.0]))
        return {
            "nodes": len(self.points),
            "copies of every mode": len(self.symmetries),
            "tolerance, in nats and in sds of f": self.tolerance,
            "P(|hidden weight| > 3)": float(1 + below[0] - below[1]),
        }


def moments(components: list[tuple[np.ndarray, np.ndarray]], weights: np.ndarray) -> tuple[float, float]:
    """Mean and sd of the mixture of all components, whose means and sds have the shape of the weights, (n_points,)."""
    total = len(components) * weights.sum()
    mean = sum(weights @ means for means, _ in components) / total
    variance = sum(weights @ ((means - mean) ** 2 + sds**2) for means, sds in components) / total
    return float(mean), math.sqrt(variance)
