"""Learning a decoder along with an encoder in Pyro."""

from __future__ import annotations

from functools import partial

from compare.fits import amortised
from compare.fits.amortised_pyro import library

__all__ = ["fit"]

fit = partial(amortised.train, library)
