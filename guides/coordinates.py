"""Coordinates for families with many parameters, such as networks' weights, some of which stay unchanged."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from guides.contract import Parameters, Preconditioner


class FreeElements(Preconditioner):
    """The free elements of the parameters as begin + x, or begin exp(x) where they must be positive.

    Args:
        start: The parameters at x = 0, those that stay included.
        where: The places of the free elements by parameter, in row-major order; x has them in this order.
        positive: The parameters that must be positive.
    """

    def __init__(self, start: Parameters, where: Mapping[str, np.ndarray], positive: Collection[str] = ()) -> None:
        self.start, self.where, self.positive = start, where, positive
        self.ends = np.cumsum([len(places) for places in where.values()])
        self.size = int(self.ends[-1])
        self.begin = self.values(start)

    def values(self, parameters: Parameters) -> np.ndarray:
        return self._picked({n: np.log(v) if n in self.positive else v for n, v in parameters.items()})

    def _picked(self, parameters: Parameters) -> np.ndarray:
        return np.concatenate([parameters[name].flat[places] for name, places in self.where.items()])

    def parameters(self, x: np.ndarray) -> Parameters:
        parameters = dict(self.start)
        for (name, places), part in zip(self.where.items(), np.split(x, self.ends[:-1]), strict=True):
            value = parameters[name] = np.array(parameters[name])
            here = value.flat[places]
            value.flat[places] = here * np.exp(part) if name in self.positive else here + part
        return parameters

    def pullback(self, x: np.ndarray, gradient: Parameters) -> np.ndarray:
        here = self.parameters(x) if self.positive else {}
        return self._picked({n: g * here[n] if n in self.positive else g for n, g in gradient.items()})

    def locate(self, parameters: Parameters) -> np.ndarray:
        return self.values(parameters) - self.begin
