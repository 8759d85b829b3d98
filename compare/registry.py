"""A model by its name: one of the catalogue's, or a user's that was added in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

import models
from models.contract import Model

if TYPE_CHECKING:
    from compare.comparison import Job

TITLES = {"numpyro": "NumPyro", "pyro": "Pyro"}

LIBRARIES = tuple(TITLES)
"""The libraries by name; each is imported by the same name."""

Function = TypeVar("Function", bound=Callable[..., Any])

_added: dict[str, tuple[Model, Callable[[str], ModuleType]]] = {}

_caches: list[Any] = []


def add(model: Model, twin: Callable[[str], ModuleType]) -> None:
    """Add a model to this process, or replace that of its name; ``twin`` returns the model's module in a library."""
    if model.name in _added:
        for cache in _caches:
            cache.cache_clear()
    _added[model.name] = model, twin


def cached_by_model(maxsize: int) -> Callable[[Function], Function]:
    """`functools.lru_cache` for a function of a model's name, cleared whenever a model replaces another."""

    def decorate(function: Function) -> Function:
        cache: Any = lru_cache(maxsize)(function)
        _caches.append(cache)
        return cache

    return decorate


def load(name: str) -> Model:
    """The model of that name.

    Raises:
        UnknownName: there is no such model.
    """
    return _added[name][0] if name in _added else models.load(name)


def module(name: str, library: str) -> ModuleType:
    """What defines the model in one library, and the guides that it comes with; `twins.twin` is what is fitted."""
    return _added[name][1](library) if name in _added else import_module(f"models.{name}.in_{library}")


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


def fitting_library(job: Job) -> str:
    """The library that fits; where the method has none, the one whose twin gives the densities of its draws."""
    return job.library or job.twin or first_installed()
