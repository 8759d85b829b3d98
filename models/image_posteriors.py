"""The posteriors of images, each over its own latents: quadrature up to two of them, Gaussian ones in closed form."""

from __future__ import annotations

import itertools
import math
from functools import lru_cache, partial
from typing import Any, Protocol

import numpy as np
from scipy import stats

from models import linear_decoder
from models.contract import Exact, Latents
from models.decoder import Decoder
from models.marginals import BandLimited
from models.shared_lattice import integrate

WORST = 1e-6  # with a larger tolerance of an image's log evidence, in nats, nothing is called exact
AT_ONCE = 1_000_000  # numbers that a network's layer may hold at once


class Likelihood(Protocol):
    """What an image says of z. A `Decoder` is one; so is a decoder behind a channel that adds noise to its images."""

    @property
    def latent(self) -> int:
        """The dimension of z."""

    def __hash__(self) -> int:
        """Equal for likelihoods of equal content."""

    def log_likelihood(self, images: np.ndarray, z: np.ndarray) -> np.ndarray:
        """log p(image | z) in nats, (n, n_points), of images (n, pixels) at points (n_points, latent)."""

    def ceilings(self, images: np.ndarray) -> np.ndarray:
        """What no log likelihood of each image exceeds, whatever z, (n,)."""


class Posteriors(Exact):
    """p(z | image) of n images, with one site ``z`` of shape (n, latent).

    Attributes:
        log_evidences: Of each image, in nats, shape (n,); ``log_evidence`` is their sum.
        tolerance: How far one of them may be off.
        means: Shape (n, latent).
        covariances: Shape (n, latent, latent).
    """

    decoder: Likelihood
    images: np.ndarray
    log_evidences: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    @property
    def log_evidence(self) -> float:  # type: ignore[override]
        return float(self.log_evidences.sum())

    def log_joint(self, z: np.ndarray) -> np.ndarray:
        """log p(image, z) in nats, (n, n_points), at points of each image's own, shape (n, n_points, latent)."""
        pairs = zip(self.images, z, strict=True)
        return np.stack([self.decoder.log_likelihood(image[None], points)[0] for image, points in pairs]) + normal(z)

    def log_density(self, z: np.ndarray) -> np.ndarray:
        """log p(z | image) in nats, (n, n_points), at points of each image's own, shape (n, n_points, latent)."""
        return self.log_joint(z) - self.log_evidences[:, None]

    def log_posterior(self, latents: Latents) -> np.ndarray:
        return self.log_density(np.swapaxes(latents["z"], 0, 1)).sum(axis=0)

    def mean(self) -> dict[str, np.ndarray]:
        return {"z": self.means}

    def sd(self) -> dict[str, np.ndarray]:
        return {"z": np.sqrt(np.diagonal(self.covariances, axis1=1, axis2=2))}

    def correlations(self) -> dict[str, float]:
        """The correlations of each image's latents, by pair."""
        sds = self.sd()["z"]
        scaled = self.covariances / (sds[:, :, None] * sds[:, None, :])
        pairs = list(itertools.combinations(range(sds.shape[1]), 2))
        return {f"z[{n},{i}],z[{n},{j}]": float(scaled[n, i, j]) for n in range(len(sds)) for i, j in pairs}


