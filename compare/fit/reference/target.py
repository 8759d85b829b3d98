"""The interface through which the search for modes, quadrature and importance sampling see a posterior."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from compare.messages import one_line

__all__ = [
    "SHARE",
    "OutOfTime",
    "Refused",
    "Target",
    "UnboundedDensity",
    "evaluate",
    "evaluate_gradient",
    "quantities_of",
    "why_not",
]

CHUNK = 16_384
"""Points evaluated between two looks at the clock."""

SHARE = 8
"""A method that may be refused gets 1 / `SHARE` of the reference's budget, and twice that once it is likely to be
accepted."""


class OutOfTime(RuntimeError):
    """The deadline has passed."""


class Refused(ValueError):
    """A method cannot be trusted here; the message says why."""


class UnboundedDensity(ValueError):
    """The log density is +inf somewhere, so there is no posterior to integrate."""


def why_not(error: Exception, seconds: float) -> str:
    """Why a method gave no result in the seconds it had, in one line.

    Raises:
        KeyboardInterrupt: it came while a library was calling back into Python.
    """
    if isinstance(error, OutOfTime):
        return f"it is not done within {seconds:.3g} s, its share of --reference-budget"
    if isinstance(error, Refused | UnboundedDensity):
        return str(error)
    if "KeyboardInterrupt" in str(error):
        raise KeyboardInterrupt from error
    return one_line(error)


@dataclass(frozen=True)
class Target:
    """A posterior up to its normalising constant, in the unconstrained space.

    Attributes:
        dimension: Number d of unconstrained coordinates.
        log_joint: Maps points (n, d) to log p(x, z) + log |Jacobian|, shape (n,), in nats; -inf and NaN are allowed.
        value_and_gradient: Maps points (n, d) to log_joint (n,) and its gradient (n, d).
        prior_draws: Draws from the prior in the unconstrained space, shape (m, d); None where it cannot be drawn from.
        quantities: Maps points (n, d) to the quantities that are judged (n, k), usually the constrained latents; None
            for the coordinates themselves.
        deadline: When evaluations end, by `time.perf_counter`.
        extended: When they end for a method that is nearly certain to be accepted; None for the same time.
    """

    dimension: int
    log_joint: Callable[[np.ndarray], np.ndarray]
    value_and_gradient: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    prior_draws: np.ndarray | None = field(default=None, repr=False)
    quantities: Callable[[np.ndarray], np.ndarray] | None = None
    deadline: float = np.inf
    extended: float | None = None


def check_time(target: Target) -> None:
    """Raise `OutOfTime` after the deadline."""
    if time.perf_counter() > target.deadline:
        raise OutOfTime


def evaluate(target: Target, points: np.ndarray) -> np.ndarray:
    """The log joint of points (n, d) in nats, shape (n,), with -inf for NaN.

    Raises:
        UnboundedDensity: Where the log joint is +inf; bound the scale parameter whose value runs to 0.
        OutOfTime: After the deadline.
    """
    pieces = []
    for chunk in np.split(points, range(CHUNK, len(points), CHUNK)):
        check_time(target)
        with np.errstate(all="ignore"):
            pieces.append(np.asarray(target.log_joint(chunk), float))
    values = np.concatenate(pieces)
    if np.any(values == np.inf):
        where = np.array2string(points[np.argmax(values == np.inf)], precision=4)
        raise UnboundedDensity(f"the log joint is +inf at the unconstrained point {where}")
    return np.where(np.isnan(values), -np.inf, values)


def evaluate_gradient(target: Target, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The log joint (n,) and its gradient (n, d); where either is not finite, -inf and a gradient of 0.

    Raises:
        UnboundedDensity: Where the log joint is +inf.
        OutOfTime: After the deadline.
    """
    check_time(target)
    with np.errstate(all="ignore"):
        values, gradients = (np.asarray(part, float) for part in target.value_and_gradient(points))
    if np.any(values == np.inf):
        raise UnboundedDensity("the log joint is +inf at a point that the optimiser reached")
    finite = np.isfinite(values) & np.isfinite(gradients).all(1)
    return np.where(finite, values, -np.inf), np.where(finite[:, None], gradients, 0.0)


def quantities_of(target: Target, points: np.ndarray) -> np.ndarray:
    """The judged quantities at points (n, d), shape (n, k)."""
    if target.quantities is None:
        return points
    with np.errstate(all="ignore"):
        return np.asarray(target.quantities(points), float)
