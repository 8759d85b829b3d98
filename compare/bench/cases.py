"""What the benchmark runs on: a model and its data, named in one word, ``MODEL:OPTION=VALUE,OPTION=VALUE``."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import models
from models.contract import Model, UnknownName, nearest

__all__ = ["offered", "parse"]


def parse(text: str) -> tuple[Model, Any]:
    """The model and the data that ``MODEL`` or ``MODEL:OPTION=VALUE,...`` stands for.

    A comma belongs to the value unless another ``OPTION=`` follows it.

    Raises:
        ValueError: no such option, a value that the model's data refuse, or a model whose guides have encoders.
    """
    name, _, rest = text.partition(":")
    model = models.load(name)
    fields = {field.name: field for field in dataclasses.fields(model.data) if "help" in field.metadata}
    given = {}
    for part in filter(None, re.split(r",(?=\s*[A-Za-z_][\w-]*=)", rest)):
        key, equals, value = part.strip().partition("=")
        key = key.replace("-", "_")
        if not equals:
            raise ValueError(f"{text}: {part!r} is not an option; write {name}:OPTION=VALUE, OPTION={'|'.join(fields)}")
        if key not in fields:
            raise UnknownName(f"{text}: {name} has no option {key!r}; {nearest(key, fields)}")
        metadata = fields[key].metadata
        if metadata["choices"] and value not in metadata["choices"]:
            raise ValueError(f"{text}: {key} is {value!r}; choose from {', '.join(metadata['choices'])}")
        try:
            given[key] = metadata["parse"](value)
        except ValueError as error:
            raise ValueError(f"{text}: {key}: {error}") from None
    try:
        data = model.data(**given)
    except ValueError as error:
        raise ValueError(f"{text}: {error}") from None
    if model.amortization is not None:
        raise ValueError(f"{text}: its guides have encoders, which the benchmark does not time; choose another model")
    return model, data


def offered() -> list[str]:
    """The models that the benchmark runs on unless told otherwise."""
    return [name for name in models.CATALOGUE if models.load(name).amortization is None]
