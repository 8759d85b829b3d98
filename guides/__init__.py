"""The families of approximations, by name. Importing this module loads neither torch nor jax."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from importlib import import_module

from guides.contract import Family, Implementation, Settings
from models.contract import UnknownName, nearest

__all__ = ["FAMILIES", "implementation", "load"]

FAMILIES: dict[str, str] = {
    "mean_field": "independent Gaussians on the unconstrained latents",
    "full_rank": "one Gaussian with any covariance on the unconstrained latents",
    "low_rank": "one Gaussian whose covariance is a diagonal plus a matrix of low rank",
    "laplace": "the Gaussian at the mode, with the curvature there; nothing is optimised",
    "pathfinder": "the best Gaussian on the way to the mode, by L-BFGS's own curvature; nothing is optimised",
    "multipath": "a mixture of several Pathfinders' Gaussians, by their importance; nothing is optimised",
    "map": "one point, the mode of the density; nothing is said of the spread",
    "linear_response": "mean field's means, with the covariance that its optimum's own sensitivity gives",
    "matrix_normal": "a Gaussian for each matrix with one covariance of its rows and one of its columns",
    "hypernetwork": "independent Gaussians whose means and scales a small network produces",
    "dropout": "points under random masks of inputs and units; no density, and no bound",
    "markov": "a Gaussian whose precision couples neighbours only",
    "mixture": "a few independent Gaussians with weights; for encoders",
    "flow": "a Gaussian bent by an inverse autoregressive flow",
    "variational_gp": "a Gaussian bent along a curve, by a Gaussian process of a latent input",
    "conjugate": "the family the prior is conjugate to, written by hand beside the model",
}


def load(name: str) -> Family:
    """The family of that name.

    Raises:
        UnknownName: there is no such family; the message names the nearest one.
    """
    if name not in FAMILIES:
        raise UnknownName(f"no guide named {name!r}; {nearest(name, FAMILIES)}")
    return import_module(f"guides.{name}").FAMILY


def implementation(name: str, library: str, settings: Settings = ()) -> Implementation:
    """The family in one library (``numpyro``, ``pyro``), its guide with these settings."""
    load(name)
    known = import_module(f"guides.{name}.in_{library}").IMPLEMENTATION
    return replace(known, guide=partial(known.guide, **dict(settings))) if settings else known
