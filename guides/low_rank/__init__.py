"""Low rank: one Gaussian on the unconstrained latents whose covariance is a diagonal plus a matrix of rank k.

With S = diag(``scale``), shape (d,), and F = ``cov_factor``, shape (d, k),

    z = location + S (F e + eps),        covariance = D + W W',    D = S S,  W = S F,

e and eps standard normal, k the option ``rank``, or round(sqrt(d)) as in both libraries. It has d (k + 2) parameters,
and draws and densities cost O(d k^2) by Woodbury's identity (Ong, Nott & Smith 2018, Gaussian variational approximation
with a factor covariance structure). It holds what a few common directions add to mean field. W is known up to a
rotation of its columns, and where d is small D and W can replace each other (Ledermann 1937): -ELBO is flat in those
directions. `Coordinates` leave them out.
"""

from __future__ import annotations

import math
import time
from functools import cached_property

import numpy as np
import scipy.linalg
from scipy import optimize

from guides.contract import Curvature, Family, Parameters
from guides.matrix_free import MatrixFree

PATIENCE = 20
"""Steps of a search that must gain less than enough: the divergence is nearly flat where curvatures are alike."""

LARGEST_HESSIAN = 600
"""Numbers in D and W beyond which their Hessian is not formed; then only the rotations are left out."""

LEAST = 1e-6
"""D is at least this part of mean field's, which costs at most half of it in nats a latent. Where the best D is 0 (a
Heywood case of factor analysis) the density would otherwise lose all its digits."""

CLOSEST = 1e-3
"""D above its floor is at least this part of the floor, so that its logarithm exists."""

RANDOM = 10
"""Random starts of the search for the best member, where D and W have at most `LARGEST_HESSIAN` numbers."""

FLAT = 1e-2
"""Directions of less curvature are left out; most have about 1."""


