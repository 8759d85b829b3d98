"""A user's data as the arguments of the model: arrays and floats are data, the rest shapes the program.

Arguments are kept flat, by name: of a dict of options, or a tuple of arrays, the arrays stand beside it under names
such as ``options.x``, and what remains is a `Container` that is put together again when the model is called.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from compare.user_model.handlers import within_handlers

Static = tuple[tuple[str, Any], ...]
"""A twin's arguments that are not arrays, by name."""


@dataclass(frozen=True)
class Positional:
    """Data as the arguments of a call: ``model(*args, **kwargs)``."""

    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Words:
    """An array of words, which no library computes with but the model may look up."""

    values: tuple[str, ...]
    shape: tuple[int, ...]

    def array(self) -> np.ndarray:
        return np.array(self.values).reshape(self.shape)


@dataclass(frozen=True)
class Fixed:
    """An array that shapes the program by its values, as where a model asks NumPy which of them are missing."""

    content: bytes
    kind: str
    shape: tuple[int, ...]
    library: str

    @classmethod
    def of(cls, value: Any, library: str) -> Fixed:
        """An array or a number, as it is, of a model in this library."""
        array = np.asarray(value)
        return cls(array.tobytes(), array.dtype.str, array.shape, library)

    def array(self) -> Any:
        """The values, as a number or an array that has been given to nobody else."""
        array = np.frombuffer(self.content, self.kind).reshape(self.shape)
        return import_module(f"compare.user_model.fixed_{self.library}").fixed_array(array)


@dataclass(frozen=True)
class Leaf:
    """The place of an array in a `Container`: the name under which it is kept."""

    name: str


KINDS: dict[str, type] = {"list": list, "tuple": tuple}


@dataclass(frozen=True)
class Container:
    """A dict, list or tuple that is one argument: its items by key, and a `Leaf` for each array.

    Its kind is a word, since types cannot be hashed for the cache.
    """

    kind: str
    items: tuple[tuple[Any, Any], ...]

    def leaves(self) -> set[str]:
        """The names of its arrays."""
        parts = [item for _, item in self.items]
        inner = [part.leaves() for part in parts if isinstance(part, Container)]
        return {part.name for part in parts if isinstance(part, Leaf)}.union(*inner)

    def build(self, values: Mapping[str, Any]) -> Any:
        """The argument as its user gave it, with these arrays."""
        items = {key: built(item, values) for key, item in self.items}
        return items if self.kind == "dict" else KINDS[self.kind](items.values())


