"""Learning a decoder along with an encoder in NumPyro."""

from __future__ import annotations

from functools import partial

from compare.fit.amortized import amortised
from compare.fit.amortized.amortised_numpyro import library

__all__ = ["fit"]

fit = partial(amortised.train, library)
