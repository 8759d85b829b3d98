"""What JAX and NumPyro keep for the whole process."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from types import ModuleType
from typing import Any

import jax
import numpyro
from numpyro.distributions import Distribution, distribution

from compare.user_model.programs_numpyro import undisturbed_cache

DEPENDENT = {"bool", "int64", "uint64", "float64", "complex128"}
"""Types of what jax.random draws that are others without float64, or decided by probabilities that are."""


def stored_params() -> dict[str, Any]:
    """Nothing: NumPyro has no store of params."""
    return {}


@contextmanager
def undisturbed() -> Iterator[None]:
    """A block in float64 with cached programs, after which x64, validation and the cache are as before."""
    x64, validation = jax.config.read("jax_enable_x64"), distribution._VALIDATION_ENABLED
    by_distributions = Distribution._validate_args
    numpyro.enable_x64()
    try:
        with undisturbed_cache():
            yield
    finally:
        jax.config.update("jax_enable_x64", x64)
        numpyro.enable_validation(validation)
        Distribution.set_default_validate_args(by_distributions)


@contextmanager
def watch_draws() -> Iterator[set[str]]:
    """A block in which draws of jax.random are noted whose numbers may depend on float64: yields the set of functions.

    Afterwards these are as before, also under the names by which a module imported them in the block.
    """
    modules, drawn = dict(sys.modules), set[str]()

    def noting(function: Callable[..., Any], name: str) -> Callable[..., Any]:
        @wraps(function)
        def noted(*args: Any, **kwargs: Any) -> Any:
            value = function(*args, **kwargs)
            if str(getattr(value, "dtype", "")) in DEPENDENT:
                drawn.add(name)
            return value

        return noted

    functions = {name: entry for name, entry in vars(jax.random).items() if inspect.isfunction(entry)}
    originals = {
        noting(functions[name], name): functions[name] for name in functions.keys() - {"permutation", "poisson"}
    }
    for noted, function in originals.items():
        setattr(jax.random, function.__name__, noted)
    try:
        yield drawn
    finally:
        new = [module for name, module in sys.modules.items() if module is not modules.get(name)]
        for module in (jax.random, *(module for module in new if isinstance(module, ModuleType))):
            for name, entry in list(vars(module).items()):
                if inspect.isfunction(entry) and entry in originals:
                    setattr(module, name, originals[entry])
