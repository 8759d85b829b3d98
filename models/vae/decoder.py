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

import numpy as np

__all__ = ["Decoder", "softplus"]

HIDDEN_LAYER = ("hidden_weights", "hidden_biases")
OUTPUT_LAYER = ("output_weights", "output_biases")

LARGEST = 1e12
"""Of a weight, and of the noise, which is at least one part of that: far beyond it squares are not finite."""


def softplus(values: np.ndarray) -> np.ndarray:
    """log(1 + exp(values)), in a third of the time that `numpy.logaddexp` takes."""
    found = np.abs(values)
    np.negative(found, out=found)
    np.exp(found, out=found)
    np.log1p(found, out=found)
    found += np.maximum(values, 0.0)
    return found


def both(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The softplus of values and its derivative, the logistic function, from one exponential."""
    falling = np.exp(-np.abs(values))
    return np.maximum(values, 0.0) + np.log1p(falling), np.where(values > 0, 1.0, falling) / (1.0 + falling)


@dataclass(frozen=True, eq=False)
class Decoder:
    """p(image | z): independent pixels, Bernoulli with the logits f(z), or Gaussian with the means f(z).

    ``weights`` are float64: ``hidden_weights`` (latent, hidden), ``hidden_biases`` (hidden,), ``output_weights``
    (hidden, pixels), ``output_biases`` (pixels,). Without the first two the decoder is linear, and ``output_weights``
    has shape (latent, pixels). With ``noise`` (), the sd of a pixel, the pixels are Gaussian ("grey").

    Raises:
        ValueError: an array is missing, unknown, not of numbers, misshapen, not finite or too large, or the noise is
            not above 0.
    """

    weights: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", checked(self.weights))

    def __eq__(self, other: object) -> bool:
        """Whether the weights are the same."""
        if not isinstance(other, Decoder) or self.weights.keys() != other.weights.keys():
            return False
        return all(np.array_equal(value, other.weights[name]) for name, value in self.weights.items())

    def __hash__(self) -> int:
        return hash(tuple((name, self.weights[name].tobytes()) for name in sorted(self.weights)))

    @property
    def latent(self) -> int:
        """Dimensions of the latent space."""
        return len(self.weights["hidden_weights" if self.hidden else "output_weights"])

    @property
    def hidden(self) -> int:
        """Hidden units; 0 where the decoder is linear."""
        return len(self.weights["hidden_biases"]) if "hidden_biases" in self.weights else 0

    @property
    def pixels(self) -> int:
        """Pixels of an image."""
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
            found = np.nan_to_num(images) @ outputs.T
            whole = softplus(outputs)
            found -= whole.sum(axis=1) if seen.all() else seen @ whole.T
            return found
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
        units, turns = both(self.activations(z)) if self.hidden else (z, None)
        outputs = units @ self.weights["output_weights"] + self.weights["output_biases"]
        if self.grey:
            noise = float(self.weights["noise"])
            pull = seen * (known - outputs) / noise
            value = -0.5 * np.sum(pull**2, axis=-1) + self.ceilings(images)
            pull /= noise
        else:
            heights, chances = both(outputs)
            value = np.sum(seen * (known * outputs - heights), axis=-1)
            pull = seen * (known - chances)
        slope = pull @ self.weights["output_weights"].T
        return value, slope if turns is None else (slope * turns) @ self.weights["hidden_weights"].T

    def slope(self, images: np.ndarray, z: np.ndarray) -> np.ndarray:
        """The gradient in z of log p(image | z), of each image at points of its own, shape (..., n, latent)."""
        return self.at(images, z)[1]

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the weights to a .npz, whole or not at all.

        Raises:
            OSError: the file cannot be written.
        """
        path = Path(path)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".npz")
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, **self.weights)
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
    found = {}
    for name, value in weights.items():
        value = np.asarray(value)
        if value.dtype.kind not in "fiu":
            raise ValueError(f"the array {name!r} has no numbers; give floating point numbers")
        dimensions = 0 if name == "noise" else 1 if name.endswith("biases") else 2
        if value.ndim != dimensions or 0 in value.shape:
            raise ValueError(f"the array {name!r} has shape {value.shape}; give one of {dimensions} dimensions")
        if not np.isfinite(value).all():
            raise ValueError(f"the array {name!r} has a value that is not finite; give finite numbers")
        if np.abs(value.astype(np.float64)).max() > LARGEST:
            raise ValueError(f"the array {name!r} has a value beyond {LARGEST:g}; give smaller numbers")
        found[name] = value.astype(np.float64)
        found[name].flags.writeable = False
    for rows in ("hidden", "output") if len(layers) == 4 else ("output",):
        columns, biases = found[f"{rows}_weights"].shape[1], len(found[f"{rows}_biases"])
        if columns != biases:
            raise ValueError(f"{rows}_weights has {columns} columns and {rows}_biases {biases}; give as many of both")
    if len(layers) == 4 and len(found["hidden_biases"]) != len(found["output_weights"]):
        units, rows = len(found["hidden_biases"]), len(found["output_weights"])
        raise ValueError(f"hidden_biases has {units} units and output_weights {rows} rows; give as many of both")
    if "noise" in found and not found["noise"] >= 1 / LARGEST:
        raise ValueError(f"the noise of a decoder is {float(found['noise']):g}; give {1 / LARGEST:g} or more")
    return found