def built(item: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(item, Leaf):
        return built(values[item.name], values)
    if isinstance(item, Container):
        return item.build(values)
    return item.array() if isinstance(item, Words | Fixed) else item


def signature_of(function: Callable[..., Any]) -> inspect.Signature:
    """The parameters of a model; of a torch module those of its ``forward``."""
    forward = getattr(function, "forward", None)
    return inspect.signature(forward if inspect.ismethod(forward) else within_handlers(function))


def assemble(values: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as the user gave them, from flat ones."""
    containers = [value for value in values.values() if isinstance(value, Container)]
    leaves: set[str] = set().union(*(container.leaves() for container in containers))
    return {name: built(value, values) for name, value in values.items() if name not in leaves}


def bound(signature: inspect.Signature, given: Mapping[str, Any]) -> inspect.BoundArguments:
    """The arguments of a call, by position where a parameter wants that.

    Raises:
        TypeError: one is missing, or the model does not know it.
    """
    kinds = {name: parameter.kind for name, parameter in signature.parameters.items()}
    by_position = [inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL]
    if not any(kinds.get(name) in by_position for name in given):
        return signature.bind(**given)
    known = {name: given[name] for name in kinds if name in given}
    extra = {name: value for name, value in given.items() if name not in kinds}
    others = [name for name, kind in kinds.items() if kind is inspect.Parameter.VAR_KEYWORD]
    call = inspect.BoundArguments(signature, known | ({others[0]: extra} if others else {}))  # type: ignore[arg-type]
    return signature.bind(*call.args, **call.kwargs)


def hold(params: Mapping[str, Any]) -> dict[str, Any]:
    """Values of params, arrays or dicts of them, as flat arguments that hold them."""
    values: dict[str, Any] = {}
    for name, value in params.items():
        arrays: dict[str, np.ndarray] = {}
        values[f"param:{name}"] = value_of(f"param:{name}", value, arrays)
        values |= arrays
    return values


def without_params(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arguments as the user gave them, and the values of the params that are held, from flat ones."""
    given = assemble(values)
    params = {name.removeprefix("param:"): value for name, value in given.items() if name.startswith("param:")}
    return {name: value for name, value in given.items() if not name.startswith("param:")}, params


def call(function: Callable[..., Any], signature: inspect.Signature, values: Mapping[str, Any]) -> Any:
    """Run a model on flat arguments."""
    given = bound(signature, assemble(values))
    return function(*given.args, **given.kwargs)


def arguments(function: Callable[..., Any], data: Any) -> dict[str, Any]:
    """The arguments of a model, flat: float64 and whole-number arrays, and what shapes the program.

    ``data`` is a mapping of them, a frame (its columns), a tuple of positional arguments, the only argument itself (an
    array, a tensor, a list or a float), or a function that returns one of these.

    Raises:
        ValueError: an argument that the model lacks or does not know, or a value that is neither numbers nor words.
    """
    if callable(data) and not hasattr(data, "keys"):
        data = data()
    signature, values = signature_of(function), dict[str, Any]()
    try:
        given = by_name(signature, data)
        for name, value in given.items():
            arrays: dict[str, np.ndarray] = {}
            values[name] = value_of(name, value, arrays)
            values |= arrays
        bound(signature, assemble(values))
    except TypeError as error:
        left_out = superfluous(signature, data)
        advice = f"; leave out what it does not take ({left_out})" if left_out else ""
        raise ValueError(f"the model's arguments do not fit its data ({form_of(data)}): {error}{advice}") from None
    return values


def names_in(data: Any) -> Any:
    """The keys of a mapping or the columns of a frame; None where the data have no names."""
    names = data.keys() if hasattr(data, "keys") else getattr(data, "columns", None)
    return names if hasattr(data, "__getitem__") and getattr(data, "ndim", 2) != 1 else None


def is_lone(data: Any) -> bool:
    """Whether the data are one argument: an array, a tensor, a column, a list or a float."""
    return names_in(data) is None and (hasattr(data, "__array__") or isinstance(data, list | float))


def superfluous(signature: inspect.Signature, data: Any) -> str:
    """The names in the data that are no arguments of the model."""
    names = names_in(data)
    return ", ".join(str(name) for name in (() if names is None else names) if str(name) not in signature.parameters)


def form_of(data: Any) -> str:
    """The names of the data, or what they are."""
    if isinstance(data, tuple | Positional):
        return "by position"
    names = names_in(data)
    return "none" if names is None else ", ".join(map(str, names)) or "none"


def by_name(signature: inspect.Signature, data: Any) -> dict[str, Any]:
    """Data by the names of the model's arguments.

    Raises:
        TypeError: positional arguments that do not fit the model's.
        ValueError: the data are in no form that has names.
    """
    if data is None:
        return {}
    if is_lone(data) and len(signature.parameters) > 1:
        names = ", ".join(signature.parameters)
        kind = type(data).__name__
        raise ValueError(f"data is a {kind}, and the model has the arguments {names}: give a dict of them")
    if isinstance(data, tuple) or is_lone(data):
        data = Positional(data if isinstance(data, tuple) else (data,))
    if isinstance(data, Positional):
        given = dict(signature.bind(*data.args, **(data.kwargs or {})).arguments)
        kinds = {name: signature.parameters[name].kind for name in given}
        extra = [name for name, kind in kinds.items() if kind is inspect.Parameter.VAR_KEYWORD]
        return {n: v for n, v in given.items() if n not in extra} | (given[extra[0]] if extra else {})
    names = names_in(data)
    if names is None:
        first = next(iter(signature.parameters), "y")
        raise ValueError(
            f'data is a {type(data).__name__}: give a dict of the model\'s arguments, such as {{"{first}": ...}}'
        )
    coordinates = [name for name in getattr(data, "coords", ()) if name in signature.parameters]  # of xarray
    return {str(name): data[name] for name in (*names, *coordinates)}


def value_of(name: str, value: Any, arrays: dict[str, np.ndarray], inside: bool = False) -> Any:
    """One argument: arrays, columns, lists of numbers and floats become arrays; flags, counts and words stay.

    Args:
        name: Its name.
        value: As the user gave it.
        arrays: Where the arrays of a dict, list or tuple go, by name.
        inside: Whether it is an item of one; there a float stays what it is.

    Raises:
        ValueError: it is or holds what is neither numbers nor words.
    """
    if value is None or isinstance(value, bool | int | str) or (inside and isinstance(value, float)):
        return value
    if isinstance(value, Mapping):
        items = ((key, value_of(f"{name}.{key}", item, arrays, True)) for key, item in value.items())
        return Container("dict", tuple(items))
    array = as_array(name, value)
    if array is None:
        items = ((place, value_of(f"{name}.{place}", item, arrays, True)) for place, item in enumerate(value))
        return Container("list" if isinstance(value, list) else "tuple", tuple(items))
    if not inside or isinstance(array, Words):
        return array
    arrays[name] = array
    return Leaf(name)


def as_array(name: str, value: Any) -> Any:
    """The value as an array of numbers or `Words`; None for a list or tuple that is no array.

    Raises:
        ValueError: it holds something else.
    """
    is_sequence = isinstance(value, list | tuple)
    if isinstance(value, tuple) and any(np.ndim(item) for item in value if hasattr(item, "shape")):
        return None  # a tuple of arrays
    if hasattr(value, "detach"):  # a tensor
        value = value.detach()
    try:
        array = np.asarray(value)
    except Exception:
        if is_sequence:
            return None
        array = np.asarray(None)
    if array.dtype.kind in "biu":
        return array if array.ndim else array[()]
    if array.dtype.kind == "O" and array.ndim:  # a column or list of numbers that are stored as objects
        with suppress(TypeError, ValueError):
            array = array.astype(float)
    if array.dtype.kind == "f":
        return array.astype(float)[()]
    if is_sequence and not all(isinstance(item, str) for item in value):
        return None
    if array.dtype.kind in "OUT" and array.size and all(isinstance(item, str) for item in array.ravel()):
        return Words(tuple(map(str, array.ravel())), array.shape)
    raise ValueError(
        f"data: {name!r} holds {described(array)}; give numbers (of words their codes), a flag, a count or words"
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
