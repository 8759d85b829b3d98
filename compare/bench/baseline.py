"""What the two libraries' default loops share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np


def bind(
    module: ModuleType, arguments: Mapping[str, Any], convert: Callable[[Any], Any]
) -> tuple[SimpleNamespace, dict[str, Any]]:
    """The functions of a twin's file with its plain arguments filled in, and the converted arrays among them."""
    arrays = {name: convert(value) for name, value in arguments.items() if isinstance(value, np.ndarray | np.generic)}
    static = {name: value for name, value in arguments.items() if name not in arrays}
    functions = {name: partial(value, **static) for name, value in vars(module).items() if callable(value)}
    return SimpleNamespace(**functions), arrays
