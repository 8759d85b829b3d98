"""Policies for two Bernoulli arms: the probability of pulling the first arm in every state of the counts.

A `Policy` takes how often each arm was pulled, n and m, and gives the probabilities for all successes of each, shape
(n + 1, m + 1). An arm with s successes in n pulls has the posterior Beta(alpha + s, beta + n - s).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from models.bandit.exact import masses, nodes

Policy = Callable[[int, int], np.ndarray]

Counts = dict[tuple[int, int], np.ndarray]
"""A number for each state, by n and m, each (n + 1, m + 1)."""

TIE = 1e-12
"""Values closer than this are equal: they are rational numbers of small denominators."""


def parameters(alpha: float, beta: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The posterior's parameters after n pulls, by the successes, each (n + 1,)."""
    s = np.arange(n + 1)
    return alpha + s, beta + n - s


def means(alpha: float, beta: float, n: int) -> np.ndarray:
    """The posterior means after n pulls, by the successes, (n + 1,)."""
    return parameters(alpha, beta, n)[0] / (alpha + beta + n)


def thompson(alpha: ArrayLike, beta: ArrayLike, horizon: int, ratio: float = 1.0) -> Policy:
    """Thompson sampling from Beta(k a, k b) in place of the posterior Beta(a, b), k = 1 / ratio^2.

    For many counts ``ratio`` is the sd of what is drawn over the posterior's; at 1 the draws are the posterior's.
    The prior's parameters are one for both arms or two. P(first > second) is a trapezoid sum on the logit, to about
    1e-10.
    """
    k = ratio**-2
    priors = zip(np.broadcast_to(alpha, 2), np.broadcast_to(beta, 2), strict=True)
    every = [[tuple(k * values for values in parameters(*prior, n)) for n in range(horizon)] for prior in priors]
    logits, step = nodes(*(np.concatenate(values) for values in zip(*every[0], *every[1], strict=True)))
    theta = special.expit(logits)
    weights = [masses(a[:, None], b[:, None], logits, step) for a, b in every[0]]
    below = [special.betainc(a[:, None], b[:, None], theta) for a, b in every[1]]
    return lambda n, m: weights[n] @ below[m].T


def prefer(first: np.ndarray, second: np.ndarray, ties: float) -> np.ndarray:
    """1 where the first value is larger, 0 where it is smaller, ``ties`` where they are equal."""
    return np.where(np.abs(first - second) < TIE, ties, first > second)


def greedy(alpha: float, beta: float, ties: float = 0.5) -> Policy:
    """The arm with the larger posterior mean; of equal ones the first with probability ``ties``."""
    return lambda n, m: prefer(means(alpha, beta, n)[:, None], means(alpha, beta, m), ties)


def uniform(n: int, m: int) -> np.ndarray:
    """Either arm, whatever was seen."""
    return np.full((n + 1, m + 1), 0.5)


def epsilon_greedy(alpha: float, beta: float, epsilon: float = 0.1) -> Policy:
    """With probability epsilon either arm, else the greedy one."""
    best = greedy(alpha, beta)
    return lambda n, m: epsilon * uniform(n, m) + (1 - epsilon) * best(n, m)


def optimal(alpha: float, beta: float, horizon: int) -> Policy:
    """The policy with the most successes to be expected until the horizon, by dynamic programming from its end."""
    later = [np.zeros((n + 1, horizon - n + 1)) for n in range(horizon + 1)]
    choices: Counts = {}
    for time in reversed(range(horizon)):
        now = []
        for n in range(time + 1):
            m = time - n
            p, q = means(alpha, beta, n)[:, None], means(alpha, beta, m)
            first = p * (1 + later[n + 1][1:]) + (1 - p) * later[n + 1][:-1]
            second = q * (1 + later[n][:, 1:]) + (1 - q) * later[n][:, :-1]
            choices[n, m] = prefer(first, second, 0.5).astype(np.float32)
            now.append(np.maximum(first, second))
        later = now
    return lambda n, m: choices[n, m]
