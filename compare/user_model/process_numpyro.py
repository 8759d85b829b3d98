"""What JAX and NumPyro keep for the whole process."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import jax
import numpyro
from numpyro.distributions import Distribution, distribution

from compare.user_model.drawing import watch
from compare.user_model.programs_numpyro import undisturbed_cache


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


def watch_draws() -> AbstractContextManager[list[str]]:
    """A block in which draws are noted whose numbers depend on whether they are float32 or float64."""
    functions = {name: entry for name, entry in vars(jax.random).items() if inspect.isfunction(entry)}
    typed = {name for name, entry in functions.items() if "dtype" in inspect.signature(entry).parameters}
    same = {"key", "PRNGKey", "poisson"}
    return watch(jax.random, sorted(typed - same | {"bernoulli", "categorical", "choice"}))
