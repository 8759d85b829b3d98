"""The twin that fits are made of: a model in one library, with its discrete latents summed out."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

from compare import registry


@registry.cached_by_model(128)
def twin(name: str, library: str) -> ModuleType:
    """What the model is in one library: a module with ``model``, without discrete latents, and its guides.

    Of a model that may have discrete latents it also has ``joint``, the model with them.
    """
    module = registry.module(name, library)
    if not registry.load(name).may_be_discrete:
        return module
    side = import_module(f"compare.user_model.twin_{library}")
    summed: ModuleType = side.summed_out(module.__name__, module.model)
    vars(summed).update({**vars(module), **vars(summed)})
    return summed


def as_written(name: str, library: str) -> Callable[..., Any]:
    """The model of the catalogue with its discrete latents."""
    model: Callable[..., Any] = registry.module(name, library).model
    return model
