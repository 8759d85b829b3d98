"""Arguments whose values a model needs to run, not only their shapes.

What a library compiles sees the shapes of the data alone, and their values later. A model that asks NumPy which values
are missing, how many groups there are, or whether the first is positive, cannot be compiled so; those arguments are
held fixed, as part of the program.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np

from compare.user_model.arguments import Fixed

__all__ = ["fix_needed"]


def fix_needed(user: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """The flat arguments of a user's model, those held fixed whose values it needs to run, and no others.

    They stay as they are where that does not help: what the model cannot do is said when it is inspected.
    """
    side = import_module(f"compare.user_model.in_{user.library}")
    if side.runs(user, values):
        return dict(values)
    arrays = [name for name, value in values.items() if isinstance(value, np.ndarray | np.generic)]
    fixed = {**values, **{name: Fixed.of(values[name], user.library) for name in arrays}}
    if not side.runs(user, fixed):
        return dict(values)
    for name in arrays:
        fewer = {**fixed, name: values[name]}
        fixed = fewer if side.runs(user, fewer) else fixed
    return fixed
