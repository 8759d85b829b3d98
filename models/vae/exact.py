"""The posterior of every image: by quadrature on the plane, or in closed form where all is linear and Gaussian."""

from __future__ import annotations

import itertools
import math
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from scipy import optimize, special, stats

from models.contract import Exact, Latents
from models.vae import linear
from models.vae.decoder import Decoder
from models.vae.plane import Mass, integrate

if TYPE_CHECKING:
    from models.vae import Autoencoder

__all__ = ["GaussianPosteriors", "Likelihood", "Posteriors", "QuadraturePosteriors", "exact", "normal", "posteriors"]

WORST = 1e-6
"""With a larger tolerance, in nats, nothing is called exact."""


class Likelihood(Protocol):
    """What an image says of z. A `Decoder` is one; so is a decoder behind a channel that adds noise to its images."""

    latent: int

    def log_likelihood(self, images: np.ndarray, z: np.ndarray) -> np.ndarray:
        """log p(image | z) in nats, (n, points), of images (n, pixels) at points (points, latent)."""

    def ceilings(self, images: np.ndarray) -> np.ndarray:
        """What no log likelihood of each image exceeds, whatever z, (n,)."""


def exact(data: Autoencoder, images: np.ndarray | None = None) -> Posteriors | None:
    """The posteriors of images, those shown if not told otherwise; None where they are not known within `WORST` nats.

    Known are those of one or two latent dimensions, and of any number where decoder and pixels are linear and Gaussian.
    """
    decoder = data.network
    if decoder is None or (decoder.latent > 2 and not linear.applies(decoder)):
        return None
    found = posteriors(decoder, data.dataset.test[data.shown] if images is None else images)
    return found if found.tolerance <= WORST else None


def posteriors(decoder: Likelihood, images: np.ndarray) -> Posteriors:
    """The posteriors of images, shape (n, pixels); a pixel that is nan was not observed.

    They are found once for the same decoder and the same images.

    Raises:
        ValueError: there is no image, or they have not as many pixels as the decoder, or it has more than two latent
            dimensions and is not linear with Gaussian pixels.
    """
    images = np.asarray(images, dtype=np.float64)
    if images.ndim != 2 or not len(images) or images.shape[1] != getattr(decoder, "pixels", images.shape[1]):
        pixels = getattr(decoder, "pixels", "pixels")
        raise ValueError(f"the images have shape {images.shape}; this decoder's have shape (images, {pixels})")
    if decoder.latent > 2 and not linear.applies(decoder):
        raise ValueError(
            f"the posterior of {decoder.latent} latent dimensions is not known; give a decoder with 1 or 2"
        )
    return solved(decoder, images.tobytes(), len(images))


@lru_cache(maxsize=8)
def solved(decoder: Likelihood, content: bytes, count: int) -> Posteriors:
    """The posteriors of so many images."""
    images = np.frombuffer(content).reshape(count, -1)
    return GaussianPosteriors(decoder, images) if linear.applies(decoder) else QuadraturePosteriors(decoder, images)


class Posteriors(Exact):
    """p(z | image) of n images. Implements `models.contract.Exact`, with one site ``z`` of shape (n, latent).

    ``log_evidences`` (n,) and their sum ``log_evidence`` are in nats, and ``tolerance`` is how far one of the former
    may be off; ``means`` (n, latent) and ``covariances`` (n, latent, latent).
    """

    method: str
    tolerance: float
    decoder: Likelihood
    images: np.ndarray
    log_evidences: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    @property
    def log_evidence(self) -> float:
        return float(self.log_evidences.sum())

    def log_joint(self, z: np.ndarray) -> np.ndarray:
        """log p(image, z) in nats, shape (n, points), at points of each image's own, shape (n, points, latent)."""
        pairs = zip(self.images, z, strict=True)
        return np.stack([self.decoder.log_likelihood(image[None], points)[0] for image, points in pairs]) + normal(z)

    def log_density(self, z: np.ndarray) -> np.ndarray:
        """log p(z | image) in nats, shape (n, points), at points of each image's own, shape (n, points, latent)."""
        return self.log_joint(z) - self.log_evidences[:, None]

    def log_prior(self, latents: Latents) -> np.ndarray:
        return normal(latents["z"]).sum(axis=1)

    def log_likelihood(self, latents: Latents) -> np.ndarray:
        z = np.swapaxes(latents["z"], 0, 1)
        return (self.log_joint(z) - normal(z)).sum(axis=0)

    def log_posterior(self, latents: Latents) -> np.ndarray:
        return self.log_density(np.swapaxes(latents["z"], 0, 1)).sum(axis=0)

    def mean(self) -> dict[str, np.ndarray]:
        return {"z": self.means}

    def sd(self) -> dict[str, np.ndarray]:
        return {"z": np.sqrt(np.diagonal(self.covariances, axis1=1, axis2=2))}

    def correlations(self) -> dict[str, float]:
        """Of the latents of each image."""
        scaled = self.covariances / (self.sd()["z"][:, :, None] * self.sd()["z"][:, None, :])
        pairs = list(itertools.combinations(range(scaled.shape[1]), 2))
        return {
            f"z[{image},{one}],z[{image},{other}]": float(scaled[image, one, other])
            for image in range(len(scaled))
            for one, other in pairs
        }


