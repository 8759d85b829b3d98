"""SVI in Pyro: the library's SVI, ELBO and guides, driven by `compare.fit.svi.svi`."""

from __future__ import annotations

from functools import partial

from compare.fit.svi import objective_pyro, svi

__all__ = ["draw_many", "fit", "fit_many"]

fit = partial(svi.fit, objective_pyro)
fit_many = partial(svi.fit_many, objective_pyro)
draw_many = partial(svi.draw_many, objective_pyro)
