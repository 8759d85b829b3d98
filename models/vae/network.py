"""The networks' weights before training."""

from __future__ import annotations

import numpy as np

__all__ = ["initial"]


def initial(
    rng: np.random.Generator, inputs: int, hidden: int, bias: np.ndarray, size: float = 1.0
) -> dict[str, np.ndarray]:
    """Random weights of a network with a layer of ``hidden`` units (0: none), N(0, 1 / inputs of the layer).

    The last layer's are ``size`` times that, and its biases ``bias``, shape (outputs,): near it are the first outputs.
    """
    last = hidden or inputs
    weights = {"output_weights": size * rng.normal(0, last**-0.5, (last, len(bias))), "output_biases": np.array(bias)}
    if hidden:
        first = rng.normal(0, inputs**-0.5, (inputs, hidden))
        weights |= {"hidden_weights": first, "hidden_biases": np.zeros(hidden)}
    return weights
