"""Gaussians near the posterior: the best of each family, and Jaakkola and Jordan's by coordinate ascent.

Under a Gaussian every row's logit is one Gaussian number, so that the ELBO is a sum of one-dimensional integrals
(Opper & Archambeau 2009, The variational Gaussian approximation revisited). It is concave, and at its maximum

    gradient of E_q[log p] = 0        precision = prior's + sum_i E_q[s'(logit_i)] x_i x_i',

s the logistic function; of mean field only the precision's diagonal counts. Jaakkola & Jordan 2000 (Bayesian parameter
estimation via variational methods) bound each row's likelihood by a Gaussian instead, which makes all updates closed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from scipy import special

from models.contract import Best, CoordinateAscent, Latents
from models.designs import coefficients, sites
from models.logistic.data import LogisticData
from models.logistic.exact import LOG_2PI, LogJoint

NODES = np.linspace(-10, 10, 401)
WEIGHTS = np.exp(-0.5 * NODES**2) / np.exp(-0.5 * NODES**2).sum()
"""The trapezoid rule on a standard normal: exact to rounding while logits have sds below 10."""

State = Mapping[str, np.ndarray]


def logits(target: LogJoint, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Every row's signed logit at the nodes, shape (rows, nodes)."""
    spread = np.sqrt(np.einsum("ij,jk,ik->i", target.signed, covariance, target.signed))
    return (target.signed @ mean)[:, None] + spread[:, None] * NODES


def elbo(target: LogJoint, mean: np.ndarray, covariance: np.ndarray) -> float:
    """The ELBO of a Gaussian, in nats."""
    likelihood = target.counts @ (special.log_expit(logits(target, mean, covariance)) @ WEIGHTS)
    scale = target.prior_sd
    prior = 0.5 * (mean @ mean + np.trace(covariance)) / scale**2 + len(mean) * math.log(scale)
    return float(likelihood - prior + 0.5 * (np.linalg.slogdet(covariance)[1] + len(mean)))


def best_gaussian(target: LogJoint, diagonal: bool) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the best Gaussian, or the best factorised one; damped where a step does not rise."""
    mean, covariance = target.mode, target.covariance
    if diagonal:
        covariance = np.diag(1 / np.diagonal(np.linalg.inv(covariance)))
    height = elbo(target, mean, covariance)
    for _ in range(500):
        against = special.expit(-logits(target, mean, covariance))
        precision = target.precision((against * (1 - against)) @ WEIGHTS)
        gradient = (target.counts * (against @ WEIGHTS)) @ target.signed - mean / target.prior_sd**2
        goal = np.diag(np.diagonal(precision)) if diagonal else precision
        step, before, share = np.linalg.solve(precision, gradient), np.linalg.inv(covariance), 1.0
        while True:
            there = mean + share * step, np.linalg.inv(before + share * (goal - before))
            higher = elbo(target, *there)
            if higher >= height or share < 1e-6:
                break
            share /= 2
        settled = gradient @ step < 1e-20 and np.abs(goal @ covariance - np.eye(len(mean))).max() < 1e-9
        mean, covariance, height = *there, higher
        if settled:
            break
    return mean, covariance


def best_member(data: LogisticData, family: str) -> Best | None:
    """The best Gaussian of a family, and where the updates of Jaakkola and Jordan end."""
    if family not in ("mean_field", "full_rank", "jaakkola_jordan"):
        return None
    target = LogJoint(data)
    if family == "jaakkola_jordan":
        state = Updates(data).settled()
        return Best(elbo(target, state["mean"], state["covariance"]), 1e-8, "its updates, run until they rest", {})
    mean, covariance = best_gaussian(target, family == "mean_field")
    parameters = {"location": mean}
    if family == "mean_field":
        parameters["scale"] = np.sqrt(np.diagonal(covariance))
    else:
        parameters["scale_tril"] = np.linalg.cholesky(covariance)
    method = "fixed point of the ELBO, each row's logit by quadrature"
    return Best(elbo(target, mean, covariance), 1e-8, method, parameters)


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
        return sites(state["mean"] + eps @ np.linalg.cholesky(state["covariance"]).T)

    def log_guide(self, state: State, latents: Latents) -> np.ndarray:
        root = np.linalg.cholesky(state["covariance"])
        eps = np.linalg.solve(root, (coefficients(latents) - state["mean"]).T)
        return -0.5 * np.sum(eps**2, axis=0) - np.log(np.diagonal(root)).sum() - 0.5 * len(root) * LOG_2PI


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
