"""One fit on its way: where it is, what has been measured there, and where it ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from compare.fit.svi.gap import Gap, Metric, raw
from guides.contract import Coordinates, Parameters

__all__ = ["FEW", "UNKNOWN", "Outcome", "State"]

FEW, MANY = 8, 4096
"""Batches of draws that a gap is measured with, at first and at most."""

NUMBERS = 20_000_000
"""Numbers that the gradients of these batches may hold."""

UNKNOWN = Gap(float("inf"), float("inf"))

Chosen = TypeVar("Chosen", bound=Coordinates)


@dataclass
class Outcome:
    """Where a fit ended.

    Attributes:
        history: (gradient evaluations, parameters) on the way, the start first.
        reason: Why it is not converged, or could not even begin.
        failed: Whether it could not begin.
    """

    parameters: Parameters
    gap: Gap
    converged: bool
    reason: str | None
    gradients: int
    history: list[tuple[int, Parameters]] = field(default_factory=list)
    failed: bool = False


@dataclass(eq=False)
class State(Generic[Chosen]):
    """One fit on its way.

    Attributes:
        number: Its number among the fits.
        x: Where it is, in its coordinates.
        spent: The gradient evaluations so far.
        size: The size of the ELBO there, in nats.
        gradients: Path gradients of fresh batches there.
        metric: The Hessian of -ELBO there, as far as it is known.
        batches: Batches that the Hessian is measured with.
    """

    number: int
    seed: int
    coordinates: Chosen
    x: np.ndarray
    spent: int
    history: list[tuple[int, Parameters]]
    size: float = 1.0
    gradients: list[np.ndarray] = field(default_factory=list)
    metric: Metric | None = None
    gap: Gap = UNKNOWN
    batches: int = 1

    def move(self, x: np.ndarray, coordinates: Chosen | None = None) -> None:
        """Go to x, and forget what was measured before."""
        self.x, self.coordinates = x, coordinates or self.coordinates
        self.gradients, self.metric, self.gap = [], None, UNKNOWN
        self.note()

    def note(self) -> None:
        """Add where the fit is to its history."""
        self.history.append((self.spent, self.parameters))

    @property
    def parameters(self) -> Parameters:
        return self.coordinates.parameters(self.x)

    @property
    def mean(self) -> np.ndarray:
        """The mean gradient."""
        return np.mean(self.gradients, axis=0)

    @property
    def is_finite(self) -> bool:
        return all(np.isfinite(gradient).all() for gradient in self.gradients)

    @property
    def known_metric(self) -> Metric:
        """The metric, where it has been measured."""
        assert self.metric is not None, "the metric is measured first"
        return self.metric

    @property
    def is_near_optimum(self) -> bool:
        return self.is_finite and self.known_metric.near_optimum()

    @property
    def is_whitened(self) -> bool:
        """Whether -ELBO is known to have about the same curvature in every direction."""
        return self.metric is not None and self.metric.near_optimum() and self.metric.spread() < 0.5

    @property
    def may_double(self) -> bool:
        """Whether as many batches again are still affordable."""
        return len(self.gradients) < min(MANY, max(FEW, NUMBERS // self.x.size))

    @property
    def gap_after_step(self) -> float:
        """The gap that a Newton step from here would leave: the noise of the mean gradient."""
        gradients = self.known_metric.power(np.stack(self.gradients), -0.5)
        return float(0.5 * gradients.var(axis=0, ddof=1).sum() / len(gradients))

    @property
    def floor(self) -> float:
        """The gap in nats that rounding alone can cause."""
        return 1e-12 * self.size

    def is_beyond(self, enough: float) -> bool:
        """Whether the gap is larger than ``enough`` whatever the noise and the curvature."""
        if not self.is_finite:
            return True
        gap = raw(np.stack(self.gradients))
        return 0.25 * (gap.value - 2 * gap.mcse) > enough
