"""What a model reads beside its arguments: where that has changed, what was compiled of the model is of another one."""

from __future__ import annotations

import hashlib
import inspect
import pickle
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

CODE = (FunctionType, BuiltinFunctionType, ModuleType, type)


def surroundings(function: Callable[..., Any]) -> dict[str, Any]:
    """Globals, what encloses a function, and the object whose method it is, by name; and what functions of the same
    module among these read. Two such are equal where all of it has the same content."""
    todo, values = [function], dict[str, Any]()
    while todo:
        current = inspect.unwrap(todo.pop())
        own, inner = getattr(current, "__self__", None), getattr(current, "__func__", current)
        if not isinstance(inner, FunctionType):  # an object that is called
            own, inner = inner, getattr(type(inner), "forward", None) or type(inner).__call__
        near = {} if own is None else {"self": own}
        near |= read_by(inner) if isinstance(inner, FunctionType) else {}
        for name, value in ((name, inspect.unwrap(value)) for name, value in near.items()):
            place = f"{getattr(inner, '__qualname__', '')}: {name}"
            if isinstance(value, FunctionType) and value.__module__ == inner.__module__ and place not in values:
                todo.append(value)
            values[place] = value if isinstance(value, CODE) else content(value)
    return values


def read_by(function: FunctionType) -> dict[str, Any]:
    """The globals that a function's code names, and the values of the variables that enclose it."""
    known = function.__globals__
    read = {name: known[name] for name in names_in(function.__code__) if name in known}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # it is empty before it is assigned
            read[name] = cell.cell_contents
    return read


def names_in(code: CodeType) -> Iterator[str]:
    """The names in a function's code and in those that it defines."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from names_in(constant)


def content(value: Any) -> Any:
    """A value's content; what cannot be pickled differs from everything, itself included."""
    try:
        return hashlib.sha256(pickle.dumps(value)).hexdigest()
    except Exception:  # any object's own pickling may fail in its own way
        return object()
