"""The families of approximations, by name. Importing this module loads neither torch nor jax."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from models.contract import UnknownName, nearest

__all__ = ["FAMILIES", "load"]

FAMILIES: dict[str, str] = {
    "mean_field": "independent Gaussians on the unconstrained latents",
    "full_rank": "one Gaussian with any covariance on the unconstrained latents",
    "matrix_normal": "a Gaussian for each matrix with one covariance of its rows and one of its columns",
    "hypernetwork": "independent Gaussians whose means and scales a small network produces",
    "markov": "a Gaussian whose precision couples neighbours only",
    "mixture": "a few independent Gaussians with weights; for encoders",
    "flow": "an inverse autoregressive flow on independent Gaussians; for encoders",
    "conjugate": "the family the prior is conjugate to, written by hand beside the model",
}


def load(family: str, library: str | None = None) -> ModuleType:
    """The family's own module, or what it is in one library (``numpyro``, ``pyro``).

    Raises:
        UnknownName: there is no such family; the message names the nearest one.
    """
    if family not in FAMILIES:
        raise UnknownName(f"no guide named {family!r}; {nearest(family, FAMILIES)}")
    return import_module(f"guides.{family}" + (f".in_{library}" if library else ""))
