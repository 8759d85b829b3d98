"""Learning a decoder along with an encoder in Pyro."""

from __future__ import annotations

from functools import partial

from compare.fit.amortized import amortised
from compare.fit.amortized.amortised_pyro import library

__all__ = ["fit"]

fit = partial(amortised.train, library)
