"""The exact posterior of tiny networks by quadrature.

Given the hidden layer the output layer is linear and Gaussian (Bishop 2006, Pattern Recognition and Machine Learning,
section 3.3): with features phi = [units, 1] and prior variances S = diag(1/H, ..., 1/H, 1) its precision is
A = S^-1 + phi'phi / noise^2, its mean is m = A^-1 phi'y / noise^2, and

    log p(y | hidden layer) = -(|y - phi m|^2 / noise^2 + m'S^-1 m + log|S| + log|A| + rows log(2 pi noise^2)) / 2.

With one input, one or two hidden units leave two or four dimensions, theta = (w_1, ..., w_H, b_1, ..., b_H), for the
trapezoid rule. The units can be exchanged, and with tanh each can be flipped in sign, so that every hill of the density
has up to 8 copies. Integrated is one share of it, the density times

    r(theta) / sum over symmetries g of r(g theta),    r the Gaussian with the share's own mean and covariance:

whatever r, the copies of a share add up to the whole, and with this r a share is compact.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import optimize, special, stats

from models.bnn import network
from models.bnn.lattice import Lattice, Marginal, TooManyPoints, Trapezoid, grow
from models.contract import Exact, Latents

if TYPE_CHECKING:
    from models.bnn import BnnData

__all__ = ["QuadraturePosterior", "exact"]

WORST = 0.01
"""With a larger tolerance nothing is called exact."""

GOAL = 1e-5
"""The lattices are made finer until the tolerance is below this, or the next ones would be beyond `WORK`."""

WORK = 4_000_000
"""Points visited on the finest lattices; a point counts once, and once more for every 100 values of its units."""

DROP = {1: 25.0, 2: 20.0}
"""By the number of hidden units: points so many nats below the highest are left out."""

STEP = {1: 0.15, 2: 0.5}
"""By the number of hidden units: the steps of the first lattices, in standard deviations."""

UNSEEN = 1e-6
"""What the points left out may add to the tolerance, whatever the others say."""

STARTS = 32
"""Starts of the search for the highest points, from the prior widened by half."""


def exact(data: BnnData) -> QuadraturePosterior | None:
    """The posterior of a regression with known noise, one input and one or two hidden units; None of any other.

    None too where the quadrature's tolerance would be above `WORST`: where the mass is too bent and too narrow, or the
    targets are so many sds of the noise that the rounding of the log density would be.
    """
    if data.dataset.classes or data.dataset.noise is None or data.dataset.inputs.shape[1] != 1 or data.hidden > 2:
        return None
    if np.finfo(float).eps * np.sum((data.dataset.targets / data.dataset.noise) ** 2) > WORST:
        return None
    return solved(
        data, tuple(values.tobytes() for values in (data.dataset.inputs, data.dataset.targets, data.dataset.grid))
    )


@lru_cache(maxsize=4)
def solved(data: BnnData, content: tuple[bytes, ...]) -> QuadraturePosterior | None:
    """The posterior, found once for each content of the data (a file's may change)."""
    try:
        posterior = QuadraturePosterior(data)
    except TooManyPoints:
        return None
    return posterior if posterior.tolerance <= WORST else None


def dot(first: Sequence[Any], second: Sequence[Any]) -> Any:
    """The sum of the products, as far as both sequences go."""
    return sum(a * b for a, b in zip(first, second, strict=False))


@dataclass(frozen=True)
class OutputLayer:
    """The output layer at many points: means ``mean[i]`` and A's Cholesky factors ``lower[i][j]``, each (count,)."""

    mean: Sequence[np.ndarray]
    lower: Sequence[Sequence[np.ndarray]]

    def along(self, features: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
        """Mean and sd of the sum of its weights and bias times the features, each of shape (count,)."""
        whitened: list[np.ndarray] = []
        for feature, row in zip(features, self.lower, strict=True):
            whitened.append((feature - dot(row, whitened)) / row[-1])
        return dot(features, self.mean), np.sqrt(dot(whitened, whitened))


class Collapsed:
    """The network without its output layer, at points theta of shape (count, dimension)."""

    def __init__(self, data: BnnData) -> None:
        self.inputs, self.targets, self.noise = data.dataset.inputs[:, 0], data.dataset.targets, data.dataset.noise
        self.hidden, self.dimension = data.hidden, 2 * data.hidden
        self.activation, self.odd = network.ACTIVATIONS[data.activation], data.activation == "tanh"
        self.precisions = [float(self.hidden)] * self.hidden + [1.0]

    def symmetries(self) -> np.ndarray:
        """The matrices that exchange and flip units, shape (copies, dimension, dimension)."""
        signs = list(itertools.product((1.0, -1.0) if self.odd else (1.0,), repeat=self.hidden))
        orders = list(itertools.permutations(np.eye(self.hidden)))
        return np.array([np.kron(np.eye(2), np.array(order) * sign) for order in orders for sign in signs])

    def units(self, points: np.ndarray, inputs: np.ndarray) -> list[np.ndarray]:
        """Each unit's values at inputs of shape (rows,): (rows, count)."""
        weights, biases = np.split(points.T, 2)
        return [self.activation(np.multiply.outer(inputs, w) + b) for w, b in zip(weights, biases, strict=True)]

    def output_layer(self, units: list[np.ndarray]) -> OutputLayer:
        """The output layer, given the units' values at the fitted rows, each of shape (rows, count)."""
        features = [*units, np.ones((len(self.inputs), 1))]
        variance, lower, half, mean = self.noise**2, [], [], []
        for feature, precision in zip(features, self.precisions, strict=True):
            row: list[np.ndarray] = []
            for other, above in zip(features, lower, strict=False):
                row.append(((feature * other).sum(axis=0) / variance - dot(row, above)) / above[-1])
            row.append(np.sqrt((feature**2).sum(axis=0) / variance + precision - dot(row, row)))
            half.append((self.targets @ feature / variance - dot(row, half)) / row[-1])
            lower.append(row)
        for i in reversed(range(len(features))):
            mean.insert(0, (half[i] - dot([row[i] for row in lower[i + 1 :]], mean)) / lower[i][i])
        return OutputLayer(mean, lower)

    def pieces(self, points: np.ndarray) -> list[np.ndarray]:
        """The points in pieces whose units fit into the processor's cache."""
        size = max(16, 80_000 // len(self.inputs))
        return [points[begin : begin + size] for begin in range(0, len(points), size)]

    def output_layers(self, points: np.ndarray) -> OutputLayer:
        """The output layer at many points."""
        found = [self.output_layer(self.units(piece, self.inputs)) for piece in self.pieces(points)]
        size = self.hidden + 1
        mean = [np.concatenate([layer.mean[i] for layer in found]) for i in range(size)]
        lower = [[np.concatenate([layer.lower[i][j] for layer in found]) for j in range(i + 1)] for i in range(size)]
        return OutputLayer(mean, lower)

    def log_joint(self, points: np.ndarray) -> np.ndarray:
        """log p(theta, targets), shape (count,)."""
        return np.concatenate([self.log_joint_of_piece(piece) for piece in self.pieces(points)])

    def log_joint_of_piece(self, points: np.ndarray) -> np.ndarray:
        units = self.units(points, self.inputs)
        layer = self.output_layer(units)
        misfit = self.targets[:, None] - layer.mean[-1] - dot(units, layer.mean)
        # This form is stationary in the mean, so that the rounding of the mean does no harm.
        quadratic = (misfit**2).sum(axis=0) / self.noise**2 + dot(self.precisions, [m**2 for m in layer.mean])
        log_det = 2 * sum(np.log(row[-1]) for row in layer.lower) - np.log(self.precisions).sum()
        constant = 2 * len(units[0]) * math.log(self.noise) + (len(units[0]) + self.dimension) * math.log(2 * math.pi)
        return -0.5 * (quadratic + log_det + constant + (points**2).sum(axis=1))

    def precision(self, mode: np.ndarray) -> np.ndarray:
        """Of theta about a mode, shape (dimension, dimension): Gauss and Newton's approximation, at least the prior's.

        A move of theta counts by what it does to the fit, less what the output layer can make up for (Kaufman 1975, A
        variable projection method, BIT 15).
        """
        weights = np.concatenate(self.output_layers(mode[None]).mean)

        def features(theta: np.ndarray) -> np.ndarray:
            return np.column_stack([*self.units(theta[None], self.inputs), np.ones(len(self.inputs))]) / self.noise

        moves = 1e-5 * np.eye(self.dimension)
        effect = np.column_stack([(features(mode + move) - features(mode - move)) @ weights / 2e-5 for move in moves])
        pull = features(mode).T @ effect
        made_up = pull.T @ np.linalg.solve(features(mode).T @ features(mode) + np.diag(self.precisions), pull)
        return np.eye(self.dimension) + effect.T @ effect - made_up


class Share:
    """One copy's share of a density with the symmetries (copies, dimension, dimension).

    ``gaussian`` is the lattice whose origin is r's mean, and whose steps are its standard deviations.
    """

    def __init__(self, symmetries: np.ndarray, gaussian: Lattice) -> None:
        whitening = np.linalg.inv(gaussian.axes)
        self.centre, self.whitenings = whitening @ gaussian.origin, whitening @ symmetries

    def log(self, points: np.ndarray) -> np.ndarray:
        """Log of the share at points of shape (count, dimension), the first of the symmetries being the identity."""
        claims = np.array([-0.5 * ((points @ w.T - self.centre) ** 2).sum(axis=1) for w in self.whitenings])
        return claims[0] - special.logsumexp(claims, axis=0)


def hilltops(collapsed: Collapsed) -> np.ndarray:
    """Where the search for the highest points ends, the highest first, shape (count, dimension)."""
    moves = 1e-5 * np.eye(collapsed.dimension)

    def depth(theta: np.ndarray) -> float:
        return -collapsed.log_joint(theta[None])[0]

    def slope(theta: np.ndarray) -> np.ndarray:
        beyond, before = np.split(collapsed.log_joint(np.concatenate([theta + moves, theta - moves])), 2)
        return (before - beyond) / 2e-5

    starts = 1.5 * np.random.default_rng(0).standard_normal((STARTS, collapsed.dimension))
    ends = np.array([optimize.minimize(depth, start, jac=slope, method="BFGS").x for start in starts])
    return ends[np.argsort(-collapsed.log_joint(ends))]


def integral(collapsed: Collapsed, tops: np.ndarray) -> Trapezoid:
    """The integral of one share, on coarse lattices, which grow from the hilltops and their copies.

    Raises:
        TooManyPoints: even these have too many points.
    """
    symmetries = collapsed.symmetries()
    seeds = (symmetries @ tops.T).transpose(0, 2, 1).reshape(-1, collapsed.dimension)
    lattice = Lattice(tops[0], np.linalg.inv(np.linalg.cholesky(collapsed.precision(tops[0]))).T)
    # A hilltop may be its own copy, as 0 is; beside it the copies differ.
    gaussian = Lattice(lattice.points(0.2 * np.arange(1, collapsed.dimension + 1)), lattice.axes)
    for _ in range(6):
        share = Share(symmetries, gaussian)

        def log_density(points: np.ndarray, share: Share = share) -> np.ndarray:
            return collapsed.log_joint(points) + share.log(points)

        indices, values = grow(log_density, lattice, seeds, 15.0, 500_000)
        seeds = np.concatenate([seeds, lattice.points(indices[[values.argmax()]])])
        lattice = gaussian = lattice.fitted(indices, values)
    limit = WORK / (1 + collapsed.hidden * len(collapsed.inputs) / 100)
    return Trapezoid(log_density, lattice, STEP[collapsed.hidden], seeds, DROP[collapsed.hidden], limit)


class QuadraturePosterior(Exact):
    """The posterior as a mixture of Gaussians, one for every point of the lattices. Implements `models.contract.Exact`.

    ``tolerance`` is twice as much as the lattices are apart, in their log evidences, in nats, in their means of f, in
    sds, or in the logs of its sds, whichever is most; and with it what the outermost two nats of their points add, and
    an allowance for what is left out.
    """

    def __init__(self, data: BnnData) -> None:
        self.data, self.collapsed = data, Collapsed(data)
        self.symmetries = self.collapsed.symmetries()
        self.marginals: dict[tuple[str, tuple[int, ...]], Marginal] = {}
        tops = hilltops(self.collapsed)
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
        ends = np.cumsum([0, *(len(values) for _, values in rule.grown)])
        inner = logs > logs.max() - rule.drop + 2
        parts = [slice(None), inner, *(slice(*pair) for pair in itertools.pairwise(ends))]
        found = np.empty((len(self.data.dataset.grid), len(parts), 2))
        for point in range(len(found)):
            mean, sd = self.components("f", (point,))[0]
            found[point] = [moments([(mean[part], sd[part])], self.weights[part]) for part in parts]
        means, sds = found[:, 0].T
        self.moments = {"f": (means, sds)}
        found = np.stack([found[:, :, 0] / sds[:, None], np.log(found[:, :, 1])])
        apart = max(np.ptp(rule.log_integrals), np.ptp(found[:, :, 2:], axis=2).max())
        edges = max(self.weights[~inner].sum(), np.abs(found[:, :, 1] - found[:, :, 0]).max())
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
            found = [self.layer.along(list(row)) for row in np.eye(hidden + 1)[:hidden]]
        else:
            weights, biases = np.split(self.points.T, 2)
            found = [(values, np.zeros(len(values))) for values in (weights if site == "hidden_weights" else biases)]
        return [*found, *((-mean, sd) for mean, sd in found)] if self.collapsed.odd else found

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the latent sites and of f."""
        return {**self.data.shapes(), "f": (len(self.data.dataset.grid),)}

    def marginal(self, site: str, index: tuple[int, ...]) -> Marginal:
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
            self.marginals[key] = Marginal(means, sds, np.tile(self.weights[heavy], len(components)))
        return self.marginals[key]

    def moments_of(self, site: str) -> tuple[np.ndarray, np.ndarray]:
        """Means and sds of a site's elements, each of the site's shape."""
        if site not in self.moments:
            mean, sd = moments(self.components(site, ()), self.weights)
            self.moments[site] = np.full(self.shapes()[site], mean), np.full(self.shapes()[site], sd)
        return self.moments[site]

    def mean(self) -> dict[str, np.ndarray]:
        return {site: self.moments_of(site)[0] for site in self.shapes()}

    def sd(self) -> dict[str, np.ndarray]:
        return {site: self.moments_of(site)[1] for site in self.shapes()}

    def quantile(self, probability: float) -> dict[str, np.ndarray]:
        found = {}
        for site, shape in self.shapes().items():
            values = [self.marginal(site, index).quantile(probability) for index in np.ndindex(shape)]
            found[site] = np.array(values).reshape(shape)
        return found

    def density(self, site: str, index: tuple[int, ...], grid: np.ndarray) -> np.ndarray:
        return self.marginal(site, index).at(grid)

    def correlations(self) -> dict[str, float]:
        """None: neighbouring values of f are as correlated as the grid is fine."""
        return {}

    def draw(self, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        """Exact draws, but for the mass beyond the lattices' edges: rejection, then the output layer given the rest."""
        theta = self.rule.draw(rng, count)
        copies = self.symmetries[rng.integers(len(self.symmetries), size=count)]
        weights, biases = np.split(np.einsum("cij,cj->ci", copies, theta), 2, axis=1)
        return network.complete(self.data, {"hidden_weights": weights[:, None, :], "hidden_biases": biases}, rng)

    def log_prior(self, latents: Latents) -> np.ndarray:
        hidden = self.collapsed.hidden
        scales = {"hidden_weights": 1.0, "hidden_biases": 1.0, "output_weights": hidden**-0.5, "output_bias": 1.0}
        terms = [
            stats.norm.logpdf(latents[site], scale=scale).reshape(len(latents[site]), -1).sum(axis=1)
            for site, scale in scales.items()
        ]
        return np.sum(terms, axis=0)

    def log_likelihood(self, latents: Latents) -> np.ndarray:
        return network.pointwise(self.data, latents)["targets"].sum(axis=1)

    def log_posterior(self, latents: Latents) -> np.ndarray:
        return self.log_prior(latents) + self.log_likelihood(latents) - self.log_evidence

    def extra_summary(self) -> dict[str, Any]:
        """What the quadrature consists of, and how far the hidden weights go."""
        below = self.marginal("hidden_weights", (0, 0)).distribution(np.array([-3.0, 3.0]))
        return {
            "nodes": len(self.points),
            "copies of every mode": len(self.symmetries),
            "tolerance, in nats and in sds of f": self.tolerance,
            "P(|hidden weight| > 3)": float(1 + below[0] - below[1]),
        }


def moments(components: list[tuple[np.ndarray, np.ndarray]], weights: np.ndarray) -> tuple[float, float]:
    """Mean and sd of the mixture of all components, whose means and sds have the shape of the weights, (count,)."""
    total = len(components) * weights.sum()
    mean = sum(weights @ means for means, _ in components) / total
    variance = sum(weights @ ((means - mean) ** 2 + sds**2) for means, sds in components) / total
    return float(mean), math.sqrt(variance)
