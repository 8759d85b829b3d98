"""What a library computes for a fit, and nothing else crosses: NumPy in, NumPy out.

``data`` are in the library's own form. Functions that take one fit also take many in one call, where all arrays, the
data's too, have the fits first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from inspect import isfunction
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np

from compare.user_model.arguments import Static
from guides.contract import Parameters

__all__ = ["DENSE", "Density", "Evaluation", "LogJoint", "Objective", "Static", "bind"]

DENSE = 600
"""Largest dimension whose curvature is computed as a full matrix; beyond it as a tridiagonal one."""

Density = Callable[[dict[str, np.ndarray], Any], tuple[np.ndarray, np.ndarray]]
"""Latents of shapes (count, *site) and data in, log p(z) and log p(x | z) of shape (count,) out, in nats."""


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
    """log p(x, z) of a model in its unconstrained space, up to a constant."""

    def value(self, location: np.ndarray, data: Any) -> tuple[np.ndarray, np.ndarray]:
        """The log joint at z = location, shape (d,), and its gradient."""

    def precision(self, location: np.ndarray, data: Any) -> np.ndarray:
        """Minus the Hessian: dense, shape (d, d), or beyond `DENSE` its tridiagonal in lower banded form, (2, d)."""

    def products(self, location: np.ndarray, directions: np.ndarray, data: Any) -> np.ndarray:
        """Minus the Hessian at a location, shape (d,), times each direction, shape (m, d)."""


class Objective(Protocol):
    """-ELBO of one guide for one model, in one library.

    Attributes:
        dimension: The number of standard normals that one draw from the guide takes.
        log_joint: The model's log joint, where the family has coordinates around its mode.
        mask_probabilities: P(1) of each element of the guide's dropout masks, in the order of the draws that they are
            made of; shape (0,) where it has none.
    """

    dimension: int
    mask_probabilities: np.ndarray
    log_joint: LogJoint | None

    def start(self, seed: int, data: Any) -> Parameters:
        """The parameters that the guide starts from."""

    def evaluate(self, parameters: Parameters, draws: np.ndarray, data: Any) -> Evaluation:
        """The ELBO at given standard normal draws, shape (rows, dimension). One row counts one gradient."""

    def param_sites(self, parameters: Parameters) -> dict[str, Any]:
        """The guide's param sites, constrained, by name, as the library has them."""

    def adam(self, seed: int, data: Any, steps: int, learning_rate: float) -> Parameters:
        """Where the library's own SVI ends with Adam and one draw a step."""


def bind(twin: Any, static: Static) -> SimpleNamespace:
    """The functions of a twin's file (model, guides) with the static arguments filled in."""
    functions = {
        name: partial(function, **dict(static))
        for name, function in vars(twin).items()
        if isfunction(function) and function.__module__ == twin.__name__
    }
    return SimpleNamespace(**functions)
