"""What the benchmark runs on: a model and its data, named in one word, ``MODEL:OPTION=VALUE,OPTION=VALUE``."""

from __future__ import annotations

import re
from typing import Any

import models
from compare.options import option_fields, parse_field
from models.contract import Model, UnknownName, nearest


def parse(text: str) -> tuple[Model, Any]:
    """The model and the data that ``MODEL`` or ``MODEL:OPTION=VALUE,...`` stands for.

    A comma belongs to the value unless another ``OPTION=`` follows it.

    Raises:
        ValueError: no such option, a value that the model's data refuse, or a model whose guides have encoders.
    """
    name, _, options = text.partition(":")
    model = models.load(name)
    fields = {field.name: field for field in option_fields(model.data)}
    given = {}
    try:
        for part in filter(None, re.split(r",(?=\s*[A-Za-z_][\w-]*=)", options)):
            key, equals, value = part.strip().partition("=")
            key = key.replace("-", "_")
            if not equals:
                raise ValueError(f"{part!r} is not an option; write {name}:OPTION=VALUE, OPTION={'|'.join(fields)}")
            if key not in fields:
                raise UnknownName(f"{name} has no option {key!r}; {nearest(key, fields)}")
            try:
                given[key] = parse_field(fields[key], value)
            except ValueError as error:
                raise ValueError(f"{key}: {error}") from None
        data = model.data(**given)
    except ValueError as error:
        raise ValueError(f"{text}: {error}") from None
    if model.amortization is not None:
        raise ValueError(f"{text}: its guides have encoders, which the benchmark does not time; choose another model")
    return model, data


def offered() -> list[str]:
    """The models that the benchmark runs on by default."""
    return [name for name in models.CATALOGUE if models.load(name).amortization is None]
