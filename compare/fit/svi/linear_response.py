"""How the means of a mean-field optimum respond when the log joint is tilted: the covariance they imply.

With H the Hessian of -ELBO in the locations and log scales, the locations' block of H^-1 is d location / dt of the
optimum under the tilt t'z, an estimate of the posterior's covariance (Giordano, Broderick & Jordan 2018, section 3).
Expectations are taken over matched draws, at which a Gaussian posterior's H has no error.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from compare.fit.svi.draws import matched
from compare.fit.svi.ensemble import Outcome, n_rows
from compare.fit.svi.protocol import Objective
from guides.contract import Parameters

ENOUGH = 0.005
"""Relative Monte Carlo error of every sd at which no more batches are drawn."""

FIRST, MOST = 4, 32
"""Batches of draws that the Hessian is measured with, at first and at most."""

STEP = 1e-3
"""Step of the central differences, in sds of mean field, and in logs of these sds."""


@dataclass(frozen=True)
class Response:
    """The covariance of the unconstrained latents, as mean field's optimum implies it.

    Attributes:
        covariance: Shape (d, d).
        error: The largest relative Monte Carlo error of its sds.
        gradients: The gradient evaluations that it took.
    """

    covariance: np.ndarray
    error: float
    gradients: int


def response(objective: Objective, parameters: Parameters, data: object, seed: int, deadline: float) -> Response:
    """The linear response of mean field at its optimum, by its own ``objective``.

    Args:
        objective: Mean field's.
        parameters: Its optimum, ``location`` and ``scale``, each of shape (d,).
        data: In the library's own form.
        seed: Of the draws.
        deadline: When to stop, by `time.perf_counter`.

    Raises:
        FloatingPointError: -ELBO does not curve upwards in every direction there.
        TimeoutError: there was no time for the Hessian.
    """
    rng, scale = np.random.default_rng([seed, 6]), parameters["scale"]
    rows, count = n_rows(scale.size), FIRST
    hessians: list[np.ndarray] = []
    while True:
        try:
            while len(hessians) < count:
                hessians.append(hessian(objective, parameters, matched(rng, rows, scale.size), data, deadline))
        except TimeoutError:
            if len(hessians) < FIRST:
                raise
        inverse, error = inverted(np.stack(hessians))
        if error <= ENOUGH or count >= MOST or time.perf_counter() > deadline:
            break
        count *= 2
    covariance = inverse[: scale.size, : scale.size] * np.outer(scale, scale)
    return Response(covariance, error, 4 * scale.size * rows * len(hessians))


def hessian(
    objective: Objective, parameters: Parameters, draws: np.ndarray, data: object, deadline: float
) -> np.ndarray:
    """The Hessian of -ELBO at these draws in (location / scale, log scale), shape (2 d, 2 d)."""
    location, scale = parameters["location"], parameters["scale"]

    def slope(shift: np.ndarray) -> np.ndarray:
        step, stretch = np.split(shift, 2)
        there = {"location": location + scale * step, "scale": scale * np.exp(stretch)}
        total = objective.evaluate(there, draws, data).total
        return np.concatenate([scale * total["location"], there["scale"] * total["scale"]])

    rows = []
    for axis in STEP * np.eye(2 * scale.size):
        if time.perf_counter() > deadline:
            raise TimeoutError("its budget ended before the curvature was known; give it a larger --budget")
        rows.append((slope(axis) - slope(-axis)) / (2 * STEP))
    matrix = np.stack(rows)
    return (matrix + matrix.T) / 2


def inverted(hessians: np.ndarray) -> tuple[np.ndarray, float]:
    """The inverse of the mean of Hessians, shape (batches, 2 d, 2 d), and the largest relative error of the sds.

    The errors are those of the inverse's diagonal by the delta method, d(H^-1) = -H^-1 dH H^-1.

    Raises:
        FloatingPointError: the mean is not positive definite.
    """
    mean, latents = hessians.mean(axis=0), hessians.shape[1] // 2
    if not np.isfinite(mean).all() or np.linalg.eigvalsh(mean).min() <= 0:
        raise FloatingPointError(
            "mean field's -ELBO does not curve upwards in every direction where it ended: it has no linear response"
        )
    inverse = np.linalg.inv(mean)
    shares = np.einsum("ij,bjk,ki->bi", inverse[:latents], hessians - mean, inverse[:, :latents], optimize=True)
    errors = shares.std(axis=0, ddof=1) / np.sqrt(len(hessians)) / (2 * np.diag(inverse)[:latents])
    return inverse, float(errors.max())


def respond(objective: Objective, data: object, fit: Outcome, seed: int, deadline: float) -> Outcome:
    """Where mean field ended, with the covariance of its response in full rank's parameters.

    Its gap is mean field's: the locations fall short by the same, and the covariance is known to `ENOUGH`.

    Raises:
        FloatingPointError: mean field could not begin, or has no response where it ended.
        TimeoutError: there was no time for the Hessian.
    """
    if fit.failed:
        raise FloatingPointError(fit.reason)
    implied = response(objective, fit.parameters, data, seed, deadline)
    reason = f"mean field, whose response it is: {fit.reason}" if fit.reason else None
    if fit.converged and implied.error > ENOUGH:
        reason = (
            f"its sds are known to {implied.error:.1%} only (target {ENOUGH:.1%}), from {MOST} batches of draws at "
            "most, or as many as its --budget allowed"
        )
    parameters = {"location": fit.parameters["location"], "scale_tril": np.linalg.cholesky(implied.covariance)}
    gradients = fit.gradients + implied.gradients
    history = [
        (spent, {"location": before["location"], "scale_tril": np.diag(before["scale"])})
        for spent, before in fit.history
    ]
    return Outcome(parameters, fit.gap, reason is None, reason, gradients, [*history, (gradients, parameters)])
