"""The data of a model: a dataclass whose fields are options of the command line, and how their text is read."""

import copy
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np


def option(default: Any, help: str, parse: Callable[[str], Any] | None = None, choices: Sequence[str] = ()) -> Any:
    """A field of a model's data that is also an option of the command line.

    ``parse`` turns the option's text into the value (`parse_int`, `parse_number`); without it the default's
    own type does.
    """
    metadata = {"help": help, "parse": parse or type(default), "choices": tuple(choices)}
    return dataclasses.field(default=default, metadata=metadata)


def derived() -> Any:
    """A field that ``__post_init__`` sets: it follows from the options, is none of them, and is not compared."""
    return dataclasses.field(init=False, repr=False, compare=False)


class Data:
    """Base of a model's data and constants: a frozen dataclass whose fields are made by `option` and `derived`.

    Its ``__post_init__`` validates and raises ``ValueError`` with one line that says what is wrong and what
    would be right. Override a method where the fields do not say it.
    """

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of both twins: here every option, numbers as float64, flags and words as they are."""
        return {
            name: value if isinstance(value, bool | str | None) else np.asarray(value, dtype=np.float64)[()]
            for name, value in self._fields()
        }

    def describe(self) -> dict[str, Any]:
        """The data in JSON's types, for the summary: here every option."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in self._fields()}

    def with_derived(self, **derived: Any) -> Self:
        """A copy in which these attributes have these values; nothing is checked or derived anew.

        It compares equal to the original where none of them is an option.
        """
        other = copy.copy(self)
        other._set(**derived)
        return other

    def _set(self, **values: Any) -> None:
        """Give attributes these values, for ``__post_init__``: else the object is frozen."""
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _fields(self) -> list[tuple[str, Any]]:
        return [(field.name, getattr(self, field.name)) for field in dataclasses.fields(self) if field.init]  # type: ignore[arg-type]


def check_limits(data: Data, limits: Mapping[str, tuple[int, int | None]]) -> None:
    """Make sure that these fields are whole numbers between their least and their largest value; None: no largest.

    Raises:
        ValueError: one is not.
    """
    for name, (least, most) in limits.items():
        value = getattr(data, name)
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ValueError(f"{name} is {value!r}: give a whole number, {least} or more")
        if most is not None and value > most:
            raise ValueError(f"{name} is {value}: give {most:,} or less")


def check_choices(data: Data, choices: Mapping[str, Sequence[str]]) -> None:
    """Make sure that each of these fields has one of its values.

    Raises:
        ValueError: one has not.
    """
    for name, values in choices.items():
        if getattr(data, name) not in values:
            raise ValueError(f"{name} is {getattr(data, name)!r}: give {' or '.join(values)}")


def parse_int(text: str) -> int:
    """A whole number from the command line; ``6.5`` and ``six`` are refused with a reason.

    Raises:
        ValueError: it is not one.
    """
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number; give a whole number, such as 6") from None
    if not math.isfinite(value) or value != math.floor(value):
        raise ValueError(f"{text} is not a whole number; give one, such as 6")
    return int(text) if text.lstrip("+-").isdigit() else int(value)


def parse_number(text: str) -> float:
    """A number from the command line; its range is for the data class to check.

    Raises:
        ValueError: it is no number.
    """
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number; give one, such as 2") from None


def parse_list(parse: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    """A parser of values separated by commas."""
    return lambda text: tuple(parse(part) for part in text.split(","))


def parse_or(word: str, parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """A parser that passes a word on, such as ``auto``, and gives all other text to ``parse``."""
    return lambda text: text if text == word else parse(text)
