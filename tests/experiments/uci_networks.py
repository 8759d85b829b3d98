"""Networks of one hidden layer with dropout, or without, trained side by side as Gal trains each of his.

They follow ``net/net.py`` of Gal's DropoutUncertaintyExps: 50 rectified units, masks on inputs and units anew for every
row of every batch and divided by 1 - rate, Glorot's uniform weights and no biases at first, batches of 128 in an order
that is drawn anew in every epoch, squared error plus reg |weights|^2 with reg = (1 - rate) 1e-4 / (2 rows tau) and free
biases, and Adam at 0.001 with an epsilon of 1e-7, Keras's. Rates are rounded to 65,536ths, so that 16 random bits
decide about each input and unit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tests.experiments.uci_sets import Scaled, mixture

HIDDEN, BATCH, STEP, LENGTH, EPSILON = 50, 128, 1e-3, 1e-2, 1e-7
LEVELS = 2**16
SIDE_BY_SIDE = 20
"""Networks trained at a time: their hidden layers fit into the processor's cache."""


class Weights(NamedTuple):
    """Of networks side by side: both layers' weights. The hidden units' biases are the last row of ``hidden``."""

    hidden: np.ndarray
    output: np.ndarray
    bias: np.ndarray


class Settings(NamedTuple):
    """What holds for each network, all of shape (networks, 1, 1) but for ``scale`` and ``decay``.

    Attributes:
        level: An input or unit is dropped where its 16 random bits are below.
        keep: The probability that it is not.
        scale: 1 / keep for the hidden weights and 1 for the biases, shape (networks, columns + 1, 1).
        decay: Twice the weight decay of the hidden weights, and 0 of the biases, shape (networks, columns + 1, 1).
    """

    level: np.ndarray
    keep: np.ndarray
    scale: np.ndarray
    decay: np.ndarray


def settings(rates: np.ndarray, taus: np.ndarray, rows: int, columns: int) -> Settings:
    level = np.rint(np.asarray(rates) * LEVELS).reshape(-1, 1, 1)
    keep = 1 - level / LEVELS
    decay = keep * LENGTH**2 / (rows * np.reshape(taus, (-1, 1, 1)))
    ones = np.ones((1, columns, 1))
    scale = np.concatenate([ones / keep, np.ones_like(keep)], axis=1)
    decays = np.concatenate([ones * decay, np.zeros_like(keep)], axis=1)
    return Settings(level.astype(np.uint16), *(part.astype(np.float32) for part in (keep, scale, decays)))


def with_ones(inputs: np.ndarray) -> np.ndarray:
    """The inputs in float32 with a last column of ones, which the biases are for."""
    return np.concatenate([inputs, np.ones((*inputs.shape[:-1], 1))], axis=-1).astype(np.float32)


