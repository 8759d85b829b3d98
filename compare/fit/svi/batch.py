"""One objective evaluated for many fits: in vectorised calls, or directly for a single fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from compare.fit.svi.protocol import Evaluation, LogJoint, Objective
from guides.contract import Parameters

__all__ = ["Batch"]

SIZES = (8, 64)
"""Fits in one vectorised call: two shapes, two compilations. Fewer than the smaller are filled up with copies."""


class Batch:
    """The objective at the data sets of the fits; ``which`` numbers the fits that a call is about."""

    def __init__(self, objective: Objective, data: Sequence[Any]) -> None:
        self.objective, self.data = objective, data
        self.stacked = {}
        if len(data) > 1:
            self.stacked = {name: np.stack([np.asarray(values[name]) for values in data]) for name in data[0]}

    @property
    def log_joint(self) -> LogJoint:
        if self.objective.log_joint is None:
            raise TypeError("a family without coordinates around a mode has no use for the log joint")
        return self.objective.log_joint

    def pieces(self, which: np.ndarray) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray], int]]:
        """The places in ``which`` of each vectorised call, their data, and how many of them are no copies."""
        begin = 0
        while begin < len(which):
            left = len(which) - begin
            size = max((size for size in SIZES if size <= left), default=SIZES[0])
            places = np.minimum(np.arange(begin, begin + size), len(which) - 1)
            yield places, {name: value[which[places]] for name, value in self.stacked.items()}, min(left, size)
            begin += size

    def evaluate(self, which: np.ndarray, parameters: list[Parameters], draws: list[np.ndarray]) -> list[Evaluation]:
        """The ELBO of each fit at its own parameters and draws."""
        if len(which) == 1:
            return [self.objective.evaluate(parameters[0], draws[0], self.data[which[0]])]
        evaluations: list[Evaluation] = []
        for places, data, count in self.pieces(which):
            stacked = {name: np.stack([parameters[place][name] for place in places]) for name in parameters[0]}
            many = self.objective.evaluate_many(stacked, np.stack([draws[place] for place in places]), data)
            evaluations += [many.of(place) for place in range(count)]
        return evaluations

    def value(self, which: np.ndarray, locations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """log p(x, z) of each fit at its own unconstrained z, and the gradients: shapes (fits,) and (fits, d)."""
        if len(which) == 1:
            value, gradient = self.log_joint.value(locations[0], self.data[which[0]])
            return np.array([value]), gradient[None]
        pairs = [
            [part[:count] for part in self.log_joint.value_many(locations[places], data)]
            for places, data, count in self.pieces(which)
        ]
        values, gradients = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
        return values, gradients

    def precision(self, which: np.ndarray, locations: np.ndarray) -> np.ndarray:
        """Minus the log joint's Hessian of each fit: dense (fits, d, d), or tridiagonal (fits, 2, d)."""
        if len(which) == 1:
            return self.log_joint.precision(locations[0], self.data[which[0]])[None]
        pieces = self.pieces(which)
        return np.concatenate(
            [self.log_joint.precision_many(locations[places], data)[:count] for places, data, count in pieces]
        )
