"""A model by its name: one of the catalogue's, or a user's own."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

import models
from compare import user_model
from models.contract import Model

__all__ = ["load", "twin"]


def load(name: str) -> Model:
    """The model of that name.

    Raises:
        UnknownName: there is no such model.
    """
    return user_model.find(name).model if user_model.knows(name) else models.load(name)


def twin(name: str, library: str) -> ModuleType:
    """What the model is in one library: a module with ``model`` and the guides that it comes with."""
    if user_model.knows(name):
        return import_module(f"compare.user_model.in_{library}").twin(user_model.find(name))
    return import_module(f"models.{name}.in_{library}")
