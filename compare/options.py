"""What a user may say about the fits. The same defaults serve every model."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Options"]


@dataclass(frozen=True)
class Options:
    """Targets and limits of the fits.

    Attributes:
        tolerance: A guide has converged when its estimated optimisation gap plus two errors is below this, in nats.
        budget: Most seconds that a fit may take.
        optimiser: ``zoo``, which stops by itself, or ``adam``, the libraries' usual way.
        steps: Steps of ``adam``.
        learning_rate: Learning rate of ``adam``.
        draws: Draws from a guide or an exact posterior.
        ess: Effective sample size, bulk and tail, at which NUTS stops.
        r_hat: R-hat below which NUTS stops.
        warmup: Warm-up transitions of NUTS.
        reference_ess: Effective sample size at which a reference stops.
        reference_budget: Most seconds that a reference may take.
        reference_warmup: Warm-up transitions of a reference.
        cavi_tolerance: Coordinate ascent stops when every change is below this.
        sweeps: Most sweeps of coordinate ascent.
    """

    tolerance: float = 0.01
    budget: float = 60.0
    optimiser: str = "zoo"
    steps: int = 5000
    learning_rate: float = 0.01
    draws: int = 4096
    ess: float = 400.0
    r_hat: float = 1.01
    warmup: int = 250
    reference_ess: float = 4000.0
    reference_budget: float = 240.0
    reference_warmup: int = 500
    cavi_tolerance: float = 1e-6
    sweeps: int = 100