class QuadraturePosteriors(Posteriors):
    """The posteriors of one or two latent dimensions: sums over the points of a lattice."""

    def __init__(self, decoder: Likelihood, images: np.ndarray) -> None:
        self.decoder, self.images = decoder, images
        width = max(images.shape[1], getattr(decoder, "hidden", 0))

        def log_joint(rows: np.ndarray, points: np.ndarray) -> np.ndarray:
            values, size = np.empty((len(points), len(rows))), max(1, AT_ONCE // width)
            for piece in (slice(begin, begin + size) for begin in range(0, len(points), size)):
                values[piece] = (decoder.log_likelihood(images[rows], points[piece]) + normal(points[piece])).T
            return values

        self.masses = integrate(log_joint, decoder.latent, decoder.ceilings(images))
        self.log_evidences = np.array([mass.log_evidence for mass in self.masses])
        self.tolerance = max(mass.change for mass in self.masses)
        self.means = np.stack([mass.mean for mass in self.masses])
        self.covariances = np.stack([mass.covariance for mass in self.masses])
        self.method = f"quadrature: trapezoid, steps of {self.extra_summary()['step']}"
        self.marginals: dict[tuple[int, ...], BandLimited] = {}

    def marginal(self, site: str, index: tuple[int, ...] = ()) -> BandLimited:
        image, axis = index
        if index not in self.marginals:
            self.marginals[index] = self.masses[image].marginal(axis)
        return self.marginals[index]

    def draw(self, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        """Independent draws by rejection, each from the exact density but for the mass of points left out."""

        def log_joint(image: np.ndarray, points: np.ndarray) -> np.ndarray:
            return self.decoder.log_likelihood(image[None], points)[0] + normal(points)

        pairs = zip(self.masses, self.images, strict=True)
        return {"z": np.stack([mass.draw(partial(log_joint, image), rng, count) for mass, image in pairs], axis=1)}

    def extra_summary(self) -> dict[str, Any]:
        """What the quadrature consists of."""
        n_nodes = [len(mass.indices) for mass in self.masses]
        finest, coarsest = min(mass.step for mass in self.masses), max(mass.step for mass in self.masses)
        return {
            "nodes of an image": [min(n_nodes), max(n_nodes)],
            "step": f"{finest:g}" if finest == coarsest else f"{finest:g} to {coarsest:g}",
            "tolerance of a log evidence, in nats": self.tolerance,
        }


class GaussianPosteriors(Posteriors):
    """The posteriors of a linear decoder with Gaussian pixels: Gaussians, in closed form."""

    decoder: Decoder

    def __init__(self, decoder: Decoder, images: np.ndarray) -> None:
        self.decoder, self.images = decoder, images
        self.method = "closed form: probabilistic principal component analysis"
        self.log_evidences, self.means, self.covariances = linear_decoder.posteriors(decoder, images)
        self.tolerance = 0.0

    def marginal(self, site: str, index: tuple[int, ...] = ()) -> Any:
        return stats.norm(self.means[index], self.sd()["z"][index])

    def draw(self, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        lower = np.linalg.cholesky(self.covariances)
        normals = rng.standard_normal((count, *self.means.shape, 1))
        return {"z": self.means + (lower @ normals)[..., 0]}

    def log_density(self, z: np.ndarray) -> np.ndarray:
        lower = np.linalg.cholesky(self.covariances)
        white = np.linalg.solve(lower, (z - self.means[:, None]).swapaxes(1, 2)).swapaxes(1, 2)
        return normal(white) - np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1)[:, None]

    def extra_summary(self) -> dict[str, Any]:
        """The noise of a pixel."""
        return {"noise": float(self.decoder.weights["noise"])}


def posteriors(decoder: Likelihood, images: np.ndarray) -> Posteriors:
    """The posteriors of images, shape (n, pixels); a pixel that is nan was not observed.

    They are computed once for the same decoder and the same images.

    Raises:
        ValueError: there is no image, or they have not as many pixels as the decoder, or it has more than two latent
            dimensions and is not linear with Gaussian pixels.
    """
    images = np.asarray(images, dtype=np.float64)
    if images.ndim != 2 or not len(images) or images.shape[1] != getattr(decoder, "pixels", images.shape[1]):
        expected = f"(images, {getattr(decoder, 'pixels', 'pixels')})"
        raise ValueError(f"the images have shape {images.shape}; this decoder's have shape {expected}")
    if decoder.latent > 2 and not linear_decoder.applies(decoder):
        raise ValueError(
            f"the posterior of {decoder.latent} latent dimensions is not known; give a decoder with 1 or 2"
        )
    return solved(decoder, images.tobytes(), len(images))


@lru_cache(maxsize=8)
def solved(decoder: Likelihood, content: bytes, n_images: int) -> Posteriors:
    """The posteriors of images, given as bytes."""
    images = np.frombuffer(content).reshape(n_images, -1)
    if isinstance(decoder, Decoder) and linear_decoder.applies(decoder):
        return GaussianPosteriors(decoder, images)
    return QuadraturePosteriors(decoder, images)


def normal(z: np.ndarray) -> np.ndarray:
    """log N(z; 0, I) in nats, shape (...), of z, shape (..., latent)."""
    return -0.5 * np.sum(np.square(z), axis=-1) - 0.5 * np.shape(z)[-1] * math.log(2 * math.pi)
