"""The posterior of every image: by quadrature over one or two dimensions, or in closed form where all is Gaussian."""

from __future__ import annotations

import numpy as np

from models import linear_decoder
from models.image_posteriors import WORST, Posteriors, posteriors
from models.vae.data import Autoencoder


def exact(data: Autoencoder, images: np.ndarray | None = None) -> Posteriors | None:
    """The posteriors of images, by default those shown; None where they are not known within `WORST` nats.

    Known are those of one or two latent dimensions, and of any number where decoder and pixels are linear and Gaussian.
    """
    decoder = data.network
    if decoder is None or (decoder.latent > 2 and not linear_decoder.applies(decoder)):
        return None
    posterior = posteriors(decoder, data.dataset.test[data.shown] if images is None else images)
    return posterior if posterior.tolerance <= WORST else None
