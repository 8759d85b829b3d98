"""The decoder in NumPy: from z and a class to the logits of the pixels.

f(z, y) = b + softplus(c + z W + U_y) V with one hidden layer, f(z, y) = b + z V + U_y without. Given its class,
an image has the decoder of an autoencoder; the ten decoders share all but the vector U_y.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy import special

from models.decoder import Decoder


@dataclass(frozen=True)
class ClassDecoder:
    """p(image | z) = sum over y of p(image | z, y) / n_classes, with independent Bernoulli pixels given z and y.

    Attributes:
        network: The network whose input is z and then y, one-hot.
        n_classes: The number of classes.
    """

    network: Decoder
    n_classes: int

    @property
    def weights(self) -> Mapping[str, np.ndarray]:
        """The network's, by name."""
        return self.network.weights

    @property
    def latent(self) -> int:
        """The dimension of z."""
        return self.network.latent - self.n_classes

    @property
    def hidden(self) -> int:
        """Hidden units; 0 where the decoder is linear."""
        return self.network.hidden

    @property
    def pixels(self) -> int:
        return self.network.pixels

    @cached_property
    def by_class(self) -> tuple[Decoder, ...]:
        """For each class the decoder of its images, an autoencoder's."""
        weights = dict(self.weights)
        layer = "hidden" if self.hidden else "output"
        rows, biases = weights[f"{layer}_weights"], weights[f"{layer}_biases"]
        weights[f"{layer}_weights"] = rows[: self.latent]
        return tuple(Decoder(weights | {f"{layer}_biases": biases + shift}) for shift in rows[self.latent :])

    def log_likelihoods(self, images: np.ndarray, z: np.ndarray) -> np.ndarray:
        """log p(image | z, y) in nats of images (n, pixels) at points (points, latent): (classes, n, points)."""
        return np.stack([decoder.log_likelihood(images, z) for decoder in self.by_class])

    def log_likelihood(self, images: np.ndarray, z: np.ndarray) -> np.ndarray:
        """log p(image | z) in nats of images (n, pixels) at points (points, latent), shape (n, points)."""
        return special.logsumexp(self.log_likelihoods(images, z), axis=0) - math.log(self.n_classes)

    def at(self, images: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """log p(image | z) of images (n, pixels), each at its own z (..., n, latent), and its slope in z."""
        values, slopes = map(np.stack, zip(*(decoder.at(images, z) for decoder in self.by_class), strict=True))
        shares = special.softmax(values, axis=0)
        value = special.logsumexp(values, axis=0) - math.log(self.n_classes)
        return value, np.sum(shares[..., None] * slopes, axis=0)

    def ceilings(self, images: np.ndarray) -> np.ndarray:
        """What no log likelihood of images exceeds, in nats, shape (n,)."""
        return np.zeros(len(images))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the weights to a .npz that ``--decoder`` reads."""
        return self.network.save(path)
