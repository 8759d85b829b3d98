"""Gaussians near the posterior of `models.logits`: their ELBO, and the best of each family.

Under a Gaussian every row's logit is one Gaussian number, so that the ELBO is a sum of one-dimensional integrals
(Opper & Archambeau 2009, The variational Gaussian approximation revisited). It is concave, and at its maximum

    gradient of E_q[log p] = 0        precision = prior's + sum_i E_q[s'(logit_i)] x_i x_i',

s the logistic function; of mean field only the precision's diagonal counts.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy import special

from models.contract import Best
from models.logits import Logits

NODES = np.linspace(-10, 10, 401)
WEIGHTS = np.exp(-0.5 * NODES**2) / np.exp(-0.5 * NODES**2).sum()
"""The trapezoid rule on a standard normal: exact to rounding while logits have sds below 10."""


def logits(target: Logits, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Every row's signed logit at the nodes, shape (rows, nodes)."""
    spread = np.sqrt(target.left_over + np.einsum("ij,jk,ik->i", target.signed, covariance, target.signed))
    return (target.signed @ mean)[:, None] + spread[:, None] * NODES


def elbo(target: Logits, mean: np.ndarray, covariance: np.ndarray) -> float:
    """The ELBO of a Gaussian, in nats."""
    likelihood = target.counts @ (special.log_expit(logits(target, mean, covariance)) @ WEIGHTS)
    scale = target.prior_sd
    prior = 0.5 * (mean @ mean + np.trace(covariance)) / scale**2 + len(mean) * math.log(scale)
    return float(likelihood - prior + 0.5 * (np.linalg.slogdet(covariance)[1] + len(mean)))


def best_gaussian(target: Logits, diagonal: bool) -> tuple[np.ndarray, np.ndarray]:
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


@lru_cache(maxsize=4)
def best_of_family(target: Logits, family: str) -> Best | None:
    """The best Gaussian over w; None for any other family than mean field and full rank."""
    if family not in ("mean_field", "full_rank"):
        return None
    mean, covariance = best_gaussian(target, family == "mean_field")
    parameters = {"location": mean}
    if family == "mean_field":
        parameters["scale"] = np.sqrt(np.diagonal(covariance))
    else:
        parameters["scale_tril"] = np.linalg.cholesky(covariance)
    method = "fixed point of the ELBO, each row's logit by quadrature"
    return Best(elbo(target, mean, covariance), 1e-8, method, parameters)
