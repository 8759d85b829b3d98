"""Maximisation of the log joint from many starts at once: each iteration is a single batched call."""

from __future__ import annotations

import numpy as np

from compare.fit.reference.target import Target, evaluate_gradient

__all__ = ["ascend", "hessians"]


def ascend(target: Target, starts: np.ndarray, max_iterations: int) -> tuple[np.ndarray, np.ndarray]:
    """The points that BFGS reaches from each start, and their log joints.

    All starts take their steps together, each with its own inverse Hessian and step length; those that have converged
    drop out.

    Args:
        target: The posterior.
        starts: Shape (n, d).
        max_iterations: Batched gradient evaluations at most.

    Returns:
        Points (n, d) and log joints (n,) in nats; -inf where a start had no finite log joint and gradient.

    Source: Nocedal and Wright (2006), Numerical Optimization, sections 3.1 (backtracking) and 6.1 (BFGS).
    """
    points = np.array(starts, float)
    values, gradients = evaluate_gradient(target, points)
    inverse = np.zeros((len(points), target.dimension, target.dimension))
    inverse[:] = np.eye(target.dimension)
    inverse /= np.maximum(np.linalg.norm(gradients, axis=1), 1e-12)[:, None, None]  # a first step of length one
    steps = np.ones(len(points))
    fresh = np.ones(len(points), bool)
    active = np.flatnonzero(np.isfinite(values))
    for _ in range(max_iterations):
        active = active[np.abs(points[active]).max(1) < 1e12]  # the others run off to infinity
        directions = np.einsum("nij,nj->ni", inverse[active], gradients[active])
        slopes = np.einsum("ni,ni->n", directions, gradients[active])
        moving = (slopes > 1e-10) & (steps[active] > 1e-12)
        active, directions, slopes = active[moving], directions[moving], slopes[moving]
        if not len(active):
            break
        moves = steps[active, None] * directions
        new_values, new_gradients = evaluate_gradient(target, points[active] + moves)
        better = new_values >= values[active] + 1e-4 * steps[active] * slopes
        steps[active[~better]] *= 0.25
        taken = active[better]
        changes = gradients[taken] - new_gradients[better]
        _update(inverse, fresh, taken, moves[better], changes)
        points[taken] += moves[better]
        values[taken], gradients[taken] = new_values[better], new_gradients[better]
        steps[taken] = 1.0
    return points, values


def _update(inverse: np.ndarray, fresh: np.ndarray, rows: np.ndarray, moves: np.ndarray, changes: np.ndarray) -> None:
    """Update the inverse Hessians in ``rows`` by BFGS, except where the curvature along the move is not positive."""
    curvature = np.einsum("ni,ni->n", moves, changes)
    size = np.einsum("ni,ni->n", changes, changes)
    curved = curvature > 1e-10 * np.sqrt(size * np.einsum("ni,ni->n", moves, moves))
    flat = rows[~curved]
    inverse[flat] *= 4.0  # longer steps where the log density is flat or convex along the direction
    rows, moves, changes, curvature, size = (part[curved] for part in (rows, moves, changes, curvature, size))
    eye = np.eye(moves.shape[1])
    first = fresh[rows]
    inverse[rows[first]] = (curvature / size)[first, None, None] * eye
    fresh[rows] = False
    scaled = np.einsum("nij,nj->ni", inverse[rows], changes)
    factor = (1 + np.einsum("ni,ni->n", changes, scaled) / curvature)[:, None] * moves / 2 - scaled
    cross = np.einsum("ni,nj->nij", moves, factor) / curvature[:, None, None]
    inverse[rows] += cross + cross.transpose(0, 2, 1)


def hessians(target: Target, points: np.ndarray, widest: np.ndarray) -> np.ndarray:
    """The Hessians of minus the log joint at points (n, d), shape (n, d, d), by central differences of gradients.

    The step along a coordinate is 1e-3 of the conditional sd that a first pass finds there, at most of ``widest``.

    Args:
        target: The posterior.
        points: Shape (n, d).
        widest: The largest sd expected along each coordinate, shape (d,).
    """
    n, d = points.shape
    steps = np.tile(1e-4 * widest, (n, 1))
    for _ in range(3):
        shifts = steps[:, :, None] * np.eye(d)  # (n, d, d): one point a coordinate
        both = np.concatenate([points[:, None] + shifts, points[:, None] - shifts]).reshape(-1, d)
        chunks = np.split(both, range(8192, len(both), 8192))
        gradients = np.concatenate([evaluate_gradient(target, chunk)[1] for chunk in chunks]).reshape(2, n, d, d)
        rows = (gradients[1] - gradients[0]) / (2 * steps[:, :, None])
        diagonal = np.abs(np.einsum("nii->ni", rows))
        with np.errstate(divide="ignore"):
            steps = 1e-3 * np.minimum(widest, np.where(diagonal > 0, diagonal, 0.0) ** -0.5)
    return (rows + rows.transpose(0, 2, 1)) / 2
