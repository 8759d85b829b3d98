"""What the arms gave so far, their prior, and the horizon and the arms that regret is shown for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from models.options import Data, option, parse_int, parse_list, parse_number

MOST_ARMS, MOST_PULLS, LEAST, MOST_HORIZON = 20, 10_000, 0.5, 150
"""Limits within which P(an arm is the best) by quadrature and regret by recursion take little time."""


@dataclass(frozen=True)
class Bandit(Data):
    """What the arms gave so far, and their prior.

    Raises:
        ValueError: counts that are negative, fractional, too many or contradictory; a prior parameter, an arm or the
            horizon out of its range; pulls and successes of different lengths, or of too few or too many arms.
    """

    pulls: tuple[int, ...] = option((24, 16), "how often each arm was pulled, such as 24,16", parse_list(parse_int))
    successes: tuple[int, ...] = option((12, 7), "how often each arm paid, such as 12,7", parse_list(parse_int))
    alpha: float = option(1.0, "prior Beta(alpha, beta) of each arm", parse_number)
    beta: float = option(1.0, "prior Beta(alpha, beta) of each arm", parse_number)
    horizon: int = option(
        30, "pulls that regret is shown for, from the first; of a fit the next ones, at most 50", parse_int
    )
    arms: tuple[float, ...] = option(
        (0.5, 0.7), "true chances of two arms that regret is shown for", parse_list(parse_number)
    )

    def __post_init__(self) -> None:
        for name in ("pulls", "successes"):
            values = getattr(self, name)
            if any(isinstance(value, bool) or value % 1 or value < 0 for value in values):
                raise ValueError(f"{name} is {text_of(values)}: give whole numbers, 0 or more")
        if not 2 <= len(self.pulls) <= MOST_ARMS or len(self.pulls) != len(self.successes):
            raise ValueError(
                f"pulls has {len(self.pulls)} numbers and successes {len(self.successes)}: give both the same number, "
                f"from 2 to {MOST_ARMS}, one for each arm"
            )
        for number, (pulls, successes) in enumerate(zip(self.pulls, self.successes, strict=True)):
            if successes > pulls:
                raise ValueError(f"arm {number} has {successes} successes in {pulls} pulls: give at most as many")
            if pulls > MOST_PULLS:
                raise ValueError(f"arm {number} has {pulls:,} pulls: give at most {MOST_PULLS:,}")
        for name in ("alpha", "beta"):
            if not LEAST <= getattr(self, name) <= MOST_PULLS:
                raise ValueError(f"{name} is {getattr(self, name):g}: give a number from {LEAST:g} to {MOST_PULLS:,}")
        if len(self.arms) != 2 or not all(0 <= chance <= 1 for chance in self.arms):
            raise ValueError(f"arms is {text_of(self.arms)}: give two chances from 0 to 1, such as 0.5,0.7")
        if isinstance(self.horizon, bool) or self.horizon % 1 or self.horizon < 1:
            raise ValueError(f"horizon is {self.horizon}: give a whole number, 1 or more")
        if self.horizon > MOST_HORIZON:
            raise ValueError(
                f"horizon is {self.horizon:,}: the recursion over counts would go through "
                f"{math.comb(int(self.horizon) + 3, 4):.2g} states; give at most {MOST_HORIZON} "
                f"({math.comb(MOST_HORIZON + 3, 4):.2g} states)"
            )
        self._set(horizon=int(self.horizon))

    def arguments(self) -> dict[str, Any]:
        every = super().arguments()
        return {name: every[name] for name in ("pulls", "successes", "alpha", "beta")}


def text_of(values: tuple[float, ...]) -> str:
    """The values as they are written on the command line."""
    return ",".join(f"{value:g}" for value in values)
