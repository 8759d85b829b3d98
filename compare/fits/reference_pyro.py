"""References in Pyro: its NUTS, driven by `compare.fits.reference`."""

from __future__ import annotations

from functools import partial

from compare.fits import nuts_pyro, reference

__all__ = ["fit"]

fit = partial(reference.fit, nuts_pyro)
