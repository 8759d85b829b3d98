"""What a library computes for a fit, and nothing else crosses: NumPy in, NumPy out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from inspect import isfunction
from types import SimpleNamespace
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from compare.user_model.arguments import Static
from guides.contract import Parameters

__all__ = ["DENSE", "Density", "Evaluation", "Library", "LogJoint", "Objective", "PerShape", "Static", "bind"]

DENSE = 600
"""Largest dimension whose curvature is computed as a full matrix; beyond it as a tridiagonal one."""

Made = TypeVar("Made")


@dataclass(frozen=True)
class Evaluation:
    """The ELBO at one set of draws.

    Attributes:
        log_ratio: log p(x, z) - log q(z) of each draw, shape (rows,), in nats.
        latents: The draws in the model's constrained space.
        total: The gradient of -mean(log_ratio) with respect to the parameters.
        path: Its part through the value of z alone (sticking the landing): the same in expectation, with no noise where
            q is the posterior.
    """

    log_ratio: np.ndarray
    latents: dict[str, np.ndarray]
    total: Parameters
    path: Parameters

    def of(self, fit: int) -> Evaluation:
        """One fit's share, where all arrays have the fits first."""
        latents, total, path = (
            {name: value[fit] for name, value in part.items()} for part in (self.latents, self.total, self.path)
        )
        return Evaluation(self.log_ratio[fit], latents, total, path)


class LogJoint(Protocol):
    """log p(x, z) of a model in its unconstrained space, up to a constant. ``data`` are in the library's own form.

    The functions that end in ``_many`` take many fits in one call: all arrays, the data's too, have the fits first.
    """

    def value(self, location: np.ndarray, data: Any) -> tuple[float, np.ndarray]:
        """The log joint at z = location, shape (d,), and its gradient."""

    def value_many(self, locations: np.ndarray, data: Any) -> tuple[np.ndarray, np.ndarray]:
        """`value` of each: shapes (fits,) and (fits, d)."""

    def precision(self, location: np.ndarray, data: Any) -> np.ndarray:
        """Minus the Hessian: dense, shape (d, d), or beyond `DENSE` its tridiagonal in lower banded form, (2, d)."""

    def precision_many(self, locations: np.ndarray, data: Any) -> np.ndarray:
        """`precision` of each."""


class Objective(Protocol):
    """-ELBO of one guide for one model, in one library; ``data`` as for `LogJoint`.

    Attributes:
        dimension: The number of standard normals that one draw from the guide takes.
        log_joint: The model's log joint, where the family has coordinates around its mode.
    """

    dimension: int
    log_joint: LogJoint | None

    def start(self, seed: int, data: Any) -> Parameters:
        """The parameters that the guide starts from."""

    def evaluate(self, parameters: Parameters, draws: np.ndarray, data: Any) -> Evaluation:
        """The ELBO at given standard normal draws, shape (rows, dimension). One row counts one gradient."""

    def evaluate_many(self, parameters: Parameters, draws: np.ndarray, data: Any) -> Evaluation:
        """`evaluate` of many fits in one call."""

    def adam(self, seed: int, data: Any, steps: int, learning_rate: float) -> Parameters:
        """Where the library's own SVI ends with Adam and one draw a step."""


class Density(Protocol):
    """A model's log densities in its own constrained space, in one library."""

    def __call__(self, latents: dict[str, np.ndarray], data: Any) -> tuple[np.ndarray, np.ndarray]:
        """Latents of shapes (count, *site) in, log p(z) and log p(x | z) of shape (count,) out, in nats."""


class Library(Protocol):
    """The file of one library, such as `compare.fit.svi.objective_numpyro`."""

    def split_arguments(self, arguments: dict[str, Any]) -> tuple[dict[str, Any], Static]:
        """A twin's arguments: the arrays in the library's own form, and the static ones."""

    def prepare(self, model: str, family: str, static: Static, data: Any) -> Objective:
        """The objective of a family's guide for a model, made whole by data of the shapes that it will meet."""

    def density(self, model: str, static: Static) -> Density:
        """The densities of a model."""


def bind(twin: Any, static: Static) -> SimpleNamespace:
    """The functions of a twin's file (model, guides) with the static arguments filled in."""
    functions = {
        name: function
        for name, function in vars(twin).items()
        if isfunction(function) and function.__module__ == twin.__name__
    }
    return SimpleNamespace(**{name: partial(function, **dict(static)) for name, function in functions.items()})


class PerShape(Generic[Made]):
    """What is made once for data of the same shapes, from the first of them."""

    def __init__(self, make: Callable[[Any], Made]) -> None:
        self.make, self.by_shapes = make, dict[tuple, Made]()

    def __call__(self, data: dict[str, Any]) -> Made:
        shapes = tuple((name, tuple(value.shape), str(value.dtype)) for name, value in data.items())
        if shapes not in self.by_shapes:
            self.by_shapes[shapes] = self.make(data)
        return self.by_shapes[shapes]
