"""Standard normal draws to feed a guide, made to be worth more than their number.

Two designs, both antithetic:

- `fresh`: every row is exactly N(0, I), so an average over rows is unbiased. A block of rows stands on the axes of a
  random rotation, all equally far out, so its means are 0 and the products of different columns cancel exactly; the
  distances of the blocks are stratified (spherical-radial rules: Genz & Monahan 1998). For judging a fit.
- `matched`: one fixed set whose means are 0 and whose second moments are exactly 1 and 0, so that the ELBO of a
  Gaussian guide against a Gaussian posterior comes out without error. For making a fit.

Quasi-Monte Carlo for variational inference: Buchholz, Wenzel & Mandt 2018. Fixed draws: Giordano, Ingram &
Broderick 2024; Burroni, Domke & Sheldon 2024.
"""

from __future__ import annotations

import warnings

import numpy as np
import scipy.linalg
from scipy.special import betaincinv, gammaincinv, ndtr, ndtri
from scipy.stats import qmc


def normal_points(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Scrambled Sobol points as normals, shape (rows, columns); plain draws where Sobol has no use or no dimensions."""
    if rows < 16 or columns > 1000:
        return rng.standard_normal((rows, columns))
    with warnings.catch_warnings():  # a number of rows that is no power of two costs balance, not correctness
        warnings.filterwarnings("ignore", message=".*balance properties.*")
        uniform = qmc.Sobol(columns, rng=rng).random(rows)
    return ndtri(np.clip(uniform, 1e-12, 1 - 1e-12))


def fresh(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Unbiased draws, shape (rows, columns), rows a power of two: each row is N(0, I)."""
    half = rows // 2
    points = rotated(rng, half, columns) if columns <= half else signed(rng, half, columns)
    return np.concatenate([points, -points])


def rotated(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Blocks of orthogonal rows of equal length, in as many dimensions as a power of two needs to hold the columns."""
    axes = 1 << (columns - 1).bit_length()
    blocks = rows // axes
    strata = (rng.permutation(blocks) + rng.random(blocks)) / blocks
    length = np.sqrt(2 * gammaincinv(axes / 2, strata))  # chi with ``axes`` degrees of freedom
    frames, triangle = np.linalg.qr(rng.standard_normal((blocks, axes, columns)))
    frames *= np.sign(np.diagonal(triangle, axis1=1, axis2=2))[:, None, :]
    return (length[:, None, None] * frames).reshape(rows, columns)


def signed(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """More columns than rows: blocks of 8 rows that differ in the signs of a Hadamard matrix, so that the products of
    two columns cancel unless their distance is a multiple of 8."""
    block = min(rows, 8)
    signs = scipy.linalg.hadamard(block)[:, rng.permutation(block)][:, np.arange(columns) % block]
    magnitudes = normal_points(rng, rows // block, columns)
    return (magnitudes[:, None, :] * signs[None, :, :]).reshape(rows, columns)


def matched(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Moment-matched draws, shape (rows, columns): means 0; second moments I where rows allow it, else ones."""
    half = rows // 2
    if columns > half:
        points = signed(rng, half, columns)
        points /= np.sqrt(np.mean(points**2, axis=0))
    else:
        points = normal_points(rng, half, columns)
        factor = np.linalg.cholesky(points.T @ points / half)
        points = scipy.linalg.solve_triangular(factor, points.T, lower=True).T
    return np.concatenate([points, -points])


def beta_quantile(a: np.ndarray, b: np.ndarray, eps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The Beta(a, b) value with the rank that eps has among standard normals, and its slopes in log a and log b.

    The slopes are central differences over a relative step of 1e-4: error about 1e-8 relative.
    """
    a, b, eps = np.broadcast_arrays(a, b, eps)
    rank, step = ndtr(eps), 1e-4
    edge = np.finfo(float)
    value = np.clip(betaincinv(a, b, rank), edge.tiny, 1 - edge.epsneg)
    up, down = np.exp(step), np.exp(-step)
    slope_a = (betaincinv(a * up, b, rank) - betaincinv(a * down, b, rank)) / (2 * step)
    slope_b = (betaincinv(a, b * up, rank) - betaincinv(a, b * down, rank)) / (2 * step)
    return value, slope_a, slope_b
