"""Likelihoods of a user's model whose support depends on latents."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import numpy as np


def with_bounds(fn: Any, distribution: type, transformed: type, bounded: type, moves: bool = False) -> Any:
    """The likelihood with the density 0 outside of its support, where that is not the same for all latents.

    Uniform(0, theta) in NumPyro and a shifted exponential in either library have a density there too, unless they check
    their values; the zoo turns these checks off.

    Args:
        fn: The distribution, which is left as it is.
        distribution: The library's class of all distributions.
        transformed: That of transformed ones, whose base has values that follow from the latents.
        bounded: The class that gives a distribution the density 0 outside of its support.
        moves: Whether it is a part of a transformed one.
    """
    inner = {name: part for name, part in vars(fn).items() if isinstance(part, distribution)}
    moves = moves or isinstance(fn, transformed) or (not inner and has_bounds(fn))
    parts = {name: with_bounds(part, distribution, transformed, bounded, moves) for name, part in inner.items()}
    is_leaf = moves and not inner
    if not is_leaf and all(parts[name] is inner[name] for name in inner):
        return fn
    checked = copy.copy(fn)
    vars(checked).update(parts, _validate_args=False)
    if is_leaf:
        kinds: Any = bounded, type(fn)
        checked.__class__ = derived(*kinds)
    return checked


@cache
def derived(bounded: Any, kind: Any) -> Any:
    """The class of distributions with the density 0 outside of their support."""
    return type(kind.__name__, (bounded, kind), {})


def has_bounds(fn: Any) -> bool:
    """Whether the support ends at numbers that are arrays, and so may depend on latents."""
    try:
        support = fn.support
    except NotImplementedError:
        return False
    ends = (getattr(support, name, 0.0) for name in ("lower_bound", "upper_bound"))
    return any(not isinstance(end, int | float | np.number) for end in ends)
