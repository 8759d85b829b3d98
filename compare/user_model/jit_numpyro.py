"""How NumPyro programs are compiled."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro

from compare.user_model.programs_numpyro import cache_programs

numpyro.enable_x64()
cache_programs()


def supported(options: dict[str, Any]) -> dict[str, Any]:
    """The compiler options, if this version of XLA knows them; none otherwise."""
    try:
        jax.jit(lambda x: x + 1, compiler_options=options)(jnp.zeros(1))
    except Exception:  # the kind of error differs between versions
        return {}
    return options


QUICK = supported({"xla_cpu_use_fusion_emitters": False})
"""Compiler options for everything: compiling takes two thirds of the time, running no longer."""

ONCE = QUICK | supported({"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True})
"""Compiler options for what runs a few times, or on a few numbers: compiling must not take longer than running."""

SMALL = 20
"""Largest dimension of a quick model."""

FEW = 1000
"""Most numbers of data of a quick model: running it is so quick that compiling is what counts."""


def compiled(function: Callable[..., Any]) -> dict[bool, Callable[..., Any]]:
    """The function compiled in two ways, by whether its run is quick: call the one that `is_quick` names."""
    return {quick: jax.jit(function, compiler_options=ONCE if quick else QUICK) for quick in (True, False)}


def is_quick(dimension: int, data: dict[str, Any]) -> bool:
    """Whether a model of this dimension on these data is quick to run."""
    return dimension <= SMALL and sum(np.size(value) for value in data.values()) <= FEW


def unvalidated(function: Callable[..., Any]) -> Callable[..., Any]:
    """Without the library's checks of arguments, which cannot see traced values and cost time on constants."""

    @wraps(function)
    def quiet(*arguments: Any) -> Any:
        with numpyro.validation_enabled(False):
            return function(*arguments)

    return quiet
