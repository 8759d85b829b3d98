"""Likelihoods of a user's model whose support depends on latents."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np


def with_bounds(fn: Any, layers: Mapping[type, str], bounded: Mapping[bool, type], moves: bool = False) -> Any:
    """The likelihood with the density 0 outside of its support, where that is not the same for all latents.

    Uniform(0, theta) in NumPyro and a shifted exponential in either library have a density there too, unless they check
    their values; the zoo turns these checks off.

    Args:
        fn: The distribution, which is left as it is.
        layers: The library's distributions that consist of another one, and the name under which they hold it.
        bounded: The class that gives a distribution the density 0 outside of its support; by whether it is a
            transformed one.
        moves: Whether the values that it sees follow from latents: it is the base of a transformed one.
    """
    name = next((name for kind, name in layers.items() if isinstance(fn, kind)), None)
    is_transformed = hasattr(fn, "transforms")
    moves = moves or is_transformed or (name is None and has_bounds(fn))
    inner = None if name is None else getattr(fn, name)
    part = None if name is None else with_bounds(inner, layers, bounded, moves)
    is_last = moves and (name is None or is_transformed)
    if not is_last and part is inner:
        return fn
    checked = copy.copy(fn)
    vars(checked).update({} if name is None else {name: part}, _validate_args=False)
    if is_last:
        kinds: Any = bounded[is_transformed], type(fn)
        checked.__class__ = derived(*kinds)
    return checked


@cache
def derived(bounded: Any, kind: Any) -> Any:
    """The class of distributions with the density 0 outside of their support; ``original`` is the library's."""
    return type(kind.__name__, (bounded, kind), {"original": kind})


def original(fn: Any) -> type:
    """The library's class of a distribution."""
    return getattr(fn, "original", type(fn))


def has_bounds(fn: Any) -> bool:
    """Whether the support ends at numbers that are arrays, and so may depend on latents."""
    try:
        support = fn.support
    except NotImplementedError:
        return False
    ends = (getattr(support, name, 0.0) for name in ("lower_bound", "upper_bound"))
    return any(not isinstance(end, int | float | np.number) for end in ends)
