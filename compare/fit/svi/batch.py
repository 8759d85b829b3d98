"""One objective asked by many fits at once: in one vectorised call where the library has one, else one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from compare.fit.svi.protocol import Evaluation, Objective
from guides.contract import Parameters

__all__ = ["Batch"]

SIZES = (8, 64)
"""Fits in one vectorised call: two shapes, two compilations. Fewer than the smaller are made up to it with copies."""


class Batch:
    """The objective at the data sets of the fits; ``which`` numbers the fits that ask."""

    def __init__(self, objective: Objective, data: Sequence[Any]) -> None:
        self.objective, self.data = objective, data
        self.together = len(data) > 1 and hasattr(objective, "evaluate_many")
        if self.together:
            self.stacked = {name: np.stack([np.asarray(one[name]) for one in data]) for name in data[0]}

    def pieces(self, which: np.ndarray) -> list[tuple[np.ndarray, dict[str, np.ndarray], int]]:
        """The places in ``which`` of each call, their data, and how many of them are no copies."""
        found, begin = [], 0
        while begin < len(which):
            left = len(which) - begin
            size = max((size for size in SIZES if size <= left), default=SIZES[0])
            places = np.minimum(np.arange(begin, begin + size), len(which) - 1)
            data = {name: value[which[places]] for name, value in self.stacked.items()}
            found.append((places, data, min(left, size)))
            begin += size
        return found

    def evaluate(self, which: np.ndarray, parameters: list[Parameters], draws: list[np.ndarray]) -> list[Evaluation]:
        """The ELBO of each fit at its own parameters and draws."""
        if not self.together or len(which) == 1:
            return [
                self.objective.evaluate(*one, self.data[fit])
                for fit, *one in zip(which, parameters, draws, strict=True)
            ]
        found: list[Evaluation] = []
        for places, data, count in self.pieces(which):
            stacked = {name: np.stack([parameters[place][name] for place in places]) for name in parameters[0]}
            many = self.objective.evaluate_many(stacked, np.stack([draws[place] for place in places]), data)
            found += [many.of(place) for place in range(count)]
        return found

    def log_joint(self, which: np.ndarray, locations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """log p(x, z) of each fit at its own unconstrained z, and the gradients: shapes (fits,) and (fits, d)."""
        if not self.together or len(which) == 1:
            pairs = [self.objective.log_joint(z, self.data[fit]) for fit, z in zip(which, locations, strict=True)]
            return np.array([value for value, _ in pairs]), np.stack([gradient for _, gradient in pairs])
        values, gradients = [], []
        for places, data, count in self.pieces(which):
            value, gradient = self.objective.log_joint_many(locations[places], data)
            values.append(value[:count])
            gradients.append(gradient[:count])
        return np.concatenate(values), np.concatenate(gradients)

    def precision(self, which: np.ndarray, locations: np.ndarray) -> np.ndarray:
        """Minus the log joint's Hessian of each fit: dense (fits, d, d), or tridiagonal (fits, 2, d)."""
        if not self.together or len(which) == 1:
            return np.stack(
                [self.objective.precision(z, self.data[fit]) for fit, z in zip(which, locations, strict=True)]
            )
        pieces = self.pieces(which)
        return np.concatenate([self.objective.precision_many(locations[p], data)[:count] for p, data, count in pieces])
