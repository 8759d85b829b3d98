"""The posterior of a logistic regression: quadrature up to four coefficients, importance sampling beyond."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from models.contract import Exact, Latents, Reference
from models.designs import coefficients
from models.logistic.data import LogisticData, separation
from models.logits import Logits, posterior


class LogJoint(Logits):
    """The intercept and the weights, and the classes."""

    latents = ("intercept", "weights")

    def __init__(self, data: LogisticData) -> None:
        super().__init__(data.design.with_ones, data.design.targets, data.prior_sd)
        self.data = data
        eye = np.eye(self.size)
        self.maps = {"intercept": eye[0], "weights": eye[1:]}

    def coefficients(self, latents: Latents) -> np.ndarray:
        return coefficients(latents)

    def extras(self) -> dict[str, Any]:
        return {"the classes are separable": separation(self.data.design) or "no"}


@lru_cache(maxsize=4)
def solved(data: LogisticData, content: tuple[bytes, ...]) -> Exact | Reference:
    """The posterior, computed once for each content of the data (a file's may change)."""
    return posterior(LogJoint(data)) or Reference("NUTS on all coefficients")


def truth(data: LogisticData) -> Exact | Reference:
    """Quadrature up to four coefficients, else importance sampling; where neither is accurate, a long NUTS run."""
    return solved(data, (data.design.inputs.tobytes(), data.design.targets.tobytes()))
