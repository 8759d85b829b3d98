"""Jaakkola and Jordan's Gaussian by coordinate ascent, and the best of each family.

Jaakkola & Jordan 2000 (Bayesian parameter estimation via variational methods) bound each row's likelihood by a
Gaussian, which makes all updates closed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from scipy import special, stats

from models.contract import Best, CoordinateAscent, Latents
from models.logistic.data import LogisticData
from models.logistic.exact import LogJoint
from models.logit_gaussians import best_of_family, elbo

State = Mapping[str, np.ndarray]


def best_member(data: LogisticData, family: str) -> Best | None:
    """The best Gaussian of a family, and where the updates of Jaakkola and Jordan end."""
    if family != "jaakkola_jordan":
        return best_of_family(LogJoint(data), family)
    state = Updates(data).settled()
    return Best(elbo(LogJoint(data), state["mean"], state["covariance"]), 1e-8, "its updates, run until they rest", {})


class Updates:
    """Jaakkola and Jordan's updates: of the Gaussian given each row's bound, and of the bounds given the Gaussian."""

    def __init__(self, data: LogisticData) -> None:
        self.target = LogJoint(data)
        self.pull = 0.5 * self.target.counts @ self.target.signed

    def start(self) -> dict[str, np.ndarray]:
        size = self.target.size
        return {"mean": np.zeros(size), "covariance": self.target.prior_sd**2 * np.eye(size)}

    def touching(self, state: State) -> np.ndarray:
        """Where each row's bound touches its likelihood: the root of the logit's second moment, shape (rows,)."""
        second = state["covariance"] + np.outer(state["mean"], state["mean"])
        return np.sqrt(np.einsum("ij,jk,ik->i", self.target.signed, second, self.target.signed))

    def sweep(self, state: State) -> Iterator[dict[str, np.ndarray]]:
        xi = self.touching(state)
        covariance = np.linalg.inv(self.target.precision(np.tanh(xi / 2) / (2 * xi)))
        yield {"mean": covariance @ self.pull, "covariance": covariance}

    def settled(self) -> dict[str, np.ndarray]:
        state = self.start()
        for _ in range(2000):
            (after,) = self.sweep(state)
            moved = max(float(np.abs(after[name] - state[name]).max()) for name in after)
            state = after
            if moved < 1e-13:
                break
        return state

    def elbo(self, state: State) -> float:
        return elbo(self.target, state["mean"], state["covariance"])

    def draw(self, state: State, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        eps = rng.standard_normal((count, len(state["mean"])))
        return self.target.sites(state["mean"] + eps @ np.linalg.cholesky(state["covariance"]).T)

    def log_guide(self, state: State, latents: Latents) -> np.ndarray:
        gaussian = stats.multivariate_normal(state["mean"], state["covariance"])
        return np.atleast_1d(gaussian.logpdf(self.target.coefficients(latents)))


def bound(data: LogisticData) -> float:
    """Jaakkola and Jordan's bound on the log evidence where their updates rest, in nats."""
    updates = Updates(data)
    state, target = updates.settled(), updates.target
    xi = updates.touching(state)
    rows = target.counts @ (special.log_expit(xi) - xi / 2 + np.tanh(xi / 2) * xi / 4)
    prior = len(state["mean"]) * math.log(target.prior_sd)
    mean, covariance = state["mean"], state["covariance"]
    return float(rows + 0.5 * mean @ np.linalg.solve(covariance, mean) + 0.5 * np.linalg.slogdet(covariance)[1] - prior)


def coordinate_ascent(data: LogisticData) -> dict[str, Any]:
    """Jaakkola and Jordan's updates. The ELBO shown is their Gaussian's own; their bound is lower."""
    way = Updates(data)
    steps = way.sweep, way.elbo, way.draw, way.log_guide
    title = "coordinate ascent on Jaakkola and Jordan's bound"
    return {"coordinate_ascent": CoordinateAscent(title, way.start(), *steps, "jaakkola_jordan")}
