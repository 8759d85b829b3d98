"""What others published of logistic regressions: the O-rings' least risk, and the order of the bounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from models.contract import Published
from models.literature import printed
from models.logistic.data import LogisticData
from models.logistic.exact import LogJoint
from models.logistic.gaussians import best_member, bound


def published(data: LogisticData, summary: Mapping[str, Any]) -> list[Published]:
    """The O-rings' fit whatever the data, and the bounds on the evidence of the data given."""
    return [challenger(), bounds(data)]


def challenger() -> Published:
    """The maximum of the likelihood: the mode under a prior so wide that it says nothing."""
    data = LogisticData()
    target = LogJoint(data)
    target.prior_sd = 1e8
    against = np.linalg.inv(target.precision(curvature(target, target.mode)))
    slope = target.mode[1] / data.design.spread[0]
    intercept = target.mode[0] - slope * data.design.centre[0]
    back = np.array([1.0, -data.design.centre[0] / data.design.spread[0]])
    errors = float(np.sqrt(back @ against @ back)), float(np.sqrt(against[1, 1]) / data.design.spread[0])
    return printed(
        "maximum likelihood on the O-rings: intercept and slope per degree Fahrenheit, and their standard errors",
        "Robert & Casella 2004, Monte Carlo Statistical Methods (2nd edition), example 1.13",
        "15.043, -0.232; 7.38, 0.108",
        float(intercept),
        float(slope),
        *errors,
    )


def curvature(target: LogJoint, values: np.ndarray) -> np.ndarray:
    against = 1 / (1 + np.exp(target.signed @ values))
    return against * (1 - against)


def bounds(data: LogisticData) -> Published:
    """Jaakkola and Jordan's bound, the ELBO of their Gaussian, and the best Gaussian's, in ascending order."""
    lowest, middle, highest = bound(data), best_member(data, "jaakkola_jordan"), best_member(data, "full_rank")
    assert middle is not None and highest is not None
    values = lowest, middle.elbo, highest.elbo
    return Published(
        "the bound is below the ELBO of its own Gaussian, and that below the best Gaussian's",
        "Jaakkola & Jordan 2000, Bayesian parameter estimation via variational methods",
        "bound <= ELBO of its Gaussian <= best ELBO",
        " <= ".join(f"{value:.6f}" for value in values) + " nats",
        bool(values[0] <= values[1] + 1e-8 and values[1] <= values[2] + 1e-8),
    )
