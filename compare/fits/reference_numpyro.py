"""References in NumPyro: its NUTS, driven by `compare.fits.reference`."""

from __future__ import annotations

from functools import partial

from compare.fits import nuts_numpyro, reference

__all__ = ["fit"]

fit = partial(reference.fit, nuts_numpyro)
