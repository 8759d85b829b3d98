"""The Laplace approximations that Gaussian fits start from: the modes of log joints, and the curvature there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.linalg
from scipy import optimize

from compare.fit.svi.protocol import DENSE
from guides.contract import Curvature

LogJoint = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""The numbers of some fits and their locations in, log joints (fits,) and gradients (fits, d) out."""

Precision = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""The same in, minus the Hessians out: (fits, d, d), or tridiagonal (fits, 2, d)."""

ROUNDING = 1e-20
"""The ratio of two precisions below which the smaller one is rounding: sds that differ by a factor of 1e10."""


class NoMode(ArithmeticError):
    """The log joint has no highest point that could be found."""


Mode = Curvature | ArithmeticError


def not_finite(value: float, gradient: np.ndarray) -> str:
    """Why a climb cannot begin where the log joint has this value and gradient."""
    where = "where the guide starts"
    if np.isfinite(value):
        return f"the log joint is {value:.6g} with a gradient that is not finite {where}"
    return f"the log joint is not finite ({value}) {where}"


def positive_factor(precision: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A Cholesky factor of the precision, and its diagonal; of the nearest usable one where it is not positive."""
    banded = precision.shape[0] != precision.shape[1]
    diagonal = np.abs(precision[0] if banded else np.diag(precision))
    diagonal = np.maximum(diagonal, 1e-12 * diagonal.max() + np.finfo(float).tiny)
    root = np.sqrt(diagonal)
    if banded:
        scaled = precision / np.stack([diagonal, root * np.append(root[1:], 1.0)])
        scaled[0] = 1.0
        try:
            factor = scipy.linalg.cholesky_banded(scaled, lower=True)
        except np.linalg.LinAlgError:
            factor = np.stack([np.ones_like(root), np.zeros_like(root)])
        return factor * np.stack([root, np.append(root[1:], 1.0)]), diagonal
    scaled = precision / np.outer(root, root)
    np.fill_diagonal(scaled, 1.0)
    if not np.isfinite(scaled).all():
        raise FloatingPointError("the log joint has no finite curvature where the climb ended")
    try:
        factor = np.linalg.cholesky(scaled)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(scaled)
        factor = np.linalg.cholesky((vectors * np.maximum(np.abs(values), 1e-8)) @ vectors.T)
    return root[:, None] * factor, diagonal


def precision_by_differences(gradients: Callable[[np.ndarray], np.ndarray], location: np.ndarray) -> np.ndarray:
    """Minus the Hessian by central differences: dense, or beyond `DENSE` its tridiagonal, (..., 2, d).

    The steps are fitted to the scale of the posterior that they find.

    Args:
        gradients: From rows of locations, shape (..., rows, d), to the log joint's gradients there.
        location: Shape (..., d).
    """
    step = 1e-4 * np.maximum(1, np.abs(location))
    for _ in range(3):
        precision = differences(gradients, location, step)
        dense = location.shape[-1] <= DENSE
        diagonal = np.diagonal(precision, axis1=-2, axis2=-1) if dense else precision[..., 0, :]
        scale = 1 / np.sqrt(np.maximum(np.abs(diagonal), 1e-300))
        if np.all((step > 1e-5 * scale) & (step < 0.1 * scale)):
            break
        step = np.clip(1e-2 * scale, 1e-12, 1e12)
    return precision


def differences(gradients: Callable[[np.ndarray], np.ndarray], location: np.ndarray, step: np.ndarray) -> np.ndarray:
    """The same with given steps, shape (..., d)."""
    size = location.shape[-1]
    index = np.arange(size)
    probes = np.eye(size) if size <= DENSE else (index % 3 == np.arange(3)[:, None]).astype(float)
    shifts = probes * step[..., None, :]
    slopes = (gradients(location[..., None, :] - shifts) - gradients(location[..., None, :] + shifts)) / 2
    if size <= DENSE:
        slopes /= step[..., None]
        return (slopes + slopes.swapaxes(-1, -2)) / 2
    # A tridiagonal precision from three differences: each coordinate sees its neighbours in different ones.
    below = slopes[..., index[1:] % 3, index[:-1]] / step[..., 1:]
    below = np.concatenate([below, np.zeros_like(step[..., :1])], axis=-1)
    return np.stack([slopes[..., index % 3, index] / step, below], axis=-2)


