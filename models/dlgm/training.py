"""The networks' weights: maximum likelihood, without an encoder, as the evidence of two latents is an integral.

An image depends on z2 through z1 alone: p(image) = int p(image | z1) p(z1) dz1, p(z1) = int p(z1 | z2) p(z2) dz2;
both integrals are taken by the trapezoid rule. Maximised is the log evidence of the training images and the log density
of a Gaussian at the weights, by L-BFGS. z1's noise is given. Where all is linear the networks have a closed form.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy import optimize, special

from models.decoder import Decoder, random_weights, softplus_and_slope
from models.dlgm.layers import Layers
from models.images import Images
from models.linear_decoder import most_likely

Z2 = np.linspace(-6, 6, 97)[:, None]
"""The lattice of z2."""

PRECISION = {"lower_hidden_weights": 0.01}
"""Precision of a weight's Gaussian prior, 1 where not listed. A small one lets the pixels change fast with z1."""

SHARE = 0.75
"""Share of the variance of z1 that z2 explains, where all is linear."""


def linear(images: Images, sizes: tuple[int, int]) -> Layers:
    """The most likely layers where all is linear: every z1 ~ N(0, I) has the principal components as its decoder.

    z1 = A z2 + noise e1 is N(0, I) where A A' + noise^2 I = I; that leaves A free, and `SHARE` chooses it.

    Raises:
        ValueError: there are not more pixels than dimensions of z1.
    """
    upper, lower = sizes
    across = np.zeros((upper, lower))
    across[range(lower), range(lower)] = np.sqrt(SHARE)
    weights = {"output_weights": across, "output_biases": np.zeros(lower), "noise": np.sqrt(1 - SHARE)}
    return Layers(Decoder(weights), most_likely(images.train, lower))


@lru_cache(maxsize=4)
def train(images: Images, units: int, noise: float, iterations: int) -> Layers:
    """The layers with one latent each, and ``units`` in each network, that make the training images likely."""
    rng = np.random.default_rng(0)
    middle = np.clip(images.train.mean(axis=0), 0.01, 0.99)
    start = {f"upper_{name}": value for name, value in random_weights(rng, 1, units, np.zeros(1)).items()}
    start |= {f"lower_{name}": value for name, value in random_weights(rng, 1, units, special.logit(middle)).items()}
    precision = np.concatenate([np.full(np.size(value), PRECISION.get(name, 1.0)) for name, value in start.items()])
    names, shapes = list(start), [np.shape(value) for value in start.values()]
    ends = np.cumsum([np.size(value) for value in start.values()])[:-1]

    def unravel(flat: np.ndarray) -> dict[str, np.ndarray]:
        parts = zip(names, np.split(flat, ends), shapes, strict=True)
        return {name: part.reshape(shape) for name, part, shape in parts}

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = log_evidence(unravel(flat) | {"upper_noise": np.array(noise)}, images.train)
        slope = np.concatenate([np.ravel(gradient[name]) for name in names])
        return 0.5 * flat @ (precision * flat) - value, precision * flat - slope

    best = optimize.minimize(
        objective, np.concatenate([np.ravel(value) for value in start.values()]), jac=True, method="L-BFGS-B",
        options={"maxiter": iterations, "maxcor": 20},
    )  # fmt: skip
    return Layers.of(unravel(best.x) | {"upper_noise": np.array(noise)})


def lattice(noise: float) -> np.ndarray:
    """The lattice of z1, shape (points, 1), in steps of 0.1: the wider, the noisier z1 is.

    With it the evidence of the trained layers is right within 0.005 nats an image, for a noise of 0.05 to 5.
    """
    end = max(7, math.ceil(4 + 6 * noise))
    return np.linspace(-end, end, 20 * end + 1)[:, None]


def log_evidence(weights: dict[str, np.ndarray], images: np.ndarray) -> tuple[float, dict[str, np.ndarray]]:
    """The summed log evidence of images, shape (n, pixels), in nats, and its gradient by the weights' names."""
    means, upper = forward(weights, "upper", Z2)
    noise = weights["upper_noise"]
    z1 = lattice(float(noise))
    logits, lower = forward(weights, "lower", z1)
    heights, chances = softplus_and_slope(logits)
    eps = (z1 - means.T) / noise  # (z1, z2)
    cell = float((z1[1, 0] - z1[0, 0]) * (Z2[1, 0] - Z2[0, 0]) / (2 * np.pi))  # its area, and two Gaussians' constants
    log_pairs = -0.5 * (eps**2 + Z2.T**2) - np.log(noise) + np.log(cell)
    log_prior = special.logsumexp(log_pairs, axis=1)
    shares = images @ logits.T + (log_prior - heights.sum(axis=1))
    tops = shares.max(axis=1, keepdims=True)
    np.exp(np.subtract(shares, tops, out=shares), out=shares)
    sums = shares.sum(axis=1, keepdims=True)
    shares /= sums  # p(z1 | image)
    counts = shares.sum(axis=0)
    pairs = counts[:, None] * np.exp(log_pairs - log_prior[:, None])
    gradient = backward(weights, lower, shares.T @ images - counts[:, None] * chances)
    gradient |= backward(weights, upper, (pairs * eps).sum(axis=0)[:, None] / noise)
    return float((tops + np.log(sums)).sum()), gradient


Pass = tuple[str, np.ndarray, np.ndarray, np.ndarray]
"""The layer's name, its inputs, its units and their slopes."""


def forward(weights: dict[str, np.ndarray], layer: str, inputs: np.ndarray) -> tuple[np.ndarray, Pass]:
    """A network's outputs, shape (n, outputs), at inputs, shape (n, size), and what `backward` needs of the way."""
    units, slopes = softplus_and_slope(inputs @ weights[f"{layer}_hidden_weights"] + weights[f"{layer}_hidden_biases"])
    outputs = units @ weights[f"{layer}_output_weights"] + weights[f"{layer}_output_biases"]
    return outputs, (layer, inputs, units, slopes)


def backward(weights: dict[str, np.ndarray], way: Pass, pull: np.ndarray) -> dict[str, np.ndarray]:
    """The gradient in a network's weights, from that in its outputs, shape (n, outputs)."""
    layer, inputs, units, slopes = way
    turned = slopes * (pull @ weights[f"{layer}_output_weights"].T)
    return {
        f"{layer}_output_weights": units.T @ pull,
        f"{layer}_output_biases": pull.sum(axis=0),
        f"{layer}_hidden_weights": inputs.T @ turned,
        f"{layer}_hidden_biases": turned.sum(axis=0),
    }
