"""The exact posterior of tiny networks by quadrature.

Given the hidden layer the output layer is linear and Gaussian (Bishop 2006, section 3.3): with features phi = [units, 1]
and prior variances S = diag(1/H, ..., 1/H, 1) its precision is A = S^-1 + phi'phi / noise^2, its mean m is
A^-1 phi'y / noise^2, and

    log p(y | hidden layer) = -(|y - phi m|^2 / noise^2 + m'S^-1 m + log|S| + log|A| + rows log(2 pi noise^2)) / 2.

With one input, one or two hidden units leave two or four dimensions, theta = (w_1, ..., w_H, b_1, ..., b_H), for the
trapezoid rule. Units can be exchanged and, with tanh, flipped in sign, so each mode has up to 8 copies. The modes and
their copies divide the density among them: mode k has of it the share

    r_k(theta) / sum over modes j and symmetries g of r_j(g theta),    r_k = a widened Laplace approximation at mode k.

Whatever the r, the shares and their copies add up to the whole; with these, each is one hill, which is integrated on a
lattice along its own principal axes.
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
from models.bnn.lattice import DROP, Lattice, Marginal, TooManyPoints, Trapezoid, whiten
from models.contract import Latents

if TYPE_CHECKING:
    from models.bnn import Network

__all__ = ["QuadraturePosterior", "exact"]

WORST = 0.01
"""With a larger tolerance nothing is called exact."""

GOAL = 1e-6
"""The lattices are made finer until their integrals agree to so many nats, or the next would be beyond `WORK`."""

WORK = 4_000_000
"""Points visited on the finest lattices, where a point counts once, and once more for every 100 values of its units."""

STARTS = 32
"""Starts of the search for modes, from the prior widened by half."""

FAR = 40.0
"""Modes this many nats below the highest are left out."""

WIDENED = 4.0
"""The factor of the variances of the Laplace approximations that divide the density."""

FLAT = 0.5
"""Draws are proposed by this power of the density, so that their ratio to it is bounded in the tails."""


def exact(data: Network) -> QuadraturePosterior | None:
    """The posterior of a regression with known noise, one input and one or two hidden units; None of any other.

    None too where the quadrature's tolerance would be above `WORST`, since the mass is too bent and too narrow.
    """
    if data.set.classes or data.set.noise is None or data.set.inputs.shape[1] != 1 or data.hidden > 2:
        return None
    return solved(data, tuple(values.tobytes() for values in (data.set.inputs, data.set.targets, data.set.grid)))


@lru_cache(maxsize=4)
def solved(data: Network, content: tuple[bytes, ...]) -> QuadraturePosterior | None:
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
    """The output layer's Gaussians at many points: ``mean[i]`` and A's Cholesky factor ``lower[i][j]``, each (count,)."""

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

    def __init__(self, data: Network) -> None:
        self.inputs, self.targets, self.noise = data.set.inputs[:, 0], data.set.targets, data.set.noise
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


@dataclass(frozen=True)
class Modes:
    """The modes of log p(theta, targets) and their copies, and how they divide the density.

    ``points`` have shape (modes, copies, dimension), the first copy being the mode; ``factors`` are the Cholesky
    factors of the precisions there; ``heights`` (modes,) are in nats.
    """

    points: np.ndarray
    factors: np.ndarray
    heights: np.ndarray

    def log_share(self, mode: int, points: np.ndarray) -> np.ndarray:
        """Log of the share that is the mode's, shape (count,)."""
        claims = []
        for centres, factors, height in zip(self.points, self.factors, self.heights, strict=True):
            for centre, factor in zip(centres, factors, strict=True):
                claims.append((height - 0.5 * ((factor.T @ (points - centre).T) ** 2).sum(axis=0)) / WIDENED)
        claims = np.array(claims)
        return claims[mode * self.points.shape[1]] - special.logsumexp(claims, axis=0)


