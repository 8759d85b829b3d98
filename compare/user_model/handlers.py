"""A user's model under the libraries' handlers: its own function, and its name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

ROOTS = {"numpyro": "numpyro", "jax": "numpyro", "pyro": "pyro", "torch": "pyro"}
"""The library that a package shows."""


def within_handlers(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function under the libraries' handlers, which as decorators have neither its name nor its parameters."""
    while type(function).__module__.split(".")[0] in ROOTS and callable(getattr(function, "fn", None)):
        function = function.fn  # type: ignore[attr-defined]
    return function


def innermost(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function under all handlers, wrappers and bound arguments; Pyro's handlers bind one more than once."""
    inner = inspect.unwrap(within_handlers(function))
    inner = inner.func if isinstance(inner, partial) else inner
    return inner if inner is function else innermost(inner)


def name_of(function: Callable[..., Any]) -> str:
    """The name of a function, a handler around one, or an object's class."""
    inner = innermost(function)
    return getattr(inner, "__name__", type(inner).__name__)
