"""Matrix normal: a Gaussian for each site whose covariance is a Kronecker product, a factor for rows, one for columns.

A site of shape (n, m) on the unconstrained latents is z = location + A E B', E standard normals, A (n, n) and B (m, m)
lower triangular: any covariance among the inputs of a layer, the same for all of its outputs, and the reverse. That
takes n(n + 1)/2 + m(m + 1)/2 numbers where full rank takes nm(nm + 1)/2. A vector (n,) is a matrix with one column and
so has any covariance; a scalar has its scale. Of higher ranks all dimensions but the last are rows. Sites are
independent of each other. (Louizos & Welling 2016, Structured and efficient variational deep learning with matrix
Gaussian posteriors, section 2.)

The parameters are ``location`` (d,), the sites one after another in the order of the model, and for the site with
number k, from 0, ``rows_k`` (n, n) and, where it has more than one column, ``columns_k`` (m, m). What A is multiplied
by, B can be divided by; `Coordinates` keeps the determinant of B at 1.
"""

from __future__ import annotations

import math

import numpy as np
import scipy.linalg

from guides.contract import Curvature, Family, Parameters
from guides.triangle import Triangle


class Coordinates:
    r"""location = mode + factor^-T x_1, and each site's A = A0 L(x_2), B = B0 L(x_3), as `Triangle` says.

    A0 and B0 are those of the family's best Gaussian where the posterior is the Laplace approximation. With
    |L_A|^2 the sum of squares, -ELBO there is

        |L_A|^2 |L_B|^2 / 2 - m log det L_A - n log det L_B,

    which in the entries below the diagonals has the curvatures m and n, and in logs of the diagonals, u and v,
    is sum_ij (u_i + v_j)^2 to second order. With sum_j v_j = 0 that is m |u|^2 + n |v|^2: the Hessian is the identity.
    """

    def __init__(self, curvature: Curvature) -> None:
        self.curvature = curvature
        self.dimension = curvature.location.size
        self.triangles: dict[str, Triangle] = {}
        begin = 0
        for number, (rows, columns) in enumerate(sites(curvature.shapes)):
            end = begin + rows * columns
            a, b = nearest(curvature.precision(begin, end).reshape(rows, columns, rows, columns))
            self.triangles[f"rows_{number}"] = Triangle(a, columns, np.eye(rows))
            if columns > 1:
                self.triangles[f"columns_{number}"] = Triangle(b, rows, scipy.linalg.helmert(columns))
            begin = end
        sizes = [self.dimension, *(triangle.size for triangle in self.triangles.values())]
        self.ends, self.size = np.cumsum(sizes)[:-1], sum(sizes)

    def split(self, x: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """x as its parts for the location and for each triangle."""
        step, *parts = np.split(x, self.ends)
        return step, dict(zip(self.triangles, parts, strict=True))

    def parameters(self, x: np.ndarray) -> Parameters:
        step, parts = self.split(x)
        location = self.curvature.location + self.curvature.colour(step)
        return {"location": location} | {name: self.triangles[name].factor(part) for name, part in parts.items()}

    def pullback(self, x: np.ndarray, gradient: Parameters) -> np.ndarray:
        _, parts = self.split(x)
        step = self.curvature.whiten(gradient["location"])
        return np.concatenate(
            [step, *(self.triangles[name].pullback(part, gradient[name]) for name, part in parts.items())]
        )

    def locate(self, parameters: Parameters) -> np.ndarray:
        factors = dict(parameters)
        for name in [name for name in factors if name.startswith("columns")]:
            scale = math.exp(np.log(np.diag(factors[name])).mean())
            factors[name] = factors[name] / scale
            factors[name.replace("columns", "rows")] = factors[name.replace("columns", "rows")] * scale
        step = self.curvature.discolour(factors["location"] - self.curvature.location)
        return np.concatenate([step, *(triangle.locate(factors[name]) for name, triangle in self.triangles.items())])


def sites(shapes: dict[str, tuple[int, ...]]) -> list[tuple[int, int]]:
    """The rows and columns of each site, from the shapes of the parameters."""
    count = sum(name.startswith("rows") for name in shapes)
    return [(shapes[f"rows_{site}"][0], shapes.get(f"columns_{site}", (1, 1))[0]) for site in range(count)]


def nearest(precision: np.ndarray, tolerance: float = 1e-10, sweeps: int = 500) -> tuple[np.ndarray, np.ndarray]:
    """Lower A and B, det B = 1, of the matrix normal q with the least KL(q, N(0, precision^-1)).

    ``precision`` has shape (n, m, n, m). Given B B' = V the best A A' is the inverse of sum_ab precision[:, a, :, b]
    V_ab / m, and the reverse; by turns they go down to the only minimum (the flip-flop of Dutilleul 1999, whose
    likelihood is this KL with the roles of covariance and precision exchanged).
    """
    rows, columns = precision.shape[:2]
    v, before = np.eye(columns), np.inf
    for _ in range(sweeps):
        u = np.linalg.inv(np.einsum("iajb,ab->ij", precision, v) / columns)
        v = np.linalg.inv(np.einsum("iajb,ij->ab", precision, u) / rows)
        objective = -columns * np.linalg.slogdet(u)[1] - rows * np.linalg.slogdet(v)[1]
        if before - objective < tolerance:
            break
        before = objective
    a, b = np.linalg.cholesky((u + u.T) / 2), np.linalg.cholesky((v + v.T) / 2)
    scale = math.exp(np.log(np.diag(b)).mean())
    return a * scale, b / scale


FAMILY = Family(Coordinates, largest_dimension=2000)
"""A vector of the largest dimension would have a full covariance."""
