"""How the parameters of one member of a family stand in a row: what an encoder gives for one image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["size", "split"]

Shapes = Mapping[str, tuple[int, ...]]


def size(shapes: Shapes) -> int:
    """How many numbers a row has."""
    return sum(math.prod(shape) for shape in shapes.values())


def split(row: Any, shapes: Shapes) -> dict[str, Any]:
    """The parameters by name, shape (..., *shape), from rows of NumPy, JAX or torch, shape (..., size)."""
    parts, begin = {}, 0
    for name, shape in shapes.items():
        end = begin + math.prod(shape)
        parts[name] = row[..., begin:end].reshape((*row.shape[:-1], *shape))
        begin = end
    return parts
