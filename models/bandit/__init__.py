r"""The bandit: when is an approximation good enough to act on?

    theta_k ~ Beta(alpha, beta),  successes_k ~ Binomial(pulls_k, theta_k)

Arms pay with unknown chances theta_k. Thompson sampling draws theta from what is known so far and pulls the arm whose
draw is largest: arm k with the probability that it is the best. The posterior is known in closed form, and so is, by
recursion over counts, the regret of whoever acts on it, or on an approximation.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.bandit.data import Bandit
from models.bandit.decision import DECISION
from models.bandit.exact import Arms, best_member, derive
from models.bandit.pictures import PICTURES
from models.contract import Element, Model, Quantities, Simulated

__all__ = ["MODEL", "Bandit"]


def simulate(data: Bandit, rng: np.random.Generator, count: int) -> Simulated:
    """Arms from the prior, and as many pulls of each."""
    theta = rng.beta(data.alpha, data.beta, (count, len(data.pulls)))
    successes = rng.binomial(data.pulls, theta)
    return Simulated({"theta": theta}, tuple(replace(data, successes=tuple(row.tolist())) for row in successes))


def report(data: Bandit) -> list[Element]:
    """All arms and their leads; with two arms only one lead, as the other is its negative."""
    arms = range(len(data.pulls))
    theta: list[Element] = [("theta", (k,)) for k in arms]
    lead: list[Element] = [("lead", (k,)) for k in (arms[1:] if len(arms) == 2 else arms)]
    return theta + lead


MODEL = Model(
    name="bandit",
    title="Bernoulli arms: which pays best, and what does it cost to find out?",
    data=Bandit,
    guides=("mean_field", "full_rank", "conjugate"),
    truth=Arms,
    test_cases=(
        Bandit((0, 0), (0, 0)),
        Bandit((10, 1, 0), (10, 0, 0)),
        Bandit((3, 500), (0, 250), alpha=0.5, beta=0.5),
        Bandit((5, 5), (2, 2), horizon=1, arms=(0.0, 1.0)),
    ),
    simulate=simulate,
    best_member=best_member,
    quantities=Quantities(derive, report),
    decision=DECISION,
    pictures=PICTURES,
)
