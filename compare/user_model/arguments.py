"""A user's data as the arguments of the model: arrays and floats are data, the rest shapes the program."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Static", "arguments", "from_json", "split"]

Static = tuple[tuple[str, Any], ...]
"""A twin's arguments that are not arrays, by name."""


def arguments(function: Callable[..., Any], data: Any) -> dict[str, Any]:
    """The keyword arguments of a model: float64 and whole-number arrays, and what shapes the program.

    ``data`` is a mapping of them, a pandas frame (its columns), or a function that returns either.

    Raises:
        ValueError: an argument that the model lacks or does not know, or a value that is neither numbers nor a word.
    """
    if callable(data) and not hasattr(data, "keys"):
        data = data()
    if data is None:
        data = {}
    if not hasattr(data, "keys"):
        raise ValueError(f"data is a {type(data).__name__}: give a dict of the model's arguments")
    values = {str(name): value_of(str(name), data[name]) for name in data}
    try:
        inspect.signature(function).bind(**values)
    except TypeError as error:
        raise ValueError(
            f"the model's arguments do not fit its data ({', '.join(values) or 'none'}): {error}"
        ) from None
    return values


def value_of(name: str, value: Any) -> Any:
    """One argument: arrays, frames, lists of numbers and floats become arrays; flags, counts and words stay."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if hasattr(value, "detach"):  # a tensor
        value = value.detach()
    try:
        array = np.asarray(value)
    except Exception:
        array = np.asarray(None)
    if array.dtype.kind in "biu":
        return array if array.ndim else array[()]
    if array.dtype.kind == "O" and array.ndim:  # a frame or list of numbers that are stored as objects
        with suppress(TypeError, ValueError):
            array = array.astype(float)
    if array.dtype.kind == "f":
        return array.astype(float)[()]
    raise ValueError(
        f"data: {name!r} holds {described(array)}; give numbers (of words their codes), a flag, a count or one word"
    )


def described(value: np.ndarray) -> str:
    """What is in an array that holds no numbers."""
    if value.size == 0 or value.dtype.kind not in "OUS":
        return f"values of type {value.dtype}"
    odd = next((item for item in value.ravel() if not isinstance(item, int | float | np.number)), value.ravel()[0])
    return f"{str(odd)!r}"[:60]


def from_json(path: str) -> dict[str, Any]:
    """The arguments in a JSON file.

    Raises:
        ValueError: the file cannot be read, or holds no object.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        json.dumps(content, ensure_ascii=False).encode()  # JSON can spell half of a character, which no file can hold
    except OSError as error:
        raise ValueError(f"--data {path}: {error.strerror}; name a JSON file with the model's arguments") from None
    except RecursionError:
        raise ValueError(f"--data {path} is nested too deeply; give the model's arguments by name") from None
    except ValueError as error:
        raise ValueError(f"--data {path} is not JSON: {error}") from None
    if not isinstance(content, Mapping):
        raise ValueError(
            f'--data {path} holds no object; give one of the model\'s arguments, such as {{"y": [1.5, 2]}}'
        )
    return dict(content)


def split(arguments: Mapping[str, Any], convert: Callable[[Any], Any]) -> tuple[dict[str, Any], Static]:
    """The arguments that are data, converted, and those that shape the program (counts, flags, words)."""
    data = {name: convert(value) for name, value in arguments.items() if isinstance(value, np.ndarray | np.generic)}
    return data, tuple(sorted((name, value) for name, value in arguments.items() if name not in data))
