"""Print the regret of policies under a uniform prior.

python -m tests.experiments.bandit              # all policies, after 100 pulls
python -m tests.experiments.bandit ratios       # where narrowness starts to cost
python -m tests.experiments.bandit simulate     # the same after 1,500 pulls
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy import interpolate

from models.bandit import policies
from models.bandit.regret import (
    RATIOS,
    World,
    by_ratio,
    crossing,
    expected_regret,
    fixed,
    prior,
    simulate,
    simulated_crossing,
    standard_policies,
)

ARMS = (0.5, 0.7)
WORLDS: Mapping[str, World] = {"arms 0.5,0.7": fixed(ARMS), "arms from the prior": prior(1.0, 1.0)}


def print_policies(horizon: int = 100) -> None:
    """Print the regret of every policy, with the best Gaussian's."""
    every = standard_policies(1.0, 1.0, horizon) | {"Thompson, logit-normal": policies.logit_normal(1.0, 1.0, horizon)}
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


COMMANDS: Mapping[str, Callable[[], None]] = {
    "policies": print_policies,
    "ratios": print_ratios,
    "simulate": print_simulated,
}

if __name__ == "__main__":
    COMMANDS[sys.argv[1] if len(sys.argv) > 1 else "policies"]()
