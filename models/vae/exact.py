"""The posterior of every image: by quadrature over one or two dimensions, or in closed form where all is Gaussian."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from scipy import stats

from models.decoder import Decoder
from models.image_posteriors import Likelihood, Posteriors, QuadraturePosteriors, normal
from models.vae import linear
from models.vae.data import Autoencoder

__all__ = ["GaussianPosteriors", "exact", "posteriors"]

WORST = 1e-6  # with a larger tolerance, in nats, nothing is called exact


def exact(data: Autoencoder, images: np.ndarray | None = None) -> Posteriors | None:
    """The posteriors of images, by default those shown; None where they are not known within `WORST` nats.

    Known are those of one or two latent dimensions, and of any number where decoder and pixels are linear and Gaussian.
    """
    decoder = data.network
    if decoder is None or (decoder.latent > 2 and not linear.applies(decoder)):
        return None
    posterior = posteriors(decoder, data.dataset.test[data.shown] if images is None else images)
    return posterior if posterior.tolerance <= WORST else None


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
    if decoder.latent > 2 and not linear.applies(decoder):
        raise ValueError(
            f"the posterior of {decoder.latent} latent dimensions is not known; give a decoder with 1 or 2"
        )
    return solved(decoder, images.tobytes(), len(images))


@lru_cache(maxsize=8)
def solved(decoder: Likelihood, content: bytes, n_images: int) -> Posteriors:
    """The posteriors of images, given as bytes."""
    images = np.frombuffer(content).reshape(n_images, -1)
    if isinstance(decoder, Decoder) and linear.applies(decoder):
        return GaussianPosteriors(decoder, images)
    return QuadraturePosteriors(decoder, images)


class GaussianPosteriors(Posteriors):
    """The posteriors of a linear decoder with Gaussian pixels: Gaussians, in closed form."""

    decoder: Decoder

    def __init__(self, decoder: Decoder, images: np.ndarray) -> None:
        self.decoder, self.images = decoder, images
        self.method = "closed form: probabilistic principal component analysis"
        self.log_evidences, self.means, self.covariances = linear.posteriors(decoder, images)
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
