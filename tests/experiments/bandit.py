"""Print the regret of policies under a uniform prior.

python -m tests.experiments.bandit              # all policies, after 100 pulls
python -m tests.experiments.bandit ratios       # where narrowness starts to cost
python -m tests.experiments.bandit simulate     # the same after 1,500 pulls
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np
from scipy import interpolate, optimize, special

from models.bandit import policies
from models.bandit.policies import Policy
from models.bandit.regret import RATIOS, World, by_ratio, expected_regret, fixed, prior, standard_policies
from models.logit_normal import best_logit_normal

ARMS = (0.5, 0.7)
WORLDS: Mapping[str, World] = {"arms 0.5,0.7": fixed(ARMS), "arms from the prior": prior(1.0, 1.0)}


def print_policies(horizon: int = 100) -> None:
    """Print the regret of every policy, with the best Gaussian's."""
    every = standard_policies(1.0, 1.0, horizon) | {"Thompson, logit-normal": logit_normal(1.0, 1.0, horizon)}
    print(f"{'after ' + str(horizon) + ' pulls':<27}  arms 0.5,0.7  arms from the prior")
    for name, policy in every.items():
        at_arms, bayes = expected_regret(policy, list(WORLDS.values()), horizon)[:, -1]
        print(f"{name:<27}{at_arms:14.4f}{bayes:21.4f}")


def print_ratios(horizons: Sequence[int] = (25, 50, 75, 100)) -> None:
    """Print where narrower draws start to cost; beside them the greedy policy, whose draws have no sd."""
    worlds = list(WORLDS.values())
    regret = by_ratio(1.0, 1.0, max(horizons), worlds, RATIOS)
    greedy = expected_regret(policies.greedy(1.0, 1.0), worlds, max(horizons))
    print("                     pulls  exact draws  least regret  at sd ratio  costs below  greedy")
    for place, name in enumerate(WORLDS):
        for horizon in horizons:
            values = regret[:, place, horizon - 1]
            curve, (least, cost) = interpolate.CubicSpline(np.log(RATIOS), values), crossing(RATIOS, values)
            numbers = f"{horizon:7}{curve(0):13.3f}{curve(np.log(least)):14.3f}{least:13.3f}"
            where = "-" if np.isnan(cost) else f"{cost:.3f}"
            print(f"{name:<19}{numbers}{where:>13}{greedy[place, horizon - 1]:8.3f}")


def print_simulated(ratios: Sequence[float] = (1.0, 0.75**0.5, 0.65, 0.6, 0.55, 0.5, 0.25)) -> None:
    """Print the regret of long runs, and by how much it differs from that of exact draws in paired runs."""
    runs, horizon = 6000, 1500
    regret = simulate(ARMS, horizon, ratios, runs, 0)
    print(f"{runs:,} runs of {horizon:,} pulls, arms 0.5,0.7\nsd ratio         regret   less exact draws'")
    for ratio, values in zip(ratios, regret, strict=True):
        apart, root = values - regret[0], runs**0.5
        own = f"{values.mean():6.2f} ± {values.std() / root:.2f}"
        print(f"{ratio:8.3f}  {own}   {apart.mean():+6.2f} ± {apart.std() / root:.2f}")
    near = np.isin(ratios, (0.6, 0.55, 0.5))
    where, error = simulated_crossing(np.array(ratios)[near], regret[near] - regret[0])
    print(f"narrower draws start to cost at {where:.3f} ± {error:.3f}")


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


@cache
def nearest_gaussian(a: float, b: float) -> tuple[float, float]:
    """Location and scale of the best Gaussian on the logit; a mirrored Beta's are mirrored."""
    location, scale = (-1.0, 1.0) * np.array(nearest_gaussian(b, a)) if a < b else best_logit_normal(a, b, 401)[:2]
    return float(location), float(scale)


def logit_normal(alpha: float, beta: float, horizon: int) -> Policy:
    """Thompson sampling from the best Gaussian on each arm's logit: mean field's and full rank's best member."""
    members = [
        np.array([nearest_gaussian(a, b) for a, b in zip(*policies.parameters(alpha, beta, n), strict=True)])
        for n in range(horizon)
    ]

    def policy(n: int, m: int) -> np.ndarray:
        (first, sd), (second, other_sd) = members[n].T[..., None], members[m].T
        return special.ndtr((first - second) / np.hypot(sd, other_sd))

    return policy


COMMANDS: Mapping[str, Callable[[], None]] = {
    "policies": print_policies,
    "ratios": print_ratios,
    "simulate": print_simulated,
}

if __name__ == "__main__":
    COMMANDS[sys.argv[1] if len(sys.argv) > 1 else "policies"]()
