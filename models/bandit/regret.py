"""The exact expected regret of a policy for two arms, by recursion over counts; beyond the recursion by simulation.

Regret is what the best arm would have paid in expectation less what the pulled ones do: at fixed arms, or on average
over arms from the prior (Bayes regret). Only the second has a floor: at given arms a policy that always pulls the
better one has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import interpolate, optimize

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


def crossing(ratios: np.ndarray, regret: np.ndarray) -> tuple[float, float]:
    """The sd ratio of least regret, and the one below it from which narrower draws cost more than exact ones.

    By a cubic spline in log ratio; the second is nan where there is none.
    """
    curve = interpolate.CubicSpline(np.log(ratios), regret)
    low, high = np.log(ratios[[0, -1]])
    least = optimize.minimize_scalar(curve, bounds=(low, high), method="bounded").x
    if not curve(low) > curve(0.0) > curve(least) + 1e-9 or least > 0:
        return float(np.exp(least)), float("nan")
    return float(np.exp(least)), float(np.exp(optimize.brentq(lambda x: curve(x) - curve(0.0), low, least)))


def simulated_crossing(ratios: np.ndarray, apart: np.ndarray) -> tuple[float, float]:
    """The sd ratio near ``ratios`` at which draws cost as much as exact ones, and its standard error.

    By a straight line through the mean differences of paired runs, shape (ratios, runs); the error is that of their
    level, which is all of it where the crossing is in the middle.
    """
    slope = np.polyfit(ratios, apart.mean(1), 1)[0]
    level = apart.mean(0)
    return float(ratios.mean() - level.mean() / slope), float(level.std() / len(level) ** 0.5 / abs(slope))


def simulate(arms: Sequence[float], horizon: int, ratios: Sequence[float], runs: int, seed: int) -> np.ndarray:
    """Regret of Thompson sampling under a uniform prior in simulated runs, shape (ratios, runs).

    Runs are paired: the n-th pull of an arm pays the same for every ratio.
    """
    pays = np.random.default_rng(seed).random((horizon, 2, runs), dtype=np.float32) < np.reshape(arms, (2, 1))
    regret, every = np.zeros((len(ratios), runs)), np.arange(runs)
    for number, ratio in enumerate(ratios):
        rng, k = np.random.default_rng([seed, number]), ratio**-2
        pulls, successes = np.zeros((2, 2, runs), int)
        for _ in range(horizon):
            arm = rng.beta(k * (1 + successes), k * (1 + pulls - successes)).argmax(0)
            successes[arm, every] += pays[pulls[arm, every], arm, every]
            pulls[arm, every] += 1
        regret[number] = (max(arms) - np.array(arms)) @ pulls
    return regret
