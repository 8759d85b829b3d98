"""What the founding text says about its chain, checked by computing it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from models.chain.exact import GaussianChain
from models.contract import Claim

if TYPE_CHECKING:
    from models.chain.data import Chain

__all__ = ["claims"]


def optimum(data: Chain, node: int, other: float) -> tuple[float, float]:
    """The best mean and variance of q(z_node) while the other node's mean is ``other``.

    The expected log joint is a parabola in z_node, up to a constant: three values of the log joint give it exactly.
    """
    exact = GaussianChain(data)
    z = np.full((3, 2), other)
    z[:, node] = -1.0, 0.0, 1.0
    low, middle, high = exact.log_joint({"z": z})
    precision = 2 * middle - low - high
    return (high - low) / (2 * precision), 1 / precision


def update(data: Chain, node: int) -> tuple[float, float, float]:
    """a, b and the variance of node's coordinate update: mean = a * (the other mean) + b * x."""
    still, driven = dataclasses.replace(data, x=0.0), dataclasses.replace(data, x=1.0)
    at_rest, variance = optimum(still, node, 0.0)
    return optimum(still, node, 1.0)[0] - at_rest, optimum(driven, node, 0.0)[0] - at_rest, variance


def fixed_point(first: tuple[float, float], second: tuple[float, float], x: float) -> np.ndarray:
    """Where the pair mean_1 = a mean_2 + b x, mean_2 = c mean_1 + d x comes to rest."""
    matrix = np.array([[1.0, -first[0]], [-second[0], 1.0]])
    return np.linalg.solve(matrix, x * np.array([first[1], second[1]]))


def pair(values: np.ndarray) -> str:
    return "(" + ", ".join(f"{value:.4g}" for value in values) + ")"


def claims(data: Chain) -> list[Claim]:
    """The text's statements about its chain of two nodes with the last one seen; none for other chains."""
    if data.length != 2 or data.observe != "last":
        return []
    exact, x = GaussianChain(data), data.x[0]
    z = {"z": np.random.default_rng(0).normal(x, 1.0, (16, 2))}
    evidence = exact.log_joint(z) - exact.log_posterior(z)
    closed = np.allclose(evidence, exact.log_evidence, rtol=1e-10)  # one number for every z: Bayes' theorem holds
    covariance = " ".join(pair(row) for row in exact.covariance())

    first, second = update(data, 0), update(data, 1)
    text = (0.5, 0.5)
    printed, right = fixed_point(text, text, x), fixed_point(first[:2], second[:2], x)
    variances = np.array([first[2], second[2]])

    def formula(coefficients: tuple[float, ...], target: str, other: str) -> str:
        terms = [(f"{value:.4g}", name) for value, name in zip(coefficients, (other, "x"), strict=True)]
        return f"{target} = " + " + ".join(f"{value} {name}" for value, name in terms if float(value))

    return [
        Claim(
            "the chain's posterior is intractable",
            f"Gaussian: mean {pair(exact.location)}, covariance {covariance}, log p(x) = {exact.log_evidence:.6g}",
            not closed,
        ),
        Claim(
            "coordinate update mu1 = (mu2 + x)/2",
            f"{formula(first[:2], 'mu1', 'mu2')}; the text's pair walks to {pair(printed)} instead of {pair(right)}",
            bool(np.allclose(first[:2], text, atol=1e-9)),
        ),
        Claim(
            "coordinate update mu2 = (mu1 + x)/2",
            formula(second[:2], "mu2", "mu1"),
            bool(np.allclose(second[:2], text, atol=1e-9)),
        ),
        Claim(
            "mean-field variances sigma1^2 = sigma2^2 = 1/2",
            float(variances.mean()) if np.isclose(*variances) else pair(variances),
            bool(np.allclose(variances, 0.5, atol=1e-9)),
        ),
    ]
