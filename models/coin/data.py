"""The coin's tosses and prior."""

from dataclasses import dataclass

from models.options import Data, option, parse_int, parse_number

LARGEST = 1_000_000_000
"""Tosses, seen or of the prior, up to which the log densities keep the digits that the ledger shows."""

SMALLEST = 0.01  # the least prior parameter: below it the posterior may lie nearer to 0 or 1 than float64 has numbers


@dataclass(frozen=True)
class Coin(Data):
    """The tosses and the prior.

    Raises:
        ValueError: counts that are negative, fractional or contradictory; a prior parameter out of its range.
    """

    heads: int = option(6, "heads seen", parse_int)
    tosses: int = option(10, "times the coin was tossed", parse_int)
    alpha: float = option(2.0, "prior Beta(alpha, beta) of theta", parse_number)
    beta: float = option(2.0, "prior Beta(alpha, beta) of theta", parse_number)

    def __post_init__(self) -> None:
        for name in ("heads", "tosses"):
            value = getattr(self, name)
            if isinstance(value, bool) or int(value) != value:
                raise ValueError(f"{name} is {value}: give a whole number")
            if value < 0:
                raise ValueError(f"{name} is {value}: give 0 or more")
        if self.heads > self.tosses:
            raise ValueError(f"{self.heads} heads in {self.tosses} tosses: give at most as many heads as tosses")
        if self.tosses > LARGEST:
            raise ValueError(
                f"tosses is {self.tosses}: give at most {LARGEST:,}, beyond which float64 loses the evidence"
            )
        for name in ("alpha", "beta"):
            value = getattr(self, name)
            if not SMALLEST <= value <= LARGEST:
                raise ValueError(f"{name} is {value:g}: give a number from {SMALLEST:g} to {LARGEST:,}")
