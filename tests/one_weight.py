"""Dropout of a single weight in closed form, beside its exact posterior."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class OneWeight(NamedTuple):
    """Dropout of a single weight beside its exact posterior.

    Attributes:
        mean_error: (mean - posterior mean) / posterior sd.
        sd_ratio: sd / posterior sd.
    """

    mean_error: np.ndarray
    sd_ratio: np.ndarray


def one_weight(rows: np.ndarray | float, rate: float) -> OneWeight:
    """What dropout makes of y = w x + noise, w ~ N(0, 1), noise ~ N(0, 1), where sum x^2 = sum x y = rows.

    The posterior is N(m, 1 / (rows + 1)), m = rows / (rows + 1). Dropout's weight is m with probability 1 - rate, else
    0: its sd, m sqrt(rate (1 - rate)), stays where it is while the posterior's falls, and so does its error -rate m.
    """
    best = rows / (np.asarray(rows, dtype=float) + 1)
    narrow = np.sqrt(np.asarray(rows, dtype=float) + 1)
    return OneWeight(-rate * best * narrow, best * np.sqrt(rate * (1 - rate)) * narrow)
