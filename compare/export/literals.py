"""A model's arguments as the text of a dictionary."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np

from compare.user_model.arguments import without_params

MOST = 400
"""Numbers up to which data are written out."""

ARRAY = {"numpyro": "jnp.array", "pyro": "torch.tensor"}


def size(arguments: Mapping[str, Any]) -> int:
    """How many numbers the arguments hold."""
    return sum(value.size for value in arguments.values() if isinstance(value, np.ndarray | np.generic))


def wide(arguments: Mapping[str, Any]) -> bool:
    """Whether the arguments are float64, not float32."""
    kinds = {value.dtype for value in arguments.values() if isinstance(value, np.ndarray | np.generic)}
    return np.dtype(np.float32) not in kinds


def dictionary(arguments: Mapping[str, Any], library: str) -> str:
    """``data = {...}``: every number to its last digit, each array in the library's own form."""
    given, _ = without_params(arguments)
    items = [f"{name!r}: {literal(value, library)}".replace("'", '"', 2) for name, value in given.items()]
    line = f"data = {{{', '.join(items)}}}"
    if len(line) <= 100 and "\n" not in line:
        return line
    return "data = {\n" + "".join(f"    {item},\n" for item in items) + "}"


def literal(value: Any, library: str) -> str:
    """One argument. Scalars are plain numbers in NumPyro; Pyro's observations must be tensors."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key!r}: {literal(item, library)}' for key, item in value.items())}}}"
    if isinstance(value, list | tuple):
        parts = ", ".join(literal(item, library) for item in value)
        return f"[{parts}]" if isinstance(value, list) else f"({parts},)"
    if isinstance(value, np.ndarray) and value.dtype.kind == "U":
        return repr(value.tolist())
    if not isinstance(value, np.ndarray | np.generic):
        return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
    column = value.shape[1:] == (1,)
    text = re.sub(r"\b(nan|inf)\b", r'float("\1")', repr((value.ravel() if column else value).tolist()))
    if value.ndim == 0 and library == "numpyro":
        return text
    if value.size == 0:
        return f"{ARRAY[library].rpartition('.')[0]}.zeros({value.shape})"
    if len(text) > 70:
        text = "\n" + textwrap.indent(textwrap.fill(text, 100, break_long_words=False), " " * 8) + "\n    "
    return f"{ARRAY[library]}({text})" + (".reshape(-1, 1)" if column else "")