def find_modes(collapsed: Collapsed) -> Modes:
    """The modes, highest first, each with its copies."""
    moves = 1e-5 * np.eye(collapsed.dimension)

    def height(theta: np.ndarray) -> float:
        return -collapsed.log_joint(theta[None])[0]

    def slope(theta: np.ndarray) -> np.ndarray:
        beyond, before = np.split(collapsed.log_joint(np.concatenate([theta + moves, theta - moves])), 2)
        return (before - beyond) / 2e-5

    starts = 1.5 * np.random.default_rng(0).standard_normal((STARTS, collapsed.dimension))
    ends = np.array([optimize.minimize(height, start, jac=slope, method="BFGS").x for start in starts])
    heights, symmetries = collapsed.log_joint(ends), collapsed.symmetries()
    points: list[np.ndarray] = []
    precisions: list[np.ndarray] = []
    kept: list[float] = []
    for end, nats in sorted(zip(ends, heights, strict=True), key=lambda pair: -pair[1]):
        near = [np.einsum("ci,cij,cj->c", end - c, p, end - c).min() < 4 for c, p in zip(points, precisions, strict=True)]
        if nats > heights.max() - FAR and not any(near):
            points.append(symmetries @ end)
            precisions.append(symmetries @ collapsed.precision(end) @ symmetries.transpose(0, 2, 1))
            kept.append(nats)
    return Modes(np.array(points), np.linalg.cholesky(precisions), np.array(kept))


def integrate(collapsed: Collapsed, modes: Modes) -> list[Trapezoid]:
    """The integral of each mode's share, on lattices as fine as `GOAL` asks for and `WORK` allows.

    Raises:
        TooManyPoints: even coarse lattices would be beyond it.
    """
    limit = WORK / (1 + collapsed.hidden * len(collapsed.inputs) / 100)
    everywhere = modes.points.reshape(-1, collapsed.dimension)
    parts, sizes = [], []
    for mode, (point, factor) in enumerate(zip(modes.points[:, 0], modes.factors[:, 0], strict=True)):

        def log_density(points: np.ndarray, mode: int = mode) -> np.ndarray:
            return collapsed.log_joint(points) + modes.log_share(mode, points)

        principal, seeds, size = whiten(log_density, Lattice(point, np.linalg.inv(factor).T), everywhere)
        parts.append(Trapezoid(log_density, principal, seeds, np.full(collapsed.dimension, 0.5), limit / 3))
        sizes.append(size)
    parts = [part for part, size in zip(parts, sizes, strict=True) if size > max(sizes) - DROP]
    while True:
        logs = np.array([[special.logsumexp(masses) for masses in part.log_masses()] for part in parts])
        errors = np.ptp(np.exp(logs - special.logsumexp(logs.mean(axis=1))), axis=1)
        worst = int(errors.argmax())
        finer = parts[worst].finer()
        if errors.sum() < GOAL or parts[worst].count * np.prod(parts[worst].steps / finer.steps) > limit / 3:
            return parts
        parts[worst] = finer


