"""A model by its name: one of the catalogue's, or a user's own."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import models
from compare import user_model
from models.contract import Model

__all__ = ["LIBRARIES", "first_installed", "is_installed", "load", "twin"]

LIBRARIES = ("numpyro", "pyro")
"""The libraries by name; each is imported by the same name."""


def is_installed(library: str) -> bool:
    """Whether a library is there."""
    return find_spec(library) is not None


def first_installed(libraries: Sequence[str] = LIBRARIES) -> str:
    """The first of these libraries that is there, else any.

    Raises:
        ValueError: none is.
    """
    for library in (*libraries, *LIBRARIES):
        if is_installed(library):
            return library
    raise ValueError("neither NumPyro nor Pyro is installed; install one: pip install numpyro")


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
