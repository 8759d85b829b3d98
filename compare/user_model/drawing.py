"""Random numbers that a model's file draws: in float64 they are others than those that the library draws by default."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from types import ModuleType
from typing import Any

DRAWN = "__drawn__"
"""The name under which what a file draws stands beside its model."""


@contextmanager
def watch(module: ModuleType, names: Sequence[str]) -> Iterator[list[str]]:
    """A block in which calls of these functions are noted, but for those that name a dtype: yields the list."""
    called: list[str] = []

    def noting(function: Callable[..., Any], name: str) -> Callable[..., Any]:
        @wraps(function)
        def noted(*args: Any, **kwargs: Any) -> Any:
            if kwargs.get("dtype") is None:
                called.append(f"{module.__name__}.{name}")
            return function(*args, **kwargs)

        return noted

    original = {name: getattr(module, name) for name in names}
    for name, function in original.items():
        setattr(module, name, noting(function, name))
    try:
        yield called
    finally:
        for name, function in original.items():
            setattr(module, name, function)


def note(name: str) -> str:
    """What the reader should know of a file that draws random numbers with the function of this name."""
    return (
        f"the model's file draws random numbers ({name}), and in float64, in which it is read, they are not those of "
        "the library's float32: to have the same data as there, draw them with NumPy or read them from a file"
    )
