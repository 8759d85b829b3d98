"""The two networks in NumPy, and the model in the coordinates of its noise, where its prior is N(0, I)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.decoder import Decoder


@dataclass(frozen=True)
class Layers:
    """z2 ~ N(0, I), z1 ~ N(upper(z2), noise), image ~ lower(z1).

    It is also the likelihood of an image given the noise of both layers, e = (e2, e1) ~ N(0, I), with z2 = e2 and
    z1 = upper(z2) + noise e1, as `models.image_posteriors.Likelihood` describes it.

    Attributes:
        upper: From z2, shape (..., z2's size), to the means of z1; it has the noise's sd.
        lower: From z1, shape (..., z1's size), to the pixels.
    """

    upper: Decoder
    lower: Decoder

    @property
    def noise(self) -> float:
        """The sd of z1 given z2."""
        return float(self.upper.weights["noise"])

    @property
    def latent(self) -> int:
        """Latents of both layers together."""
        return self.upper.latent + self.upper.pixels

    @property
    def hidden(self) -> int:
        """Units of the wider network."""
        return max(self.upper.hidden, self.lower.hidden)

    @property
    def pixels(self) -> int:
        return self.lower.pixels

    @property
    def is_linear(self) -> bool:
        """Whether all is linear and Gaussian."""
        return self.lower.grey and not self.hidden

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """All weights by the names that the twins know."""
        by_layer = [("upper", self.upper.weights), ("lower", self.lower.weights)]
        return {f"{layer}_{name}": value for layer, weights in by_layer for name, value in weights.items()}

    @classmethod
    def of(cls, weights: Mapping[str, np.ndarray]) -> Layers:
        """The inverse of `weights`."""
        parts = (
            {name[6:]: value for name, value in weights.items() if name[:6] == f"{layer}_"}
            for layer in ("upper", "lower")
        )
        return cls(*map(Decoder, parts))

    def latents(self, e: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """z2 and z1, shapes (..., size), at the layers' noise, shape (..., latent)."""
        z2, e1 = np.split(e, [self.upper.latent], axis=-1)
        return z2, self.upper(z2) + self.noise * e1

    def noises(self, z2: np.ndarray, z1: np.ndarray) -> np.ndarray:
        """The layers' noise, shape (..., latent), at z2 and z1: the inverse of `latents`."""
        return np.concatenate([z2, (z1 - self.upper(z2)) / self.noise], axis=-1)

    def log_likelihood(self, images: np.ndarray, e: np.ndarray) -> np.ndarray:
        """log p(image | e) in nats, (n, n_points), of images (n, pixels) at points (n_points, latent)."""
        return self.lower.log_likelihood(images, self.latents(e)[1])

    def at(self, images: np.ndarray, e: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """log p(image | e) of images (n, pixels), each at its own e (..., n, latent), and its slope in e."""
        z2, z1 = self.latents(e)
        value, slope = self.lower.at(images, z1)
        return value, np.concatenate([self.upper.pull_back(z2, slope), self.noise * slope], axis=-1)

    def ceilings(self, images: np.ndarray) -> np.ndarray:
        """What no log likelihood of each image exceeds, (n,)."""
        return self.lower.ceilings(images)

    def linear(self) -> Decoder:
        """Where all is linear: the decoder from the layers' noise to the pixels."""
        across, down = self.upper.weights["output_weights"], self.lower.weights["output_weights"]
        return Decoder(
            {
                "output_weights": np.concatenate([across, self.noise * np.eye(len(down))]) @ down,
                "output_biases": self.lower(self.upper.weights["output_biases"]),
                "noise": self.lower.weights["noise"],
            }
        )
