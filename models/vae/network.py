"""The networks' weights before training."""

from __future__ import annotations

import numpy as np

__all__ = ["initial"]


def initial(
    rng: np.random.Generator, inputs: int, hidden: int, outputs: int, bias: np.ndarray, size: float = 1.0
) -> dict[str, np.ndarray]:
    """Random weights of a network with one layer of ``hidden`` units (0: none), N(0, 1 / inputs of the layer).

    The outputs' weights are ``size`` times that, their biases ``bias``, shape (outputs,): what it gives at first.
    """
    last = hidden or inputs
    weights = {"output_weights": size * rng.normal(0, last**-0.5, (last, outputs)), "output_biases": np.array(bias)}
    if hidden:
        weights |= {
            "hidden_weights": rng.normal(0, inputs**-0.5, (inputs, hidden)),
            "hidden_biases": np.zeros(hidden),
        }
    return weights
