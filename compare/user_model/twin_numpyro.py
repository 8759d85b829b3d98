"""A NumPyro model as a module of its own, with its discrete latents summed out."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

from numpyro import handlers

from compare.user_model.jit_numpyro import unvalidated
from compare.user_model.sites import make_twin


def enumeration() -> ModuleType:
    """The file that sums discrete latents out.

    Raises:
        ValueError: what it needs is not installed.
    """
    try:
        return import_module("compare.user_model.enumeration_numpyro")
    except ImportError as error:
        raise ValueError(
            "discrete latents are summed out by funsor, which is not installed: pip install funsor"
        ) from error


def summed_out(name: str, run: Callable[..., Any]) -> ModuleType:
    """A module of this name whose ``model`` is ``run``, with its discrete latents summed out where it has any."""

    @unvalidated
    def has_discrete(data: dict[str, Any]) -> bool:
        with handlers.block():
            trace = handlers.trace(handlers.seed(run, 0)).get_trace(**data)
        latents = (site for site in trace.values() if site["type"] == "sample" and not site["is_observed"])
        return any(site["fn"].support.is_discrete for site in latents)

    return make_twin(name, run, has_discrete, lambda run, data: enumeration().marginal(run, data))
