"""The exact expected regret of a policy for two arms, by recursion over counts.

Regret is what the best arm would have paid in expectation less what the pulled ones do: at fixed arms, or on average
over arms from the prior (Bayes regret). Only the second has a floor: at given arms a policy that always pulls the
better one has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from models.bandit import policies
from models.bandit.exact import largest
from models.bandit.policies import Policy

RATIOS = np.geomspace(0.1, 1.4, 18)
"""Sd ratios that regret is tabulated for."""


@dataclass(frozen=True)
class World:
    """How the arms pay.

    Attributes:
        best: What the best arm pays in expectation.
        chance: ``chance(arm, n)``: the probability of success after n pulls, by the successes so far, (n + 1,).
    """

    best: float
    chance: Callable[[int, int], np.ndarray]


def fixed(arms: Sequence[float]) -> World:
    """Two arms whose chances are these."""
    return World(max(arms), lambda arm, n: np.full(n + 1, arms[arm]))


def posterior(a: np.ndarray, b: np.ndarray) -> World:
    """Two arms from Beta(a_0, b_0) and Beta(a_1, b_1), each parameter (2,): a pull pays the posterior mean."""
    return World(largest(a[:, None], b[:, None])[0], lambda arm, n: policies.means(a[arm], b[arm], n))


def prior(alpha: float, beta: float) -> World:
    """Two arms from Beta(alpha, beta)."""
    return posterior(np.full(2, alpha), np.full(2, beta))


def reach(policy: Policy, worlds: Sequence[World], horizon: int) -> Iterator[tuple[list[np.ndarray], list[np.ndarray]]]:
    """Before each pull the probabilities of all counts, and the same times that of pulling the first arm.

    Both by the first arm's pulls n, each (worlds, n + 1, m + 1).
    """
    states = [np.ones((len(worlds), 1, 1))]
    chances = [np.array([[world.chance(arm, n) for world in worlds] for arm in (0, 1)]) for n in range(horizon)]
    for time in range(horizon):
        firsts = [probability * policy(n, time - n) for n, probability in enumerate(states)]
        yield states, firsts
        following = [np.zeros((len(worlds), n + 1, time - n + 2)) for n in range(time + 2)]
        for n, (probability, first) in enumerate(zip(states, firsts, strict=True)):
            second = probability - first
            paid, other = first * chances[n][0][:, :, None], second * chances[time - n][1][:, None]
            following[n + 1][:, 1:] += paid
            following[n + 1][:, :-1] += first - paid
            following[n][:, :, 1:] += other
            following[n][:, :, :-1] += second - other
        states = following


def expected_regret(policy: Policy, worlds: Sequence[World], horizon: int) -> np.ndarray:
    """The regret after 1, ..., ``horizon`` pulls, exact, by the probabilities of all counts: (worlds, horizon)."""
    regret = np.tile([[world.best] for world in worlds], horizon)
    for time, parts in enumerate(reach(policy, worlds, horizon)):
        for n, (probability, first) in enumerate(zip(*parts, strict=True)):
            for place, world in enumerate(worlds):
                regret[place, time] -= first[place].sum(1) @ world.chance(0, n)
                regret[place, time] -= (probability[place] - first[place]).sum(0) @ world.chance(1, time - n)
    return np.cumsum(regret, axis=1)


def standard_policies(alpha: float, beta: float, horizon: int) -> dict[str, Policy]:
    """The policies that are compared, by name."""
    thompson = {
        f"Thompson, {text}": policies.thompson(alpha, beta, horizon, ratio)
        for text, ratio in (("exact posterior", 1.0), ("sd ratio 0.866", 0.75**0.5), ("sd ratio 0.5", 0.5))
    }
    return thompson | {
        "greedy, ties at random": policies.greedy(alpha, beta),
        "greedy, ties to the first": policies.greedy(alpha, beta, 1.0),
        "epsilon-greedy, 0.1": policies.epsilon_greedy(alpha, beta),
        "random": policies.uniform,
        "Bayes-optimal": policies.optimal(alpha, beta, horizon),
    }


def by_ratio(alpha: float, beta: float, horizon: int, worlds: Sequence[World], ratios: np.ndarray) -> np.ndarray:
    """Regret of Thompson sampling for each sd ratio, world and number of pulls: (ratios, worlds, horizon)."""
    return np.array(
        [expected_regret(policies.thompson(alpha, beta, horizon, ratio), worlds, horizon) for ratio in ratios]
    )
