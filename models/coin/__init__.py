r"""The coin: is it fair?

We toss a coin ``tosses`` times, see ``heads`` heads, and ask for its probability of heads theta.

    theta ~ Beta(alpha, beta)
    heads ~ Binomial(tosses, theta)

The Beta prior is conjugate to the binomial likelihood, so Bayes' theorem only adds counts:

    theta | heads ~ Beta(alpha + heads, beta + tosses - heads).

Everything is known in closed form, which makes the coin the place to learn what an approximation does.
A Gaussian guide lives on the logit of theta and cannot quite take the posterior's shape; a Beta guide can.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from models.coin.claims import claims
from models.coin.exact import BetaPosterior, best
from models.coin.published import published
from models.contract import Model, Simulated, count, option

__all__ = ["MODEL", "Coin"]


MOST = 1_000_000_000
"""Tosses, seen or of the prior, up to which the log densities keep the digits that the ledger shows."""

LEAST = 0.01
"""Of the prior's parameters: below it the posterior may lie nearer to 0 or 1 than float64 has numbers."""


def positive(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number; give a positive number, such as 2") from None


@dataclass(frozen=True)
class Coin:
    """The tosses and the prior.

    Raises:
        ValueError: counts that are negative, fractional or contradictory; a prior parameter out of its range.
    """

    heads: int = option(6, "heads seen", count)
    tosses: int = option(10, "times the coin was tossed", count)
    alpha: float = option(2.0, "prior Beta(alpha, beta): heads seen before, as it were", positive)
    beta: float = option(2.0, "prior Beta(alpha, beta): tails seen before, as it were", positive)

    def __post_init__(self) -> None:
        for name in ("heads", "tosses"):
            value = getattr(self, name)
            if isinstance(value, bool) or int(value) != value:
                raise ValueError(f"{name} is {value}: give a whole number")
            if value < 0:
                raise ValueError(f"{name} is {value}: give 0 or more")
        if self.heads > self.tosses:
            raise ValueError(f"{self.heads} heads in {self.tosses} tosses: give at most as many heads as tosses")
        if self.tosses > MOST:
            raise ValueError(f"tosses is {self.tosses}: give at most {MOST:,}, beyond which float64 loses the evidence")
        for name in ("alpha", "beta"):
            value = getattr(self, name)
            if not LEAST <= value <= MOST:
                raise ValueError(f"{name} is {value:g}: give a number from {LEAST:g} to {MOST:,}")

    def arguments(self) -> dict[str, Any]:
        return {
            "heads": np.float64(self.heads),
            "tosses": np.float64(self.tosses),
            "alpha": np.float64(self.alpha),
            "beta": np.float64(self.beta),
        }

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {"theta": ()}

    def reported(self) -> list[tuple[str, tuple[int, ...]]]:
        return [("theta", ())]

    def observed(self) -> dict[str, np.ndarray]:
        return {"heads": np.asarray(self.heads)}

    def describe(self) -> dict[str, Any]:
        return {"heads": self.heads, "tosses": self.tosses, "alpha": self.alpha, "beta": self.beta}


def simulate(data: Coin, rng: np.random.Generator, count: int) -> Simulated:
    """theta from the prior, and as many tosses of each such coin."""
    theta = rng.beta(data.alpha, data.beta, count)
    heads = rng.binomial(data.tosses, theta)
    return Simulated({"theta": theta}, tuple(replace(data, heads=int(number)) for number in heads))


MODEL = Model(
    name="coin",
    title="the probability of heads, theta, of a coin that was tossed",
    data=Coin,
    guides=("mean_field", "full_rank", "conjugate"),
    exact=BetaPosterior,
    best=best,
    claims=claims,
    simulate=simulate,
    published=published,
    cases=(
        Coin(heads=0, tosses=10),
        Coin(heads=10, tosses=10),
        Coin(heads=700_000, tosses=1_000_000),
        Coin(heads=0, tosses=0),
        Coin(alpha=0.5, beta=0.5),
        Coin(heads=0, tosses=0, alpha=0.5, beta=0.5),
        Coin(alpha=10.0, beta=1.0),
    ),
)
