"""A user's NumPyro model at many unconstrained points at once, by the library's own transforms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

import jax
import numpy as np
from numpyro import handlers
from numpyro.infer.util import constrain_fn, potential_energy, unconstrain_fn

from compare.user_model.arguments import Static
from compare.user_model.density_numpyro import split_arguments
from compare.user_model.in_numpyro import twin, unsplit
from compare.user_model.jit_numpyro import ONCE, QUICK, unvalidated

Arrays = dict[str, Any]

FEWEST = 4
"""Unconstrained dimensions from which gradients are compiled to run fast: importance sampling then takes some 10^5."""

FEW, LONG = 32, 50
"""Points that are not filled up to a full call's, whose gradients a program of their own computes; and the numbers of
data from which that saves more time than it takes to compile."""


class Compiled:
    """The functions of a model, whatever its data. A point is a dict of unconstrained values by site."""

    def __init__(self, user: Any, static: Static) -> None:
        self.program = handlers.seed(partial(twin(user).model, **dict(static)), 0)
        self.plain = partial(unsplit, user, **dict(static))
        self.draw = jax.jit(self._draws, compiler_options=ONCE, static_argnums=2)
        self.value, self.constrain, self.unconstrain = (
            vectorised(function, ONCE) for function in (self._log_joint, self._constrain, self._unconstrain)
        )
        both = jax.value_and_grad(self._log_joint)
        self.gradient, self.gradient_of_many = (vectorised(both, options) for options in (ONCE, QUICK))

    @unvalidated
    def _draws(self, keys: jax.Array, data: Arrays, names: tuple[str, ...]) -> Arrays:
        """A draw from the prior for each key, unconstrained."""

        def draw(key: jax.Array) -> Arrays:
            trace = handlers.trace(handlers.seed(self.plain, key)).get_trace(**data)
            return unconstrain_fn(self.program, (), data, {name: trace[name]["value"] for name in names})

        return jax.vmap(draw)(keys)

    def _log_joint(self, point: Arrays, data: Arrays) -> jax.Array:
        return -potential_energy(self.program, (), data, point)

    def _constrain(self, point: Arrays, data: Arrays) -> Arrays:
        return constrain_fn(self.program, (), data, point, return_deterministic=True)

    def _unconstrain(self, latents: Arrays, data: Arrays) -> Arrays:
        return unconstrain_fn(self.program, (), data, latents)


def vectorised(function: Callable[..., Any], options: dict[str, Any]) -> Callable[..., Any]:
    """The function of many points at once, compiled with these options."""
    return jax.jit(jax.vmap(unvalidated(function), in_axes=(0, None)), compiler_options=options)


@lru_cache(maxsize=16)
def compiled(user: Any, static: Static) -> Compiled:
    return Compiled(user, static)


class Functions:
    """What `compare.user_model.unconstrained.Functions` asks for, in NumPyro."""

    largest = (2048, 256)

    def __init__(self, user: Any, arguments: Mapping[str, Any], names: tuple[str, ...]) -> None:
        self.data, static = split_arguments(arguments)
        self.compiled, self.names = compiled(user, static), names
        self.is_long = sum(np.size(value) for value in self.data.values()) >= LONG

    def draw(self, count: int, seed: int) -> dict[str, np.ndarray]:
        keys = jax.random.split(jax.random.key(seed), count)
        return jax.tree.map(np.asarray, self.compiled.draw(keys, self.data, self.names))

    def value(self, points: dict[str, np.ndarray], size: int) -> np.ndarray:
        return self._padded(self.compiled.value, points, size)

    def gradient(self, points: dict[str, np.ndarray], size: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """In many dimensions a program that runs fast; another serves few points, as the last ones of a climb."""
        if sum(value[0].size for value in points.values()) < FEWEST:
            return self._padded(self.compiled.gradient, points, size)
        if self.is_long and len(next(iter(points.values()))) <= FEW:
            return self._padded(self.compiled.gradient, points, min(FEW, size))
        return self._padded(self.compiled.gradient_of_many, points, size)

    def constrain(self, points: dict[str, np.ndarray], size: int) -> dict[str, np.ndarray]:
        return self._padded(self.compiled.constrain, points, size)

    def unconstrain(self, latents: dict[str, np.ndarray], size: int) -> dict[str, np.ndarray]:
        return self._padded(self.compiled.unconstrain, latents, size)

    def _padded(self, function: Callable[..., Any], points: dict[str, np.ndarray], size: int) -> Any:
        """The function of at most ``size`` points, filled up to that many: one shape, one compilation."""
        count = len(next(iter(points.values())))
        rows = np.minimum(np.arange(size), count - 1)
        result = function({name: value[rows] for name, value in points.items()}, self.data)
        return jax.tree.map(lambda value: np.asarray(value)[:count], result)