class QuadraturePosterior:
    """The posterior as a mixture of Gaussians, one for every point of the lattices. Implements `models.contract.Exact`.

    ``tolerance`` is how far the two lattices are apart: in their log evidences, in nats, in their means of f, in sds, or
    in the logs of its sds, whichever is most; and with it the mass at the lattices' edges.
    """

    def __init__(self, data: Network) -> None:
        self.data, self.collapsed = data, Collapsed(data)
        self.symmetries = self.collapsed.symmetries()
        self.parts = integrate(self.collapsed, find_modes(self.collapsed))
        masses = [log_masses for part in self.parts for log_masses in part.log_masses()]
        evidences = [special.logsumexp(np.concatenate(masses[number::3])) for number in range(3)]
        self.log_evidence = float(special.logsumexp(evidences) - math.log(3) + math.log(len(self.symmetries)))
        self.points = np.concatenate([part.points() for part in self.parts])
        self.weights = special.softmax(np.concatenate(masses))
        self.layer = self.collapsed.output_layers(self.points)
        self.method = f"quadrature: trapezoid, {len(self.points):,} nodes"
        ends = np.cumsum([0, *(len(log_masses) for log_masses in masses)])
        self.slices = [slice(*pair) for pair in itertools.pairwise(ends)]
        starts = np.cumsum([0, *(part.count for part in self.parts)])
        self.neighbours = np.concatenate(
            [start + part.neighbours() for start, part in zip(starts, self.parts, strict=False)]
        )
        self.marginals: dict[tuple[str, tuple[int, ...]], Marginal] = {}
        self.moments: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self.tolerance = self.disagreement(float(np.ptp(evidences)))

    def disagreement(self, evidence: float) -> float:
        """The tolerance, from how far the log evidences are apart."""
        twins = [np.zeros(len(self.weights)) for _ in range(3)]
        for number, part in enumerate(self.slices):
            twins[number % 3][part] = self.weights[part]
        apart, means, sds = [evidence], [], []
        for point in range(len(self.data.set.grid)):
            components = self.components("f", (point,))
            mean, sd = moments(components, self.weights)
            by_lattice = np.array([moments(components, twin / twin.sum()) for twin in twins])
            apart += [np.ptp(by_lattice[:, 0]) / sd, np.ptp(np.log(by_lattice[:, 1]))]
            means.append(mean)
            sds.append(sd)
        self.moments["f"] = np.array(means), np.array(sds)
        edges = sum(part[part < part.max() * math.exp(2 - DROP)].sum() for part in map(self.weights.__getitem__, self.slices))
        return float(max(apart) + edges + 1e-15 * abs(self.log_evidence))

    def components(self, site: str, index: tuple[int, ...]) -> list[tuple[np.ndarray, np.ndarray]]:
        """An element's means and sds at the lattices' points, once for every unit and sign that may be its own."""
        hidden = self.collapsed.hidden
        if site == "f":
            units = self.collapsed.units(self.points, self.data.set.grid[index])
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
        return {**self.data.shapes(), "f": (len(self.data.set.grid),)}

    def marginal(self, site: str, index: tuple[int, ...]) -> Marginal:
        """The distribution of one element; but for f, all elements of a site have the same."""
        key = site, index if site == "f" else ()
        if key not in self.marginals:
            components = self.components(site, index)
            heavy = self.weights > 1e-12
            gaps = [np.linalg.norm(mean[self.neighbours[heavy]] - mean[heavy, None], axis=1) for mean, _ in components]
            means, sds = (np.concatenate([part[heavy] for part in parts]) for parts in zip(*components, strict=True))
            weights = np.tile(self.weights[heavy], len(components))
            self.marginals[key] = Marginal(means, sds, np.concatenate(gaps), weights)
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
        shares = np.add.reduceat(self.weights, [part.start for part in self.slices[::3]])
        owner = rng.choice(len(shares), size=count, p=shares / shares.sum())
        theta = np.empty((count, self.collapsed.dimension))
        for number, part in enumerate(self.parts):
            theta[owner == number] = draw_share(part, rng, int(np.sum(owner == number)))
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

    def facts(self) -> dict[str, Any]:
        """The nodes are of both lattices together; the modes are counted without their copies."""
        below = self.marginal("hidden_weights", (0, 0)).distribution(np.array([-3.0, 3.0]))
        return {
            "nodes": len(self.points),
            "modes": len(self.parts),
            "copies of each mode": len(self.symmetries),
            "tolerance of the log evidence, and of f in sds": self.tolerance,
            "probability of a hidden weight beyond 3": float(1 + below[0] - below[1]),
        }


def moments(components: list[tuple[np.ndarray, np.ndarray]], weights: np.ndarray) -> tuple[float, float]:
    """Mean and sd of a mixture whose components are taken in turn from lists of equal weight."""
    mean = float(np.mean([weights @ means for means, _ in components]))
    variance = np.mean([weights @ ((means - mean) ** 2 + sds**2) for means, sds in components])
    return mean, math.sqrt(variance)


def draw_share(part: Trapezoid, rng: np.random.Generator, count: int) -> np.ndarray:
    """Independent draws from one mode's share, shape (count, dimension).

    Proposed is a point of the lattice by a flatter density, then any point of its cell. If a ratio of densities exceeds
    the bound, all draws made with that bound are thrown away.
    """
    lattice, (indices, values) = part.lattices[0], part.grown[0]
    flat = FLAT * (values - values.max())
    cumulative = np.cumsum(np.exp(flat))
    bound, kept = -np.inf, np.empty((0, len(lattice.origin)))
    while len(kept) < count:
        size = min(20_000 + 2 * count, 500_000)
        chosen = np.searchsorted(cumulative, cumulative[-1] * rng.random(size), side="right")
        points = lattice.points(indices[chosen] + rng.uniform(-0.5, 0.5, (size, len(lattice.origin))))
        ratios = part.log_density(points) - values.max() - flat[chosen]
        if ratios.max() > bound:
            bound, kept = float(ratios.max()) + 0.1, kept[:0]
        kept = np.concatenate([kept, points[np.log(rng.random(size)) < ratios - bound]])
    return kept[:count]