def laplace(log_joint: LogJoint, precision: Precision, starts: np.ndarray, rounds: int = 30) -> list[Mode]:
    """Climb to the modes of several log joints of one shape, in coordinates whitened anew each round, until each is
    within 1e-8 nats. ``starts`` has shape (fits, d).

    A fit without a mode gets an error in the place of its curvature: `NoMode` where the climb ends nowhere (the log
    joint keeps rising, or curves the wrong way where it is flat), FloatingPointError where the log joint or its
    gradient is not a number at the start.
    """
    modes: list[Mode] = [NoMode("no climb was made")] * len(starts)
    locations = np.array(starts, dtype=float)
    values, gradients = log_joint(np.arange(len(starts)), locations)
    finite = np.isfinite(values) & np.isfinite(gradients).all(axis=1)
    for fit in np.flatnonzero(~finite):
        modes[fit] = FloatingPointError(not_finite(values[fit], gradients[fit]))
    climbing = np.flatnonzero(finite)
    for _ in range(rounds):
        climbing, curvatures = arrived(climbing, locations, modes, log_joint, precision)
        if not len(climbing):
            break
        locations[climbing] = climb(climbing, curvatures, log_joint)
        lost = ~(np.abs(locations[climbing]) <= 1e12).all(axis=1)
        for fit in climbing[lost]:
            modes[fit] = NoMode("the log joint keeps rising without end: the posterior may be improper")
        climbing = climbing[~lost]
    return modes


def arrived(
    climbing: np.ndarray, locations: np.ndarray, modes: list[Mode], log_joint: LogJoint, precision: Precision
) -> tuple[np.ndarray, list[Curvature]]:
    """The fits that must climb on and their curvatures; what is known of each fit goes to ``modes``."""
    if not len(climbing):
        return climbing, []
    precisions = precision(climbing, locations[climbing])
    _, gradients = log_joint(climbing, locations[climbing])
    onward, curvatures = [], []
    for fit, hessian, gradient in zip(climbing, precisions, gradients, strict=True):
        if not np.isfinite(hessian).all():
            modes[fit] = NoMode("the log joint's curvature is not finite on the way to its mode")
            continue
        curvature = Curvature(locations[fit].copy(), *positive_factor(hessian))
        modes[fit] = curvature
        if 0.5 * np.sum(curvature.whiten(gradient) ** 2) >= 1e-8:
            onward.append(fit)
            curvatures.append(curvature)
        elif is_flat(hessian[0] if curvature.banded else np.diag(hessian)):
            modes[fit] = NoMode(
                "the log joint is flat, or bends upwards, in some direction: the posterior may be improper"
            )
    return np.array(onward, dtype=int), curvatures


def is_flat(precisions: np.ndarray) -> bool:
    """Whether one of the precisions along the axes is not positive, or no more than rounding beside the others."""
    return bool(np.min(precisions) <= ROUNDING * np.max(precisions))


def climb(climbing: np.ndarray, curvatures: list[Curvature], log_joint: LogJoint) -> np.ndarray:
    """Where L-BFGS in whitened coordinates arrives: the fits climb the sum of their log joints together."""
    shape = (len(climbing), curvatures[0].location.size)

    def place(y: np.ndarray) -> np.ndarray:
        return np.stack([at.location + at.colour(step) for at, step in zip(curvatures, y, strict=True)])

    def downhill(flat: np.ndarray) -> tuple[float, np.ndarray]:
        values, gradients = log_joint(climbing, place(flat.reshape(shape)))
        if not (np.isfinite(values).all() and np.isfinite(gradients).all()):
            return 1e300, np.zeros_like(flat)
        whitened = [at.whiten(gradient) for at, gradient in zip(curvatures, gradients, strict=True)]
        return -values.sum(), -np.concatenate(whitened)

    options = {"maxiter": 20, "ftol": 0, "gtol": 1e-6}
    result = optimize.minimize(downhill, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B", options=options)
    return place(result.x.reshape(shape))
