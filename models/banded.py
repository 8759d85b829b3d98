"""Bidiagonal factors of tridiagonal precisions, at a cost linear in the dimension.

A precision with a chain's band factors as P = B B', B lower bidiagonal with ``diagonal`` (n,) > 0 and
``off_diagonal`` (n - 1,) below it. A Gaussian with that precision is z = mean + B^-T eps, eps ~ N(0, I): read from the
last element to the first, z_i given z_{i+1} is a regression with slope -off_diagonal_i / diagonal_i and residual
standard deviation 1 / diagonal_i.
"""

import numpy as np
from scipy.linalg import lapack


def multiply(diagonal: np.ndarray, off_diagonal: np.ndarray, y: np.ndarray, transposed: bool = False) -> np.ndarray:
    """B y, or B' y, for y of shape (..., n)."""
    product = diagonal * y
    if transposed:
        product[..., :-1] += off_diagonal * y[..., 1:]
    else:
        product[..., 1:] += off_diagonal * y[..., :-1]
    return product


def solve(
    diagonal: np.ndarray, off_diagonal: np.ndarray, y: np.ndarray, transposed: bool = False, overwrite: bool = False
) -> np.ndarray:
    """B^-1 y, or B^-T y, for y of shape (..., n), by substitution; ``overwrite`` may reuse the memory of y."""
    band = np.zeros((2, diagonal.size), order="F")
    band[0], band[1, :-1] = diagonal, off_diagonal
    columns = np.reshape(y, (-1, diagonal.size)).T  # Fortran's order: no copy for LAPACK
    solution, info = lapack.dtbtrs(band, columns, uplo="L", trans="T" if transposed else "N", overwrite_b=overwrite)
    if info:
        raise ArithmeticError(f"the bidiagonal factor has no inverse: element {info - 1} of its diagonal is 0")
    return solution.T.reshape(np.shape(y))


def inverse_bands(diagonal: np.ndarray, off_diagonal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The diagonal (n,) and the first off-diagonal (n - 1,) of (B B')^-1: variances and neighbours' covariances.

    Takahashi's recursion from the last element backwards, v_i = 1/b_i^2 + (o_i/b_i)^2 v_{i+1}, is itself a
    bidiagonal system whose terms are all positive, so it loses no digits.
    """
    slope = -off_diagonal / diagonal[:-1]
    variance = solve(np.ones_like(diagonal), -(slope**2), diagonal**-2.0, transposed=True)
    return variance, slope * variance[1:]
