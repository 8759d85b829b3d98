"""The network in NumPy: its values, what they say of data, and its output layer given the hidden one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import special, stats

from models.contract import Latents, Predictions

if TYPE_CHECKING:
    from models.bnn import BnnData

__all__ = ["ACTIVATIONS", "complete", "derive", "observe", "pointwise", "predict", "prior", "units", "values"]

ACTIVATIONS = {"tanh": np.tanh, "relu": lambda a: np.maximum(a, 0.0)}


def units(latents: Latents, inputs: np.ndarray, activation: str) -> np.ndarray:
    """The hidden units at ``inputs``, shape (rows, columns): shape (count, rows, hidden)."""
    return ACTIVATIONS[activation](inputs @ latents["hidden_weights"] + latents["hidden_biases"][:, None, :])


def values(latents: Latents, inputs: np.ndarray, activation: str) -> np.ndarray:
    """The function f at ``inputs``, shape (rows, columns): shape (count, rows)."""
    found = np.empty((len(latents["output_bias"]), len(inputs)))
    step = max(1, 4_000_000 // (len(inputs) * latents["hidden_biases"].shape[1]))
    for begin in range(0, len(found), step):
        piece = {site: value[begin : begin + step] for site, value in latents.items()}
        weights, bias = piece["output_weights"][:, :, None], piece["output_bias"][:, None]
        found[begin : begin + step] = (units(piece, inputs, activation) @ weights)[:, :, 0] + bias
    return found


def noise_of(data: BnnData, latents: Latents) -> np.ndarray:
    """The noise's sd of each draw, shape (count, 1)."""
    known = (
        np.full(len(latents["output_bias"]), data.dataset.noise) if data.dataset.noise is not None else latents["noise"]
    )
    return known[:, None]


def prior(data: BnnData, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
    """Draws from the prior, each site of shape (count, *shape)."""
    drawn = {site: rng.standard_normal((count, *shape)) for site, shape in data.shapes().items()}
    drawn["hidden_weights"] /= np.sqrt(data.dataset.inputs.shape[1])
    drawn["output_weights"] /= np.sqrt(data.hidden)
    return drawn | ({"noise": np.abs(drawn["noise"])} if "noise" in drawn else {})


def observe(data: BnnData, latents: Latents, rng: np.random.Generator) -> np.ndarray:
    """Targets at the rows that are fitted, of each draw of the latents: shape (count, rows)."""
    f = values(latents, data.dataset.inputs, data.activation)
    if data.dataset.classes:
        return (rng.random(f.shape) < special.expit(f)).astype(float)
    return f + noise_of(data, latents) * rng.standard_normal(f.shape)


def derive(data: BnnData, latents: Latents) -> dict[str, np.ndarray]:
    """The function at the grid, shape (count, points)."""
    return {"f": values(latents, data.dataset.grid, data.activation)}


def log_density(data: BnnData, latents: Latents, f: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """log p(target | f) of each, shape (count, rows)."""
    if data.dataset.classes:
        return special.log_expit(np.where(targets == 1, f, -f))
    return stats.norm.logpdf(targets, f, noise_of(data, latents))


def pointwise(data: BnnData, latents: Latents) -> dict[str, np.ndarray]:
    """log p(y_i | weights) of every row that was fitted, shape (count, rows)."""
    f = values(latents, data.dataset.inputs, data.activation)
    return {"targets": log_density(data, latents, f, data.dataset.targets)}


def predict(data: BnnData, latents: Latents) -> Predictions:
    """What draws of the weights say of the rows that were held out."""
    f, targets = values(latents, data.dataset.test_inputs, data.activation), data.dataset.test_targets
    density = log_density(data, latents, f, targets)
    if data.dataset.classes:
        return Predictions(targets, density, special.expit(f))
    return Predictions(targets, density, f, special.ndtr((targets - f) / noise_of(data, latents)))


def complete(data: BnnData, latents: Latents, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draw the output layer from its Gaussian distribution given the hidden one (Bishop 2006, section 3.3.1).

    With features phi = [units, 1] and prior variances S its precision is A = S^-1 + phi'phi / noise^2 and its mean
    A^-1 phi'y / noise^2.
    """
    full = {site: np.asarray(value) for site, value in latents.items()}
    count, hidden = full["hidden_biases"].shape
    variance = (
        np.broadcast_to(data.dataset.noise if data.dataset.noise is not None else full["noise"], count)[:, None, None]
        ** 2
    )
    eps = rng.standard_normal((count, hidden + 1, 1))
    prior = np.diag([*np.full(hidden, float(hidden)), 1.0])
    output = np.empty((count, hidden + 1))
    step = max(1, 2_000_000 // (len(data.dataset.inputs) * (hidden + 1)))
    for piece in (slice(begin, begin + step) for begin in range(0, count, step)):
        known = {site: full[site][piece] for site in ("hidden_weights", "hidden_biases")}
        features = np.pad(
            units(known, data.dataset.inputs, data.activation), ((0, 0), (0, 0), (0, 1)), constant_values=1.0
        )
        transposed = features.transpose(0, 2, 1)
        lower = np.linalg.cholesky(prior + transposed @ features / variance[piece])
        half = np.linalg.solve(lower, transposed @ data.dataset.targets[:, None] / variance[piece])
        output[piece] = np.linalg.solve(lower.transpose(0, 2, 1), half + eps[piece])[:, :, 0]
    return full | {"output_weights": output[:, :-1], "output_bias": output[:, -1]}
