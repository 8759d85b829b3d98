"""The regret of acting on a fit: Thompson sampling from its draws, where the arms are as the exact posterior says.

An agent takes draws q for its posterior and pulls an arm with the probability that it is the best under q. After every
pull Bayes's rule reweights the draws, so that a fit that is too sure stays so for a while. Its regret over the next
pulls is exact given the draws, by recursion over counts. With a pull's policy pi, the weight that state x gives to draw
i, w_i(x), and whether arm 0 is the best in it, b_i, the regret's derivative with respect to draw i's share is

    sum_x P(x) (C_0(x) - C_1(x)) w_i(x) (b_i - pi(x)) / mean_i w_i(x),

C_k the regret to be expected after pulling arm k: so its Monte Carlo error is known too (the delta method).
"""

from __future__ import annotations

import numpy as np
from scipy import special

from models.bandit import policies
from models.bandit.data import Bandit
from models.bandit.exact import Arms, largest
from models.bandit.policies import Counts
from models.bandit.regret import World, expected_regret, posterior, reach
from models.contract import Decision, Latents

MOST_AHEAD = 50
"""Pulls ahead that regret is computed for: the states, times the draws, stay below 10^10."""


def pulls_ahead(data: Bandit) -> int:
    """The number of pulls that regret is expected over: of more than two arms the next alone."""
    return min(data.horizon, MOST_AHEAD) if len(data.pulls) == 2 else 1


def meaning(data: Bandit) -> str:
    """What the regret is, as a sentence."""
    count = pulls_ahead(data)
    over, how = ("the next pull", "") if count == 1 else (f"the next {count} pulls", ", reweighted after each pull")
    return (
        f"Expected regret over {over} by Thompson sampling from the fit's draws{how}; the arms are distributed as the "
        "exact posterior says."
    )


def likelihoods(theta: np.ndarray, horizon: int) -> list[np.ndarray]:
    """The likelihood of each number of successes in n < ``horizon`` pulls by draw, up to a constant: (n + 1, draws)."""
    tables = []
    for n in range(horizon):
        s = np.arange(n + 1)[:, None]
        logs = special.xlogy(s, theta) + special.xlog1py(n - s, -theta)
        tables.append(np.exp(logs - np.maximum(logs.max(1, keepdims=True), -700.0)))
    return tables


def costs_to_go(policy: Counts, world: World, horizon: int) -> Counts:
    """The expected regret of pulling the first arm less that of the second, in every state."""
    later = [np.zeros((n + 1, horizon - n + 1)) for n in range(horizon + 1)]
    apart: Counts = {}
    for time in reversed(range(horizon)):
        now = []
        for n in range(time + 1):
            m = time - n
            p, q = world.chance(0, n)[:, None], world.chance(1, m)
            first = world.best - p + p * later[n + 1][1:] + (1 - p) * later[n + 1][:-1]
            second = world.best - q + q * later[n][:, 1:] + (1 - q) * later[n][:, :-1]
            apart[n, m] = first - second
            now.append(second + policy[n, m] * apart[n, m])
        later = now
    return apart


def of_next_pulls(theta: np.ndarray, world: World, horizon: int) -> tuple[float, np.ndarray]:
    """The regret of two arms' draws, shape (n_draws, 2), over the next pulls, and each draw's influence, (n_draws,)."""
    is_best = np.where(theta[:, 0] == theta[:, 1], 0.5, theta[:, 0] > theta[:, 1])
    first, second = (likelihoods(arm, horizon) for arm in theta.T)
    states = [(n, m) for n in range(horizon) for m in range(horizon - n)]
    policy, mass = {}, {}
    for n, m in states:
        total = first[n] @ second[m].T
        with np.errstate(invalid="ignore"):
            policy[n, m] = np.nan_to_num((first[n] * is_best) @ second[m].T / total, nan=0.5)
        mass[n, m] = np.where(total > 0, total / len(theta), np.inf)
    apart, influence = costs_to_go(policy, world, horizon), np.zeros(len(theta))
    for time, (probabilities, _) in enumerate(reach(lambda n, m: policy[n, m], [world], horizon)):
        for n, (probability,) in enumerate(probabilities):
            m = time - n
            slope = probability * apart[n, m] / mass[n, m]
            moved = is_best * (slope @ second[m]) - (slope * policy[n, m]) @ second[m]
            influence += np.einsum("sd,sd->d", first[n], moved)
    return float(expected_regret(lambda n, m: policy[n, m], [world], horizon)[0, -1]), influence


def evaluate(data: Bandit, latents: Latents) -> tuple[float, np.ndarray]:
    """The regret of whoever acts on these draws, and each draw's influence on it, (n_draws,)."""
    exact, theta = Arms(data), latents["theta"]
    if len(data.pulls) == 2:
        return of_next_pulls(theta, posterior(exact.a, exact.b), pulls_ahead(data))
    regret = largest(exact.a[:, None], exact.b[:, None])[0] - exact.posterior.mean()[theta.argmax(axis=1)]
    return float(regret.mean()), regret - regret.mean()


def exact_regret(data: Bandit) -> float:
    """The regret of whoever acts on the exact posterior."""
    exact, horizon = Arms(data), pulls_ahead(data)
    if len(data.pulls) == 2:
        policy = policies.thompson(exact.a, exact.b, horizon)
        return float(expected_regret(policy, [posterior(exact.a, exact.b)], horizon)[0, -1])
    return float(largest(exact.a[:, None], exact.b[:, None])[0] - exact.chances() @ exact.posterior.mean())


DECISION = Decision("regret", meaning, evaluate, exact_regret)
