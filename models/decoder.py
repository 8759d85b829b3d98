"""The decoder in NumPy: from a point of the latent space to the logits of the pixels, or to their means.

f(z) = b + softplus(c + z W) V with one hidden layer, f(z) = b + z V without. The softplus is smooth, so that quadrature
over z converges fast. The weights cross the library wall as these arrays, whoever trained them.
"""

from __future__ import annotations

import math
import os
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

HIDDEN_LAYER = ("hidden_weights", "hidden_biases")
OUTPUT_LAYER = ("output_weights", "output_biases")

LARGEST = 1e12
"""Largest weight and noise; the noise is at least 1 / `LARGEST`. Far beyond, squares are not finite."""


def softplus(values: np.ndarray) -> np.ndarray:
    """log(1 + exp(values)), in a third of the time that `numpy.logaddexp` takes."""
    result = np.abs(values)
    np.negative(result, out=result)
    np.exp(result, out=result)
    np.log1p(result, out=result)
    result += np.maximum(values, 0.0)
    return result


def softplus_and_slope(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The softplus of values and its derivative, the logistic function, from one exponential."""
    falling = np.exp(-np.abs(values))
    return np.maximum(values, 0.0) + np.log1p(falling), np.where(values > 0, 1.0, falling) / (1.0 + falling)


@dataclass(frozen=True, eq=False)
class Decoder:
    """p(image | z): independent pixels, Bernoulli with the logits f(z), or Gaussian with the means f(z).

    Attributes:
        weights: In float64: ``hidden_weights`` (latent, hidden), ``hidden_biases`` (hidden,), ``output_weights``
            (hidden, pixels), ``output_biases`` (pixels,). Without the first two the decoder is linear, and
            ``output_weights`` has shape (latent, pixels). With ``noise`` (), the sd of a pixel, the pixels are Gaussian
            ("grey").

    Raises:
        ValueError: an array is missing, unknown, not of numbers, misshapen, not finite or too large, or the noise is
            not above 0.
    """

    weights: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", checked(self.weights))

    @property
    def content(self) -> tuple[Any, ...]:
        """What makes two decoders the same."""
        return tuple((name, value.shape, value.tobytes()) for name, value in sorted(self.weights.items()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Decoder) and type(self) is type(other) and self.content == other.content

    def __hash__(self) -> int:
        return hash(self.content)

    @property
    def latent(self) -> int:
        return len(self.weights["hidden_weights" if self.hidden else "output_weights"])

    @property
    def hidden(self) -> int:
        """Hidden units; 0 where the decoder is linear."""
        return len(self.weights["hidden_biases"]) if "hidden_biases" in self.weights else 0

    @property
    def pixels(self) -> int:
        return len(self.weights["output_biases"])

    @property
    def grey(self) -> bool:
        """Whether the pixels are Gaussian."""
        return "noise" in self.weights

    def __call__(self, z: np.ndarray) -> np.ndarray:
        """Logits, or means of grey pixels, shape (..., pixels), at z, shape (..., latent)."""
        units = softplus(self.activations(z)) if self.hidden else np.asarray(z)
        return units @ self.weights["output_weights"] + self.weights["output_biases"]

    def activations(self, z: np.ndarray) -> np.ndarray:
        """What goes into the hidden units, shape (..., hidden)."""
        return z @ self.weights["hidden_weights"] + self.weights["hidden_biases"]

    def log_likelihood(self, images: np.ndarray, z: np.ndarray) -> np.ndarray:
        """log p(image | z) in nats of every image, shape (n, pixels), at every point, shape (points, latent).

        A pixel that is nan was not observed, and adds nothing.

        Returns:
            Shape (n, points).
        """
        outputs = self(z)
        seen = ~np.isnan(images)
        if not self.grey:
            log_densities = np.nan_to_num(images) @ outputs.T
            heights = softplus(outputs)
            log_densities -= heights.sum(axis=1) if seen.all() else seen @ heights.T
            return log_densities
        # Relative to the mean image, so that the squares lose no digits to a brightness that all images share.
        middle = self.weights["output_biases"]
        known, outputs = np.where(seen, images - middle, 0.0), outputs - middle
        distance = np.sum(known**2, axis=1)[:, None] - 2 * known @ outputs.T
        distance += np.sum(outputs**2, axis=1) if seen.all() else seen @ (outputs**2).T
        return -0.5 * distance / self.weights["noise"] ** 2 + self.ceilings(images)[:, None]

    def ceilings(self, images: np.ndarray) -> np.ndarray:
        """What no log likelihood of images, shape (n, pixels), exceeds, in nats, shape (n,)."""
        seen = np.sum(~np.isnan(images), axis=1)
        return -seen * (math.log(self.weights["noise"]) + 0.5 * math.log(2 * math.pi)) if self.grey else 0.0 * seen

    def at(self, images: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """log p(image | z) of images, shape (n, pixels), each at its own z, shape (..., n, latent), and its slope in z.

        Returns:
            In nats, shape (..., n), and the gradient in z, shape (..., n, latent).
        """
        seen, known = ~np.isnan(images), np.nan_to_num(images)
        units, turns = softplus_and_slope(self.activations(z)) if self.hidden else (z, None)
        outputs = units @ self.weights["output_weights"] + self.weights["output_biases"]
        if self.grey:
            noise = float(self.weights["noise"])
            pull = seen * (known - outputs) / noise
            value = -0.5 * np.sum(pull**2, axis=-1) + self.ceilings(images)
            pull /= noise
        else:
            heights, chances = softplus_and_slope(outputs)
            value = np.sum(seen * (known * outputs - heights), axis=-1)
            pull = seen * (known - chances)
        slope = pull @ self.weights["output_weights"].T
        return value, slope if turns is None else (slope * turns) @ self.weights["hidden_weights"].T

    def pull_back(self, z: np.ndarray, pull: np.ndarray) -> np.ndarray:
        """The slope in z, shape (..., latent), of what has the slope ``pull``, shape (..., pixels), in the outputs."""
        slope = pull @ self.weights["output_weights"].T
        if not self.hidden:
            return slope
        return (slope * special.expit(self.activations(z))) @ self.weights["hidden_weights"].T

    def sample(self, z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Images from p(image | z), one at each z, shape (..., latent): (..., pixels)."""
        outputs = self(z)
        if self.grey:
            return outputs + self.weights["noise"] * rng.standard_normal(outputs.shape)
        return (rng.random(outputs.shape) < special.expit(outputs)).astype(float)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the weights to a .npz, whole or not at all.

        Raises:
            OSError: the file cannot be written.
        """
        path = Path(path)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".npz")
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, **self.weights)  # type: ignore[arg-type]
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
        return path

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Decoder:
        """The decoder whose weights `Decoder.save` has written.

        Raises:
            ValueError: there is no such file, or it is not the weights of a decoder; the message is one line.
        """
        right = "give a .npz that a decoder was saved to"
        try:
            with open(path, "rb") as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as arrays:
                weights = {name: arrays[name] for name in arrays.files}
        except FileNotFoundError:
            raise ValueError(f"there is no file {path}; {right}") from None
        except OSError as error:
            raise ValueError(f"{path} cannot be read ({error.strerror or error}); {right}") from None
        except (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error):
            raise ValueError(f"{path} is not the weights of a decoder; {right}") from None
        try:
            return cls(weights)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None


def check_sizes(data: Any, latent: int, hidden: int) -> None:
    """Make sure that the data, whose ``decoder`` is a file, name no other sizes than that decoder's.

    Raises:
        ValueError: they do.
    """
    for name, has in (("latent", latent), ("hidden", hidden)):
        given = getattr(data, name)
        if given not in (has, type(data).__dataclass_fields__[name].default):
            raise ValueError(f"{name} is {given}, but decoder {data.decoder} has {has}; leave --{name} out")


def random_weights(
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


def checked(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights as float64, if they are those of a decoder."""
    known = (*HIDDEN_LAYER, *OUTPUT_LAYER, "noise")
    for name in weights:
        if name not in known:
            raise ValueError(f"a decoder has no array {name!r}; its arrays are {', '.join(known)}")
    layers = HIDDEN_LAYER + OUTPUT_LAYER if set(HIDDEN_LAYER) & set(weights) else OUTPUT_LAYER
    for name in layers:
        if name not in weights:
            raise ValueError(f"a decoder needs the array {name!r}; it has {', '.join(weights) or 'none'}")
    arrays = {name: checked_array(name, np.asarray(value)) for name, value in weights.items()}
    for layer in ("hidden", "output") if len(layers) == 4 else ("output",):
        columns, biases = arrays[f"{layer}_weights"].shape[1], len(arrays[f"{layer}_biases"])
        if columns != biases:
            raise ValueError(f"{layer}_weights has {columns} columns and {layer}_biases {biases}; give as many of both")
    if len(layers) == 4 and len(arrays["hidden_biases"]) != len(arrays["output_weights"]):
        units, rows = len(arrays["hidden_biases"]), len(arrays["output_weights"])
        raise ValueError(f"hidden_biases has {units} units and output_weights {rows} rows; give as many of both")
    if "noise" in arrays and not arrays["noise"] >= 1 / LARGEST:
        raise ValueError(f"the noise of a decoder is {float(arrays['noise']):g}; give {1 / LARGEST:g} or more")
    return arrays


def checked_array(name: str, value: np.ndarray) -> np.ndarray:
    """One of the weights as float64, if it holds finite numbers in the right number of dimensions."""
    dimensions = 0 if name == "noise" else 1 if name.endswith("biases") else 2
    if value.dtype.kind not in "fiu":
        problem = "no numbers; give floating point numbers"
    elif value.ndim != dimensions or 0 in value.shape:
        problem = f"shape {value.shape}; give one of {dimensions} dimensions"
    elif not np.isfinite(value).all():
        problem = "a value that is not finite; give finite numbers"
    elif np.abs(value.astype(np.float64)).max() > LARGEST:
        problem = f"a value beyond {LARGEST:g}; give smaller numbers"
    else:
        value = value.astype(np.float64)
        value.flags.writeable = False
        return value
    raise ValueError(f"the array {name!r} has {problem}")
