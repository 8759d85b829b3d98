"""Tiny networks without their output layer, which given the hidden one is linear and Gaussian.

With features phi = [units, 1] and prior variances S = diag(1/H, ..., 1/H, 1) its precision is
A = S^-1 + phi'phi / noise^2, its mean is m = A^-1 phi'y / noise^2 (Bishop 2006, Pattern Recognition and Machine
Learning, section 3.3), and

    log p(y | hidden layer) = -(|y - phi m|^2 / noise^2 + m'S^-1 m + log|S| + log|A| + rows log(2 pi noise^2)) / 2.

With one input the hidden layer is theta = (w_1, ..., w_H, b_1, ..., b_H). The units can be exchanged, and with tanh
each can be flipped in sign, so that every hill of the density has up to 8 copies. One share of the density is the
density times

    r(theta) / sum over symmetries g of r(g theta),    r the Gaussian with the share's own mean and covariance:

whatever r, the copies of a share add up to the whole, and with this r a share is compact.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize, special

from models.bnn import network
from models.bnn.data import BnnData
from models.quadrature import Lattice

STARTS = 32  # starts of the search for the highest points, from the prior widened by half
SMALL = 1e-5  # the step of difference quotients


def dot(first: Sequence[Any], second: Sequence[Any]) -> Any:
    """The sum of the products, as far as both sequences go."""
    return sum(a * b for a, b in zip(first, second, strict=False))


@dataclass(frozen=True)
class OutputLayer:
    """The output layer at many points: means ``mean[i]`` and A's Cholesky factors ``lower[i][j]``, each (n_points,)."""

    mean: Sequence[np.ndarray]
    lower: Sequence[Sequence[np.ndarray]]

    def along(self, features: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
        """Mean and sd of the sum of its weights and bias times the features, each of shape (n_points,)."""
        whitened: list[np.ndarray] = []
        for feature, row in zip(features, self.lower, strict=True):
            whitened.append((feature - dot(row, whitened)) / row[-1])
        return dot(features, self.mean), np.sqrt(dot(whitened, whitened))


class Collapsed:
    """The network without its output layer, at points theta of shape (n_points, dimension)."""

    def __init__(self, data: BnnData) -> None:
        self.inputs, self.targets, self.noise = data.dataset.inputs[:, 0], data.dataset.targets, data.dataset.noise
        self.hidden, self.dimension = data.hidden, 2 * data.hidden
        self.activation, self.odd = network.ACTIVATIONS[data.activation], data.activation == "tanh"
        self.precisions = [float(self.hidden)] * self.hidden + [1.0]

    def symmetries(self) -> np.ndarray:
        """The matrices that exchange and flip units, shape (copies, dimension, dimension); the first does nothing."""
        signs = list(itertools.product((1.0, -1.0) if self.odd else (1.0,), repeat=self.hidden))
        orders = list(itertools.permutations(np.eye(self.hidden)))
        return np.array([np.kron(np.eye(2), np.array(order) * sign) for order in orders for sign in signs])

    def units(self, points: np.ndarray, inputs: np.ndarray) -> list[np.ndarray]:
        """Each unit's values at inputs of shape (rows,): (rows, n_points)."""
        weights, biases = np.split(points.T, 2)
        return [self.activation(np.multiply.outer(inputs, w) + b) for w, b in zip(weights, biases, strict=True)]

    def output_layer(self, units: list[np.ndarray]) -> OutputLayer:
        """The output layer, given the units' values at the fitted rows, each of shape (rows, n_points)."""
        features = [*units, np.ones((len(self.inputs), 1))]
        variance = self.noise**2
        lower: list[list[np.ndarray]] = []
        half: list[np.ndarray] = []
        mean: list[np.ndarray] = []
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
        layers = [self.output_layer(self.units(piece, self.inputs)) for piece in self.pieces(points)]
        mean = [np.concatenate(parts) for parts in zip(*(layer.mean for layer in layers), strict=True)]
        rows = zip(*(layer.lower for layer in layers), strict=True)
        return OutputLayer(mean, [[np.concatenate(parts) for parts in zip(*row, strict=True)] for row in rows])

    def log_joint(self, points: np.ndarray) -> np.ndarray:
        """log p(theta, targets), shape (n_points,)."""
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
        """The precision of theta about a mode, (dimension, dimension): by Gauss and Newton, at least the prior's.

        A move of theta counts by what it does to the fit, less what the output layer can make up for (Kaufman 1975, A
        variable projection method, BIT 15).
        """
        weights = np.concatenate(self.output_layers(mode[None]).mean)

        def features(theta: np.ndarray) -> np.ndarray:
            return np.column_stack([*self.units(theta[None], self.inputs), np.ones(len(self.inputs))]) / self.noise

        moves = SMALL * np.eye(self.dimension)
        slopes = [(features(mode + move) - features(mode - move)) @ weights / (2 * SMALL) for move in moves]
        effect = np.column_stack(slopes)
        pull = features(mode).T @ effect
        made_up = pull.T @ np.linalg.solve(features(mode).T @ features(mode) + np.diag(self.precisions), pull)
        return np.eye(self.dimension) + effect.T @ effect - made_up

    def hilltops(self) -> np.ndarray:
        """Where the search for the highest points ends, the highest first, shape (starts, dimension)."""
        moves = SMALL * np.eye(self.dimension)

        def depth(theta: np.ndarray) -> float:
            return -self.log_joint(theta[None])[0]

        def slope(theta: np.ndarray) -> np.ndarray:
            beyond, before = np.split(self.log_joint(np.concatenate([theta + moves, theta - moves])), 2)
            return (before - beyond) / (2 * SMALL)

        starts = 1.5 * np.random.default_rng(0).standard_normal((STARTS, self.dimension))
        ends = np.array([optimize.minimize(depth, start, jac=slope, method="BFGS").x for start in starts])
        return ends[np.argsort(-self.log_joint(ends))]


class Share:
    """The log density of one copy's share.

    Args:
        collapsed: The network.
        gaussian: The lattice whose origin is r's mean, and whose steps are its standard deviations.
    """

    def __init__(self, collapsed: Collapsed, gaussian: Lattice) -> None:
        self.log_joint = collapsed.log_joint
        whitening = np.linalg.inv(gaussian.axes)
        self.centre, self.whitenings = whitening @ gaussian.origin, whitening @ collapsed.symmetries()

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """At points of shape (n_points, dimension), in nats, shape (n_points,)."""
        claims = np.array([-0.5 * ((points @ w.T - self.centre) ** 2).sum(axis=1) for w in self.whitenings])
        return self.log_joint(points) + (claims[0] - special.logsumexp(claims, axis=0))
