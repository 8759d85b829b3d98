"""What a user may say about the fits. The same defaults serve every model."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Options"]


@dataclass(frozen=True)
class Options:
    """Targets and limits.

    A guide is converged when its estimated optimisation gap plus two of its errors is within ``tolerance`` nats. A
    fit may use ``budget`` seconds. ``optimiser`` is ``zoo``, which stops by itself, or ``adam``, the libraries' usual
    way, for ``steps`` steps at ``learning_rate``. NUTS runs until bulk and tail ESS reach ``ess`` and R-hat falls below
    ``r_hat``. A reference, where no posterior is known, aims at ``reference_ess`` within ``reference_budget`` seconds
    after ``reference_warmup`` transitions. Coordinate ascent stops when every change is below ``cavi_tolerance``, or
    after ``sweeps``.
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
