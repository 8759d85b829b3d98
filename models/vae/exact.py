"""The posterior of every image: by quadrature over one or two dimensions, or in closed form where all is Gaussian."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from models import linear_decoder
from models.decoder import Decoder
from models.image_posteriors import WORST, GaussianPosteriors, Likelihood, Posteriors, QuadraturePosteriors
from models.vae.data import Autoencoder

__all__ = ["exact", "posteriors"]


def exact(data: Autoencoder, images: np.ndarray | None = None) -> Posteriors | None:
    """The posteriors of images, by default those shown; None where they are not known within `WORST` nats.

    Known are those of one or two latent dimensions, and of any number where decoder and pixels are linear and Gaussian.
    """
    decoder = data.network
    if decoder is None or (decoder.latent > 2 and not linear_decoder.applies(decoder)):
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
