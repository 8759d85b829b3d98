"""One fit on its way: where it is, what has been measured there, and where it ended."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from compare.fit.svi.gap import Gap, Metric
from guides.contract import Coordinates, Parameters

__all__ = ["FEW", "UNKNOWN", "Outcome", "State"]

FEW, MANY = 8, 4096
"""Batches of draws that a gap is measured with, at first and at most."""

NUMBERS = 20_000_000
"""Numbers that the gradients of these batches may hold."""

UNKNOWN = Gap(float("inf"), float("inf"))


@dataclass
class Outcome:
    """Where a fit ended. ``history`` holds (gradient evaluations, parameters) on the way, the start first.

    ``failed`` says that it could not even begin; ``reason`` then says why.
    """

    parameters: Parameters
    gap: Gap
    converged: bool
    reason: str | None
    gradients: int
    history: list[tuple[int, Parameters]] = field(default_factory=list)
    failed: bool = False


@dataclass(eq=False)
class State:
    """One fit on its way: where it is, and the path gradients of fresh batches there."""

    number: int
    seed: int
    coordinates: Coordinates
    x: np.ndarray
    spent: int
    history: list[tuple[int, Parameters]]
    size: float = 1.0
    gradients: list[np.ndarray] = field(default_factory=list)
    metric: Metric | None = None
    gap: Gap = UNKNOWN
    batches: int = 1

    def move(self, x: np.ndarray, coordinates: Coordinates | None = None) -> None:
        """Go there, and forget what was measured here."""
        self.x, self.coordinates = x, coordinates or self.coordinates
        self.gradients, self.metric, self.gap = [], None, UNKNOWN
        self.history.append((self.spent, self.parameters))

    @property
    def parameters(self) -> Parameters:
        return self.coordinates.parameters(self.x)

    @property
    def finite(self) -> bool:
        return all(np.isfinite(one).all() for one in self.gradients)

    @property
    def rounded(self) -> bool:
        """Whether -ELBO is known to bend about the same in every direction."""
        return self.metric is not None and self.metric.near_optimum() and self.metric.spread() < 0.5

    @property
    def may_look(self) -> bool:
        """Whether as many batches again are still affordable."""
        return len(self.gradients) < min(MANY, max(FEW, NUMBERS // self.x.size))

    @property
    def after(self) -> float:
        """The gap that a Newton step from here would leave: the noise of the mean gradient."""
        gradients = self.metric.power(np.stack(self.gradients), -0.5)
        return float(0.5 * gradients.var(axis=0, ddof=1).sum() / len(gradients))
