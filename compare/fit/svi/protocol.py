"""What a library computes for a fit, and nothing else crosses: NumPy in, NumPy out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from inspect import isfunction
from types import ModuleType, SimpleNamespace
from typing import Any, Protocol

import numpy as np

from guides.contract import Parameters

__all__ = ["DENSE", "Density", "Evaluation", "Objective", "bind"]

DENSE = 600
"""Largest dimension whose curvature is kept as a full matrix; beyond it as a tridiagonal one."""


@dataclass(frozen=True)
class Evaluation:
    """The ELBO at one set of draws.

    ``log_ratio`` is log p(x, z) - log q(z) of each draw, shape (rows,), in nats; ``latents`` the draws in the model's
    constrained space. ``total`` is the gradient of -mean(log_ratio) with respect to the parameters; ``path`` is its
    part through the value of z alone (sticking the landing): the same in expectation, with no noise where q is the
    posterior.
    """

    log_ratio: np.ndarray
    latents: dict[str, np.ndarray]
    total: Parameters
    path: Parameters

    def of(self, fit: int) -> Evaluation:
        """One fit's share, where all arrays have the fits first."""
        return Evaluation(
            log_ratio=self.log_ratio[fit],
            latents={name: value[fit] for name, value in self.latents.items()},
            total={name: value[fit] for name, value in self.total.items()},
            path={name: value[fit] for name, value in self.path.items()},
        )


class Objective(Protocol):
    """-ELBO of one guide for one model, in one library. ``data`` are the twin's arguments in the library's own form."""

    def start(self, seed: int, data: Any) -> Parameters:
        """The parameters that the guide starts from."""

    def dimension(self, parameters: Parameters, data: Any) -> int:
        """How many standard normals one draw from the guide takes."""

    def evaluate(self, parameters: Parameters, draws: np.ndarray, data: Any) -> Evaluation:
        """The ELBO at given standard normal draws, shape (rows, dimension)."""

    def adam(self, seed: int, data: Any, steps: int, learning_rate: float) -> tuple[Parameters, np.ndarray]:
        """The library's usual way: its SVI with Adam, one draw a step. The parameters, and the loss of each step."""

    def log_joint(self, location: np.ndarray, data: Any) -> tuple[float, np.ndarray]:
        """log p(x, z) at z = location in the unconstrained space, up to a constant, and its gradient, shape (d,)."""

    def precision(self, location: np.ndarray, data: Any) -> np.ndarray:
        """Minus the log joint's Hessian there: dense (d, d), or its tridiagonal in lower banded form (2, d)."""


class Vectorised(Objective, Protocol):
    """An objective that can be asked by many fits in one call: all arrays, the data's too, have the fits first."""

    def evaluate_many(self, parameters: Parameters, draws: np.ndarray, data: Any) -> Evaluation:
        """`evaluate` of each."""

    def log_joint_many(self, locations: np.ndarray, data: Any) -> tuple[np.ndarray, np.ndarray]:
        """`log_joint` of each: shapes (fits,) and (fits, d)."""

    def precision_many(self, locations: np.ndarray, data: Any) -> np.ndarray:
        """`precision` of each."""


class Density(Protocol):
    """A model's log densities in its own constrained space, in one library."""

    def __call__(self, latents: dict[str, np.ndarray], data: Any) -> tuple[np.ndarray, np.ndarray]:
        """Latents of shapes (count, *site) in, log p(z) and log p(x | z) of shape (count,) out, in nats."""


def bind(twin: ModuleType, static: dict[str, Any]) -> SimpleNamespace:
    """The functions of a twin's file (model, guides) with the static arguments filled in."""
    functions = {
        name: function
        for name, function in vars(twin).items()
        if isfunction(function) and function.__module__ == twin.__name__
    }
    return SimpleNamespace(**{name: partial(function, **static) for name, function in functions.items()})
