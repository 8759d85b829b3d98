"""A Pyro model as a module of its own, with its discrete latents summed out."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pyro
import torch
from pyro import poutine

from compare.user_model import enumeration_pyro
from compare.user_model.sites import make_twin


def summed_out(name: str, run: Callable[..., Any]) -> ModuleType:
    """A module of this name whose ``model`` is ``run``, with its discrete latents summed out where it has any."""

    def has_discrete(data: dict[str, Any]) -> bool:
        with torch.random.fork_rng(devices=[]), pyro.validation_enabled(False), poutine.block():
            nodes = poutine.trace(run).get_trace(**data).nodes.values()
        latents = (node for node in nodes if node["type"] == "sample" and not node["is_observed"])
        return any(getattr(node["fn"], "has_enumerate_support", False) for node in latents)

    return make_twin(name, run, has_discrete, enumeration_pyro.marginal)
