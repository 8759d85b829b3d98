"""Dropout on the network by sums over all masks of inputs and units: its objective and its predictions, exactly."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np

from models.bnn import network
from models.bnn.data import BnnData
from models.contract import Latents

MOST = 17
"""Most inputs and units whose masks are all enumerated: 131,072 masks for 16 units and one input."""

Points = Mapping[str, np.ndarray]
"""The guide's points by site, each of the site's shape."""


def dropped(points: Points, masks: np.ndarray) -> dict[str, np.ndarray]:
    """The weights under masks of ones and zeros, shape (masks, inputs + units): each site of shape (masks, *site)."""
    columns, _ = np.shape(points["hidden_weights"])
    inputs, units = masks[:, :columns], masks[:, columns:]
    latents = {site: np.broadcast_to(point, (len(masks), *np.shape(point))) for site, point in points.items()}
    return latents | {
        "hidden_weights": inputs[:, :, None] * points["hidden_weights"],
        "output_weights": units * points["output_weights"],
    }


def enumerated(data: BnnData, points: Points) -> tuple[Latents, np.ndarray]:
    """The weights under every mask, each site of shape (masks, *site), and the masks' probabilities, shape (masks,).

    Raises:
        ValueError: there are too many masks.
    """
    elements = sum(np.shape(points["hidden_weights"]))
    if elements > MOST:
        raise ValueError(f"{elements} inputs and units have 2^{elements} masks: give at most {MOST} of them")
    masks = np.array(list(itertools.product((1.0, 0.0), repeat=elements)))
    return dropped(points, masks), np.where(masks == 1, 1 - data.rate, data.rate).prod(axis=1)


def objective(data: BnnData, points: Points) -> float:
    """E_q[log p(targets, weights)] in nats, which dropout maximises; for noise that is known, or for classes.

    Raises:
        ValueError: there are too many masks.
    """
    latents, probabilities = enumerated(data, points)
    return float(probabilities @ network.log_joint(data, latents))


def moments(data: BnnData, points: Points, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and sd of f at ``inputs``, shape (rows, columns): each of shape (rows,).

    Raises:
        ValueError: there are too many masks.
    """
    latents, probabilities = enumerated(data, points)
    f = network.values(latents, inputs, data.activation)
    mean = probabilities @ f
    return mean, np.sqrt(probabilities @ (f - mean) ** 2)
