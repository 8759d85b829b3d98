"""References in NumPyro: its NUTS, driven by `compare.fit.mcmc.reference`."""

from __future__ import annotations

from functools import partial

from compare.fit.mcmc import nuts_numpyro, reference

__all__ = ["fit"]

fit = partial(reference.fit, nuts_numpyro)
