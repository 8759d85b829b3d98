"""Markov: a Gaussian on the unconstrained latents whose precision couples neighbours only.

The precision is B B', B lower bidiagonal with ``diagonal`` (d,) > 0 and ``off_diagonal`` (d - 1,) below it, so that
z = location + B^-T eps with eps ~ N(0, I). It has 3 d - 1 parameters, its draws and densities cost O(d), and it holds
the posterior of every Gaussian chain whose nodes are the latents in their order.
"""

from __future__ import annotations

import math

import numpy as np

from guides.contract import Curvature, Family, Parameters
from models import banded


class Coordinates:
    r"""x = (x_1, x_2, x_3), of sizes d, d and d - 1, to the parameters:

        location       = mode + factor^-T x_1
        diagonal_i     = b_i exp(x_2i / sqrt 2)
        off_diagonal_i = diagonal_i (r_i + s_i x_3i)        s_i = 1 / (b_i sd(z_{i+1}))

    b and r are the starting B's diagonal and its ratios off_diagonal_i / diagonal_i. The Fisher metric of B is block
    diagonal. With S = (B B')^-1, column i of B has the block

        [[S_ii + 1 / b_i^2, S_{i,i+1}], [S_{i,i+1}, S_{i+1,i+1}]],

    and since Var(z_i | z_{i+1}) = 1 / b_i^2 it is diagonal in (log diagonal_i, ratio_i), with 2 and
    b_i^2 S_{i+1,i+1} on it. So the Hessian of -ELBO at x = 0 is the identity where the posterior is such a Gaussian.
    From a banded curvature B starts as its factor; from a dense one as the Markov chain with the same variances and
    neighbours' covariances.
    """

    def __init__(self, curvature: Curvature) -> None:
        self.curvature = curvature
        self.dimension = curvature.location.size
        self.size = 3 * self.dimension - 1
        if curvature.banded:
            self.diagonal = curvature.factor[0]
            self.ratio = curvature.factor[1, :-1] / self.diagonal[:-1]
            variance, _ = banded.inverse_bands(self.diagonal, curvature.factor[1, :-1])
        else:
            root = curvature.colour(np.eye(self.dimension))
            variance = np.einsum("ij,ij->i", root, root)
            neighbours = np.einsum("ij,ij->i", root[:-1], root[1:])
            self.ratio = -neighbours / variance[1:]
            residual = variance.copy()
            residual[:-1] += self.ratio * neighbours
            self.diagonal = 1 / np.sqrt(residual)
        self.spread = 1 / (self.diagonal[:-1] * np.sqrt(variance[1:]))

    def parameters(self, x: np.ndarray) -> Parameters:
        step, stretch, turn = np.split(x, [self.dimension, 2 * self.dimension])
        diagonal = self.diagonal * np.exp(stretch / math.sqrt(2))
        return {
            "location": self.curvature.location + self.curvature.colour(step),
            "diagonal": diagonal,
            "off_diagonal": diagonal[:-1] * (self.ratio + self.spread * turn),
        }

    def pullback(self, x: np.ndarray, gradient: Parameters) -> np.ndarray:
        here = self.parameters(x)
        stretch = gradient["diagonal"] * here["diagonal"]
        stretch[:-1] += gradient["off_diagonal"] * here["off_diagonal"]
        turn = gradient["off_diagonal"] * here["diagonal"][:-1] * self.spread
        return np.concatenate([self.curvature.whiten(gradient["location"]), stretch / math.sqrt(2), turn])

    def locate(self, parameters: Parameters) -> np.ndarray:
        step = self.curvature.discolour(parameters["location"] - self.curvature.location)
        stretch = math.sqrt(2) * np.log(parameters["diagonal"] / self.diagonal)
        turn = (parameters["off_diagonal"] / parameters["diagonal"][:-1] - self.ratio) / self.spread
        return np.concatenate([step, stretch, turn])


FAMILY = Family(Coordinates)