class QuadraturePosteriors(Posteriors):
    """The posteriors of one or two latent dimensions: sums over the points of a lattice."""

    def __init__(self, decoder: Likelihood, images: np.ndarray) -> None:
        self.decoder, self.images = decoder, images
        width = max(images.shape[1], getattr(decoder, "hidden", 0))

        def log_joint(rows: np.ndarray, points: np.ndarray) -> np.ndarray:
            found, size = np.empty((len(points), len(rows))), max(1, 1_000_000 // width)
            for piece in (slice(begin, begin + size) for begin in range(0, len(points), size)):
                found[piece] = (decoder.log_likelihood(images[rows], points[piece]) + normal(points[piece])).T
            return found

        self.masses = integrate(log_joint, decoder.latent, decoder.ceilings(images))
        self.log_evidences = np.array([mass.log_evidence for mass in self.masses])
        self.tolerance = max(mass.change for mass in self.masses)
        self.means = np.stack([mass.probabilities @ mass.points for mass in self.masses])
        self.covariances = np.stack(
            [
                (mass.points - mean).T @ (mass.probabilities[:, None] * (mass.points - mean))
                for mass, mean in zip(self.masses, self.means, strict=True)
            ]
        )
        self.method = f"quadrature: trapezoid, steps of {self.extra_summary()['step']}"
        self.marginals: dict[tuple[int, ...], Marginal] = {}

    def marginal(self, index: tuple[int, ...]) -> Marginal:
        """The distribution of one latent of one image."""
        if index not in self.marginals:
            self.marginals[index] = Marginal(self.masses[index[0]], index[1])
        return self.marginals[index]

    def quantile(self, probability: float) -> dict[str, np.ndarray]:
        found = [self.marginal(index).quantile(probability) for index in np.ndindex(self.means.shape)]
        return {"z": np.reshape(found, self.means.shape)}

    def density(self, site: str, index: tuple[int, ...], grid: np.ndarray) -> np.ndarray:
        return self.marginal(index).density(grid)

    def draw(self, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        """Independent draws by rejection, each from the exact density but for the mass of points left out.

        Proposed is a point of the lattice by its mass, and around it a triangular step: that is a draw from the density
        interpolated between the points, to which the exact one is held. Where it is higher by more than the margin, the
        margin is raised and all that was accepted of this image is thrown away.
        """
        found = np.empty((len(self.images), count, self.means.shape[1]))
        for image, mass in enumerate(self.masses):
            cumulative, margin, kept, accepted = np.cumsum(mass.probabilities), 0.2, [], 0
            while accepted < count:
                size = math.ceil(1.3 * (count - accepted)) + 100
                nodes = np.searchsorted(cumulative, cumulative[-1] * rng.random(size), side="right")
                step = mass.step * (rng.random((size, found.shape[2])) - rng.random((size, found.shape[2])))
                points = mass.points[nodes] + step
                exact = self.decoder.log_likelihood(self.images[[image]], points)[0] + normal(points)
                above = exact - mass.log_evidence - mass.interpolated(points)
                if above.max() > margin:
                    margin, kept, accepted = float(above.max()) + 0.1, [], 0
                kept.append(points[np.log(rng.random(size)) < above - margin])
                accepted += len(kept[-1])
            found[image] = np.concatenate(kept)[:count]
        return {"z": found.swapaxes(0, 1)}

    @cached_property
    def nodes(self) -> list[int]:
        """How many points the mass of each image lies on."""
        return [len(mass.indices) for mass in self.masses]

    def extra_summary(self) -> dict[str, Any]:
        """What the quadrature consists of."""
        steps = [mass.step for mass in self.masses]
        finest, coarsest = min(steps), max(steps)
        return {
            "nodes of an image": [min(self.nodes), max(self.nodes)],
            "step": f"{finest:g}" if finest == coarsest else f"{finest:g} to {coarsest:g}",
            "tolerance of a log evidence, in nats": self.tolerance,
        }


class Marginal:
    """The distribution of one latent of an image.

    At the lattice's abscissae the sum over the other dimension gives its density; elsewhere it is the sum of sinc
    functions through these. Where halving the step changes no integral the density has no higher waves than the lattice
    can hold, and so this interpolation is as exact as the integrals are (Trefethen & Weideman 2014, section 5).
    """

    def __init__(self, mass: Mass, axis: int) -> None:
        index = mass.indices[:, axis]
        first = int(index.min())
        self.step = mass.step
        self.masses = np.bincount(index - first, mass.probabilities)
        self.places = mass.step * (first + np.arange(len(self.masses)))

    def density(self, values: np.ndarray) -> np.ndarray:
        """At values of shape (count,)."""
        waves = np.sinc((values[:, None] - self.places) / self.step)
        inside = (values >= self.places[0]) & (values <= self.places[-1])
        return np.where(inside, np.maximum(waves @ self.masses / self.step, 0.0), 0.0)

    def below(self, value: float) -> float:
        """The probability below a value."""
        return float((0.5 + special.sici(np.pi * (value - self.places) / self.step)[0] / np.pi) @ self.masses)

    def quantile(self, probability: float) -> float:
        """The value below which the probability lies."""
        low, high = self.places[0], self.places[-1]
        if not self.below(low) < probability < self.below(high):
            return float(low if probability < 0.5 else high)
        return float(optimize.brentq(lambda value: self.below(value) - probability, low, high, xtol=1e-12))


class GaussianPosteriors(Posteriors):
    """The posteriors of a linear decoder with Gaussian pixels: Gaussians, in closed form."""

    def __init__(self, decoder: Decoder, images: np.ndarray) -> None:
        self.decoder, self.images = decoder, images
        self.method = "closed form: probabilistic principal component analysis"
        self.log_evidences, self.means, self.covariances = linear.posteriors(decoder, images)
        self.tolerance = 0.0

    def quantile(self, probability: float) -> dict[str, np.ndarray]:
        return {"z": stats.norm.ppf(probability, self.means, self.sd()["z"])}

    def density(self, site: str, index: tuple[int, ...], grid: np.ndarray) -> np.ndarray:
        return stats.norm.pdf(grid, self.means[index], self.sd()["z"][index])

    def draw(self, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        lower = np.linalg.cholesky(self.covariances)
        normals = rng.standard_normal((count, *self.means.shape, 1))
        return {"z": self.means + (lower @ normals)[..., 0]}

    def log_density(self, z: np.ndarray) -> np.ndarray:
        """log p(z | image) in nats, shape (n, points), at points of each image's own, shape (n, points, latent)."""
        lower = np.linalg.cholesky(self.covariances)
        white = np.linalg.solve(lower, (z - self.means[:, None]).swapaxes(1, 2)).swapaxes(1, 2)
        return normal(white) - np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1)[:, None]

    def extra_summary(self) -> dict[str, Any]:
        """The noise of a pixel."""
        return {"noise": float(self.decoder.weights["noise"])}


def normal(z: np.ndarray) -> np.ndarray:
    """log N(z; 0, I) in nats, shape (...), of z, shape (..., latent)."""
    return -0.5 * np.sum(np.square(z), axis=-1) - 0.5 * np.shape(z)[-1] * math.log(2 * math.pi)