class Coordinates:
    r"""x = (x_1, x_2) to the parameters: location = mode + factor^-T x_1, and D and W by y = y_0 + T x_2, where

        y = (log(D - floor) / sqrt(2), factor' W),

    factor factor' the precision at the mode, the floor `LEAST` of mean field's D, and y_0 the family's best Gaussian
    there (`Target.best`). In y the Hessian of -ELBO is of order 1. Where it can be formed T whitens it, without its
    flat directions; elsewhere T takes changes dU of U = factor' W to those with U' dU symmetric, which no rotation of
    the columns makes.
    """

    def __init__(self, curvature: Curvature) -> None:
        self.curvature, self.dimension = curvature, curvature.location.size
        self.target = target = Target(curvature)
        self.begin = begin = target.best()
        self.directions = Whitened(target.hessian(begin)) if target.is_small else Unrotated(begin, self.dimension)
        self.size = self.dimension + self.directions.size

    def split(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The location, ``scale`` and W at x."""
        location = self.curvature.location + self.curvature.colour(x[: self.dimension])
        return location, *self.target.split(self.begin + self.directions.forward(x[self.dimension :]))

    def parameters(self, x: np.ndarray) -> Parameters:
        location, scale, loading = self.split(x)
        return {"location": location, "scale": scale, "cov_factor": loading / scale[:, None]}

    def pullback(self, x: np.ndarray, gradient: Parameters) -> np.ndarray:
        _, scale, loading = self.split(x)
        slope = gradient["cov_factor"] / scale[:, None]
        stretch = (gradient["scale"] * scale - np.sum(slope * loading, axis=1)) * self.target.freedom(scale)
        part = np.concatenate([stretch, self.curvature.whiten(slope).ravel()])
        return np.concatenate([self.curvature.whiten(gradient["location"]), self.directions.backward(part)])

    def locate(self, parameters: Parameters) -> np.ndarray:
        """The x of given parameters, or of the nearest that differ in no flat direction."""
        step = self.curvature.discolour(parameters["location"] - self.curvature.location)
        scale, begin = parameters["scale"], self.begin[self.dimension :].reshape(self.dimension, -1)
        turned = self.curvature.discolour(scale[:, None] * parameters["cov_factor"])
        left, _, right = np.linalg.svd(turned.T @ begin)  # the rotation that brings it closest to where it began
        there = self.target.join(scale, turned @ left @ right)
        return np.concatenate([step, self.directions.inverse(there - self.begin)])


class Target:
    """KL(q, N(mode, precision^-1)) up to a constant, as a function of y: -ELBO where the posterior is Gaussian.

    Raises:
        ValueError: the rank is beyond the number of unconstrained latents.
    """

    def __init__(self, curvature: Curvature | MatrixFree, floor: np.ndarray | None = None) -> None:
        self.curvature, self.floor = curvature, LEAST / curvature.diagonal if floor is None else floor
        self.dimension, self.rank = size, rank = curvature.shapes["cov_factor"]
        if rank > size:
            raise ValueError(f"rank {rank} is more than the model's {size} unconstrained latents; give {size} or less")
        self.is_small = self.dimension * (1 + self.rank) <= LARGEST_HESSIAN

    def join(self, scale: np.ndarray, white: np.ndarray) -> np.ndarray:
        """y from ``scale`` and factor' W."""
        above = np.maximum(scale**2 - self.floor, CLOSEST * self.floor)
        return np.concatenate([np.log(above) / math.sqrt(2), white.ravel()])

    def split(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``scale`` and W."""
        scale = np.sqrt(self.floor + np.exp(math.sqrt(2) * y[: self.dimension]))
        return scale, self.curvature.colour(y[self.dimension :].reshape(self.dimension, self.rank))

    def entropy(self, y: np.ndarray) -> float:
        scale, loading = self.split(y)
        ratio = loading / scale[:, None]
        return float(np.log(scale).sum() + 0.5 * np.linalg.slogdet(np.eye(self.rank) + ratio.T @ ratio)[1])

    def at(self, curvature: MatrixFree) -> Target:
        """The same function for another precision with the same preconditioner: a y means the same Gaussian."""
        return Target(curvature, self.floor)

    def locate(self, parameters: Parameters) -> np.ndarray:
        """The y of given parameters."""
        loading = parameters["scale"][:, None] * parameters["cov_factor"]
        return self.join(parameters["scale"], self.curvature.discolour(loading))

    def parameters(self, location: np.ndarray, y: np.ndarray) -> Parameters:
        scale, loading = self.split(y)
        return {"location": location, "scale": scale, "cov_factor": loading / scale[:, None]}

    def draw(self, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A draw's distance from the location, shape (d,)."""
        scale, loading = self.split(y)
        return scale * rng.standard_normal(self.dimension) + loading @ rng.standard_normal(self.rank)

    def freedom(self, scale: np.ndarray) -> np.ndarray:
        """The slope of log scale in y."""
        return (1 - self.floor / scale**2) / math.sqrt(2)

    def value(self, y: np.ndarray) -> tuple[float, np.ndarray]:
        """The divergence in nats, and its gradient."""
        scale, loading = self.split(y)
        ratio, white = loading / scale[:, None], y[self.dimension :]
        weighed = self.curvature.weigh(white.reshape(loading.shape)).ravel()
        factor = np.linalg.cholesky(np.eye(self.rank) + ratio.T @ ratio)
        pull = scipy.linalg.cho_solve((factor, True), ratio.T).T
        own = self.curvature.diagonal * scale**2
        value = 0.5 * (own.sum() + white @ weighed) - np.log(scale).sum() - np.log(np.diag(factor)).sum()
        stretch = (own - 1 + np.sum(pull * ratio, axis=1)) * self.freedom(scale)
        turn = weighed - self.curvature.whiten(pull / scale[:, None]).ravel()
        return float(value), np.concatenate([stretch, turn])

    def best(self, enough: float = 0.0, deadline: float = math.inf) -> np.ndarray:
        """The y of the least divergence, the columns of factor' W orthogonal.

        Where some of the best D are 0 there are several minima: this takes the lowest that short searches reach. D
        stays between the floor and twice mean field's D, where every minimum lies.
        """
        searches = [self.search(start, 100, enough, deadline) for start in self.starts()]
        y = self.search(min(searches, key=lambda search: search.fun).x, 2000, enough, deadline).x
        left, lengths, _ = np.linalg.svd(y[self.dimension :].reshape(self.dimension, self.rank), full_matrices=False)
        return np.concatenate([y[: self.dimension], (left * lengths).ravel()])

    def starts(self) -> list[np.ndarray]:
        """Where searches start: `likely` places, and random ones where there are few numbers."""
        starts = [self.likely(part) for part in (0.5, 0.05)]
        if self.is_small:
            rng = np.random.default_rng(0)
            for _ in range(RANDOM):
                scale = np.sqrt(rng.random(self.dimension) / self.curvature.diagonal)
                starts.append(self.join(scale, 0.7 * rng.normal(size=(self.dimension, self.rank))))
        return starts

    def search(
        self, start: np.ndarray, steps: int, enough: float = 0.0, deadline: float = math.inf
    ) -> optimize.OptimizeResult:
        """Where L-BFGS arrives: within ``enough`` nats if the Hessian is the identity, and its last `PATIENCE` steps
        gained less; after ``steps``, or too late."""
        slopes, values = [np.inf], list[float]()

        def value(y: np.ndarray) -> tuple[float, np.ndarray]:
            divergence, gradient = self.value(y)
            slopes[0] = 0.5 * gradient @ gradient
            return divergence, gradient

        def stop(intermediate_result: optimize.OptimizeResult) -> None:
            values.append(intermediate_result.fun)
            is_slow = len(values) > PATIENCE and values[-PATIENCE - 1] - values[-1] < enough
            if (slopes[0] < enough and is_slow) or time.perf_counter() > deadline:
                raise StopIteration

        lower, upper = np.log([CLOSEST * self.floor, 2 / self.curvature.diagonal]) / math.sqrt(2)
        free = np.full(self.dimension * self.rank, np.inf)
        bounds = optimize.Bounds(np.append(lower, -free), np.append(upper, free))
        options = {"maxiter": steps, "ftol": 1e-15, "gtol": 1e-8}
        return optimize.minimize(
            value, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options, callback=stop
        )

    @cached_property
    def slackest(self) -> tuple[np.ndarray, np.ndarray]:
        """The least eigenvalues of the precision scaled to a diagonal of ones, and their eigenvectors."""
        if isinstance(self.curvature, MatrixFree):
            values, vectors = self.curvature.smallest
            return values[: self.rank], vectors[:, : self.rank]
        return smallest(self.curvature, 1 / np.sqrt(self.curvature.diagonal), self.rank)

    def likely(self, part: float) -> np.ndarray:
        """The best W where D is this part of mean field's.

        Its columns are eigenvectors of S precision S with the smallest eigenvalues mu, of squared lengths 1 / mu - 1
        (as in probabilistic PCA: Tipping & Bishop 1999, section 3.2, with the roles of q and p exchanged).
        """
        scale = np.sqrt(part / self.curvature.diagonal)
        values, vectors = part * self.slackest[0], self.slackest[1]
        lengths = np.sqrt(np.maximum(1 / values - 1, 1e-2))  # a column of zeros has no slope
        loading = scale[:, None] * vectors * lengths
        return self.join(scale, self.curvature.discolour(loading))

    def hessian(self, y: np.ndarray, step: float = 1e-5) -> np.ndarray:
        """By central differences."""
        rows = [(self.value(y + axis)[1] - self.value(y - axis)[1]) / (2 * step) for axis in step * np.eye(y.size)]
        return (np.array(rows) + np.transpose(rows)) / 2


class Whitened:
    """Directions in which the Hessian is the identity; those where it vanishes are left out."""

    def __init__(self, hessian: np.ndarray) -> None:
        values, vectors = np.linalg.eigh(hessian)
        vectors, roots = vectors[:, values > FLAT], np.sqrt(values[values > FLAT])
        self.transform, self.inverted, self.size = vectors / roots, (vectors * roots).T, len(roots)

    def forward(self, x: np.ndarray) -> np.ndarray:
        return self.transform @ x

    def backward(self, gradient: np.ndarray) -> np.ndarray:
        return self.transform.T @ gradient

    def inverse(self, shift: np.ndarray) -> np.ndarray:
        return self.inverted @ shift


class Unrotated:
    """All directions but the rotations of U, whose columns are orthogonal: an orthogonal projection."""

    def __init__(self, begin: np.ndarray, dimension: int) -> None:
        self.begin, self.dimension, self.size = begin[dimension:].reshape(dimension, -1), dimension, begin.size
        square = np.sum(self.begin**2, axis=0)
        self.squares = np.maximum(square[:, None] + square, np.finfo(float).tiny)

    def forward(self, x: np.ndarray) -> np.ndarray:
        turn = x[self.dimension :].reshape(self.begin.shape)
        product = self.begin.T @ turn
        turn = turn - self.begin @ ((product - product.T) / self.squares)
        return np.concatenate([x[: self.dimension], turn.ravel()])

    backward = inverse = forward


def smallest(curvature: Curvature, scale: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The smallest eigenvalues of S precision S, S = diag(scale), and their eigenvectors, shapes (k,) and (d, k)."""
    if not curvature.banded:
        factor = scale[:, None] * curvature.factor
        return scipy.linalg.eigh(factor @ factor.T, subset_by_index=(0, count - 1))
    diagonal, below = curvature.bands
    beside = below[:-1] * scale[:-1] * scale[1:]
    return scipy.linalg.eigh_tridiagonal(diagonal * scale**2, beside, select="i", select_range=(0, count - 1))


FAMILY = Family(Coordinates, largest_dimension=10_000, within=("full_rank", "flow"), spread=Target, settings=("rank",))
