"""What the founding text says of Bayesian neural networks, and what is true of this one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from models.contract import Claim

if TYPE_CHECKING:
    from models.bnn import BnnData

__all__ = ["claims", "in_words", "modes"]

DIGITS = 15
"""Numbers of so many digits are written out."""


def modes(data: BnnData) -> int:
    """How many equal modes the symmetries of the network make of one: units can change places, and with tanh the
    signs of a unit's weights can all be flipped."""
    return math.factorial(data.hidden) * (2**data.hidden if data.activation == "tanh" else 1)


def in_words(data: BnnData) -> str:
    """The number of modes as it is printed: Python refuses to write out that of a wide network."""
    magnitude = math.log10(modes(data))
    return f"{modes(data):,}" if magnitude < DIGITS else f"about 10^{magnitude:.0f}"


def claims(data: BnnData) -> list[Claim]:
    """The claims that hold for any data: about the posterior's shape, and about what it knows."""
    if data.activation == "tanh":
        why = "units permuted, signs flipped"
        forgets = "a factorised Gaussian in its place need not: compare the sds of f where there are no data"
    else:
        why = "units permuted"
        forgets = (
            "a factorised Gaussian cannot, with ReLU: where 0 lies between p and q, and r nearer to 0 than both, "
            "Var f(r) <= Var f(p) + Var f(q) (Foong et al. 2020, Theorem 1)"
        )
    return [
        Claim(
            "the posterior of the weights is a factorised Gaussian",
            f"no: it has {in_words(data)} equal modes ({why})",
            False,
        ),
        Claim("a Bayesian neural network knows what it does not know", f"its posterior does; {forgets}", False),
    ]
