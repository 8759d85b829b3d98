"""Dropout: points under random masks, which multiply inputs and units by 0 or 1.

Every weight is a point; each input and each hidden unit is kept with probability 1 - rate, and all weights that lead
from one that is dropped are 0 together. The objective that is maximised,

    E_q[log p(x, z)] = E_q[log p(x | z)] - sum over weights of P(kept) point^2 / (2 prior sd^2) + a constant,

is Gal & Ghahramani's (2016, Dropout as a Bayesian approximation, equations 5 to 7) times -rows: squared errors with
weight decay. It has no entropy of q, and is no bound of the evidence: q has atoms, so that KL(q, posterior) is infinite
whatever the points (Hron, Matthews & Ghahramani 2018, Variational Bayesian dropout: pitfalls and fixes). The guide has
no density, and its ledger no number.

A model that has such a guide defines it beside the model, as the function ``dropout``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from guides.contract import Family

FAMILY = Family(is_particular=True, has_density=False)


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
