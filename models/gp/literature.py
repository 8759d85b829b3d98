"""What others published of Gaussian process regression, its sparse approximation, and mean field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from models.contract import Published
from models.gp import classes
from models.gp.data import GpData
from models.gp.exact import LOG_2PI, GaussianProcess
from models.gp.inducing import SparseRegression
from models.gp.placement import placed
from models.literature import by_formula, mean_field_cost

RATES = "Burt, Rasmussen & van der Wilk 2019, Rates of convergence for sparse variational GP regression (ICML)"
DEFAULT_POINTS = 10


def published(data: GpData, summary: Mapping[str, Any]) -> list[Published]:
    """The evidence, the price of mean field, and bounds on the gap of inducing points.

    Where length and noise are unknown, all is said of the process with those that are given.
    """
    if not data.is_normal:
        return classes.published(data)
    exact = GaussianProcess(data)
    cost = [mean_field_cost(exact.divergence(exact.site), summary)] if data.is_known else []
    return [evidence(data, exact), *cost, *bounds(data)]


def evidence(data: GpData, exact: GaussianProcess) -> Published:
    """Without the factors that the exact posterior uses."""
    inputs, y = data.design.inputs, data.design.targets
    noisy = data.covariance(inputs, inputs) + (data.jitter * data.variance + data.noise**2) * np.eye(len(y))
    value = -0.5 * (y @ np.linalg.solve(noisy, y) + np.linalg.slogdet(noisy)[1] + len(y) * LOG_2PI)
    claim, source = (
        "the log evidence given length and noise",
        "Rasmussen & Williams 2006, Gaussian Processes for Machine Learning, eq. 2.30",
    )
    formula = "-(y' K_y^-1 y + log|K_y| + n log 2 pi) / 2"
    return by_formula(claim, source, formula, float(value), exact.log_evidence, 1e-9 + exact.tolerance)


def bounds(data: GpData) -> list[Published]:
    """The gap of inducing points between its bounds, for these targets and on average over targets from the prior."""
    count, placement = min(DEFAULT_POINTS, data.distinct), data.placements[0]
    if data.inducing:
        count, placement = data.inducing, data.placement
    sparse = SparseRegression(data, placed(data, count, placement).places)
    y, factor, variance, eye = data.design.targets, sparse.exact.factor, data.noise**2, np.eye(len(data.design.targets))
    low_rank = sparse.across.T @ sparse.across
    left = factor @ factor.T - low_rank
    trace, largest = float(sparse.left_over.sum()), float(np.linalg.eigvalsh(left)[-1])
    ceiling = 0.5 / variance * (trace + largest * (y @ y) / (largest + variance))
    gap, points = sparse.exact.log_evidence - sparse.bound(), f"{len(sparse.places)} inducing points"
    ratio = np.linalg.solve(low_rank + variance * eye, left)  # Sigma_Q^-1 Sigma - I
    average = 0.5 * float(np.trace(ratio) - np.linalg.slogdet(eye + ratio)[1] + trace / variance)
    share = average / (0.5 * trace / variance)
    return [
        Published(
            f"the gap of {points} is at most (t + l |y|^2 / (l + s^2)) / (2 s^2), t trace and l largest eigenvalue of "
            "what they leave of the kernel",
            f"{RATES}; by formula",
            f"at most {ceiling:.6g} nats",
            f"{gap:.6g} nats",
            bool(gap <= ceiling * (1 + 1e-9)),
        ),
        Published(
            f"over targets from the model the gap of {points} is on average from 1 to 2 times t / (2 s^2)",
            RATES,
            "1 to 2",
            f"{share:.6f} (by formula)",
            bool(1 - 1e-6 <= share <= 2 + 1e-6),
        ),
    ]
