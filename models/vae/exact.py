"""The posterior of every image by quadrature on the plane."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from scipy import special

from models.vae.decoder import Decoder

__all__ = ["Posteriors", "exact", "posteriors"]

LOG_2PI = math.log(2 * math.pi)


def exact(data: Any) -> Posteriors | None:
    """The posteriors of the shown images; None without a decoder, or of more latent dimensions than 2."""
    if data.network is None or data.network.latent > 2:
        return None
    return posteriors(data.network, data.set.test[data.shown])


def posteriors(decoder: Decoder, images: np.ndarray) -> Posteriors:
    """The posteriors of images, shape (n, pixels)."""
    return Posteriors(decoder, np.asarray(images, dtype=np.float64))


class Posteriors:
    """p(z | image) of each image by the trapezoid rule. Implements `models.contract.Exact` with one site ``z``."""

    tolerance = 1e-6

    def __init__(self, decoder: Decoder, images: np.ndarray, step: float = 1 / 16, reach: float = 8.0) -> None:
        self.decoder, self.images, self.step = decoder, images, step
        line = step * np.arange(-round(reach / step), round(reach / step) + 1)
        self.points = np.stack(np.meshgrid(*[line] * decoder.latent, indexing="ij"), axis=-1).reshape(
            -1, decoder.latent
        )
        self.points = self.points[np.sum(self.points**2, axis=1) <= reach**2]
        pieces = np.array_split(self.points, len(self.points) // 20_000 + 1)
        joint = np.concatenate([decoder.log_likelihood(images, piece) for piece in pieces], axis=1)
        joint += normal(self.points)
        volume = decoder.latent * math.log(step)
        self.log_evidences = special.logsumexp(joint, axis=1) + volume
        self.log_evidence = float(self.log_evidences.sum())
        self.weights = np.exp(joint - self.log_evidences[:, None] + volume)
        self.means = self.weights @ self.points
        second = (self.points[:, :, None] * self.points[:, None, :]).reshape(len(self.points), -1)
        second = (self.weights @ second).reshape(len(images), decoder.latent, decoder.latent)
        self.covariances = second - self.means[:, :, None] * self.means[:, None, :]
        self.method = f"quadrature: trapezoid, {len(self.points):,} nodes"

    @cached_property
    def marginals(self) -> list[list[tuple[np.ndarray, np.ndarray]]]:
        """Of each image and dimension the abscissae and the probabilities."""
        found = []
        for weights in self.weights:
            row = []
            for column in self.points.T:
                places, inverse = np.unique(column, return_inverse=True)
                row.append((places, np.bincount(inverse, weights)))
            found.append(row)
        return found

    def mean(self) -> dict[str, np.ndarray]:
        return {"z": self.means}

    def sd(self) -> dict[str, np.ndarray]:
        return {"z": np.sqrt(np.diagonal(self.covariances, axis1=1, axis2=2))}

    def quantile(self, probability: float) -> dict[str, np.ndarray]:
        found = [
            [np.interp(probability, np.cumsum(mass) - 0.5 * mass, places) for places, mass in row]
            for row in self.marginals
        ]
        return {"z": np.array(found)}

    def density(self, site: str, index: tuple[int, ...], grid: np.ndarray) -> np.ndarray:
        places, mass = self.marginals[index[0]][index[1]]
        return np.interp(grid, places, mass / self.step, left=0.0, right=0.0)

    def correlations(self) -> dict[str, float]:
        """Of the two latents of every image."""
        if self.decoder.latent != 2:
            return {}
        sd = self.sd()["z"]
        values = self.covariances[:, 0, 1] / sd.prod(axis=1)
        return {f"z[{image},0],z[{image},1]": float(value) for image, value in enumerate(values)}

    def draw(self, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        """Draws, shape (count, n, latent), uniform within a cell."""
        found = np.empty((count, len(self.images), self.decoder.latent))
        for image, weights in enumerate(self.weights):
            cells = rng.choice(len(self.points), count, p=weights / weights.sum())
            found[:, image] = self.points[cells] + self.step * rng.uniform(-0.5, 0.5, (count, self.decoder.latent))
        return {"z": found}

    def log_density(self, z: np.ndarray) -> np.ndarray:
        """log p(z | image) in nats, shape (n, points), at points of each image's own, shape (n, points, latent)."""
        found = [
            self.decoder.log_likelihood(image[None], points)[0] for image, points in zip(self.images, z, strict=True)
        ]
        return np.array(found) + normal(z) - self.log_evidences[:, None]

    def log_prior(self, latents: Mapping[str, np.ndarray]) -> np.ndarray:
        return normal(latents["z"]).sum(axis=1)

    def log_likelihood(self, latents: Mapping[str, np.ndarray]) -> np.ndarray:
        z = latents["z"].swapaxes(0, 1)
        return np.sum([self.decoder.log_likelihood(i[None], p)[0] for i, p in zip(self.images, z, strict=True)], axis=0)

    def log_posterior(self, latents: Mapping[str, np.ndarray]) -> np.ndarray:
        return self.log_prior(latents) + self.log_likelihood(latents) - self.log_evidence

    def facts(self) -> dict[str, Any]:
        return {"nodes": len(self.points), "step": self.step}


def normal(z: np.ndarray) -> np.ndarray:
    """log N(z; 0, I) in nats, shape (...), of z, shape (..., latent)."""
    return -0.5 * np.sum(z**2, axis=-1) - 0.5 * z.shape[-1] * LOG_2PI