def masks(rng: np.random.Generator, shape: tuple[int, ...], level: np.ndarray) -> np.ndarray:
    """Whether each input or unit is kept."""
    count = int(np.prod(shape))
    bits = rng.integers(0, 2**64 - 1, -(-count // 4), np.uint64, endpoint=True).view(np.uint16)
    return bits[:count].reshape(shape) >= level


def masks_of(rng: np.random.Generator, x: np.ndarray, level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Masks of the inputs, of which the column of ones is always kept, and of the units."""
    inputs = masks(rng, x.shape, level)
    inputs[..., -1] = True
    return inputs, masks(rng, (*x.shape[:-1], HIDDEN), level)


def gradient(weights: Weights, x: np.ndarray, y: np.ndarray, given: Settings, mask_pair) -> Weights:
    """The gradients of squared error, averaged over the batch, plus decay, under masks; without any where None."""
    hidden, output, bias = weights
    if mask_pair is not None:
        x = x * mask_pair[0]
    scaled_output = output / given.keep
    units = x @ (hidden * given.scale)
    np.maximum(units, 0, out=units)
    if mask_pair is not None:
        units *= mask_pair[1]
    error = (units @ scaled_output + bias - y) * (2 / y.shape[1])
    active = (units > 0).astype(units.dtype)
    slopes = ((x * error).swapaxes(1, 2) @ active) * scaled_output.swapaxes(1, 2)  # an outer product would be slower
    return Weights(
        slopes * given.scale + given.decay * hidden,
        units.swapaxes(1, 2) @ error / given.keep + given.decay[:, :1] * output,
        error.sum(1, keepdims=True),
    )


def first_weights(rng: np.random.Generator, count: int, columns: int) -> Weights:
    first, last = (6 / (columns + HIDDEN)) ** 0.5, (6 / (HIDDEN + 1)) ** 0.5
    hidden = rng.uniform(-first, first, (count, columns + 1, HIDDEN)).astype(np.float32)
    hidden[:, -1] = 0
    output = rng.uniform(-last, last, (count, HIDDEN, 1)).astype(np.float32)
    return Weights(hidden, output, np.zeros((count, 1, 1), np.float32))


def train(splits: list[Scaled], rates: np.ndarray, taus: np.ndarray, epochs: int, seed: list[int]) -> Weights:
    """Train a network for each split with its rate and precision, `SIDE_BY_SIDE` of them at a time."""
    trained = []
    for begin in range(0, len(splits), SIDE_BY_SIDE):
        chosen = slice(begin, begin + SIDE_BY_SIDE)
        rng = np.random.Generator(np.random.SFC64([*seed, begin]))
        trained.append(train_side_by_side(splits[chosen], rates[chosen], taus[chosen], epochs, rng))
    return Weights(*map(np.concatenate, zip(*trained, strict=True)))


def train_side_by_side(splits: list[Scaled], rates, taus, epochs: int, rng: np.random.Generator) -> Weights:
    x = with_ones(np.stack([s.split.inputs for s in splits]))
    y = np.stack([s.split.targets for s in splits]).astype(np.float32)[:, :, None]
    count, rows, columns = len(x), x.shape[1], x.shape[2] - 1
    given = settings(rates, taus, rows, columns)
    weights = first_weights(rng, count, columns)
    means, squares = (Weights(*map(np.zeros_like, weights)) for _ in range(2))
    step, drops = 0, np.any(given.level > 0)
    for _ in range(epochs):
        order = rng.permutation(rows)
        for begin in range(0, rows, BATCH):
            chosen = order[begin : begin + BATCH]
            batch = x[:, chosen]
            slopes = gradient(weights, batch, y[:, chosen], given, masks_of(rng, batch, given.level) if drops else None)
            step += 1
            rate = STEP * (1 - 0.999**step) ** 0.5 / (1 - 0.9**step)
            for part, mean, square, slope in zip(weights, means, squares, slopes, strict=True):
                mean += 0.1 * (slope - mean)
                square += 0.001 * (slope**2 - square)
                part -= rate * mean / (np.sqrt(square) + EPSILON)
    return weights


def values(weights: Weights, number: int, inputs: np.ndarray, rate: float, count: int, rng) -> np.ndarray:
    """One network's values at the inputs under each of ``count`` masks of every row, shape (count, rows)."""
    given = settings(np.array([rate]), np.ones(1), 1, inputs.shape[1])
    (hidden,), output, (bias,) = (part[number : number + 1] for part in weights)
    hidden, output, x = hidden * given.scale[0], output[0] / given.keep[0], with_ones(inputs)
    pieces = []
    for begin in range(0, count, 50):
        repeated = np.repeat(x[None], min(50, count - begin), axis=0)
        mask_pair = masks_of(rng, repeated, given.level) if given.level[0] > 0 else (1, 1)
        units = np.maximum((repeated * mask_pair[0]).reshape(-1, x.shape[1]) @ hidden, 0)
        units *= np.reshape(mask_pair[1], (-1, HIDDEN) if np.ndim(mask_pair[1]) else ())
        pieces.append((units @ output + bias).reshape(-1, len(x)))
    return np.concatenate(pieces)


def scores(weights: Weights, splits: list[Scaled], rates, taus, count: int, seed: int = 1) -> np.ndarray:
    """Log likelihood per held-out row in nats at each network's precision, and RMSE: shape (2, networks)."""
    rng = np.random.Generator(np.random.SFC64(seed))
    scored = []
    for number, (each, rate, tau) in enumerate(zip(splits, rates, taus, strict=True)):
        f = values(weights, number, each.split.test_inputs, rate, count, rng)
        scored.append(mixture(f, each, tau))
    return np.array(scored).T
