"""SVI in NumPyro: the library's SVI, ELBO and guides, driven by `compare.fit.svi.svi`."""

from __future__ import annotations

from functools import partial

from compare.fit.svi import objective_numpyro, svi

__all__ = ["draw_many", "fit", "fit_many"]

fit = partial(svi.fit, objective_numpyro)
fit_many = partial(svi.fit_many, objective_numpyro)
draw_many = partial(svi.draw_many, objective_numpyro)
