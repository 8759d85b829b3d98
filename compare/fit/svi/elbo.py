"""ELBOs at given draws, and by how much they differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from compare.fit.svi.draws import fresh
from compare.fit.svi.ensemble import n_rows
from compare.fit.svi.gap import Gap
from compare.fit.svi.protocol import Objective
from guides.contract import Parameters


def elbos(objective: Objective, parameters: Parameters, batches: Sequence[np.ndarray], data: Any) -> np.ndarray:
    """The ELBO at each batch of draws, in nats, shape (batches,)."""
    return np.array([objective.evaluate(parameters, draws, data).log_ratio.mean() for draws in batches])


def difference(
    objective: Objective, data: Any, better: Parameters, worse: Parameters, rng: np.random.Generator, count: int
) -> Gap:
    """By how many nats one ELBO is above another, on ``count`` fresh batches common to both."""
    batches = [fresh(rng, n_rows(objective.dimension), objective.dimension) for _ in range(count)]
    gains = elbos(objective, better, batches, data) - elbos(objective, worse, batches, data)
    return Gap(float(gains.mean()), float(gains.std(ddof=1) / np.sqrt(count)))
