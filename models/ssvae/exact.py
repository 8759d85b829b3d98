"""The posteriors of z and of y, by quadrature: an integral over z for each class and image.

    log p(x, y) = log p(y) + log int p(x | y, z) p(z) dz,    log p(x) = log sum_y p(x, y),    p(y | x) = p(x, y) / p(x)

The posterior of z, in which y is summed out, comes from one more integral, of the sum over classes: its evidence is a
second way to log p(x).
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy import special

from models.contract import Reference
from models.image_posteriors import WORST, Posteriors, QuadraturePosteriors, posteriors
from models.ssvae.data import SemiSupervised
from models.ssvae.decoder import ClassDecoder


def truth(data: SemiSupervised) -> Posteriors | Reference:
    """The exact posteriors of z of the images that are shown.

    A reference while there is no decoder yet, and where they are not known within `WORST` nats.
    """
    if data.network is not None:
        posterior = posteriors(data.network, data.dataset.test[data.shown])
        if posterior.tolerance <= WORST:
            return posterior
    return Reference("NUTS on every shown image's z")


def class_evidences(decoder: ClassDecoder, images: np.ndarray) -> tuple[np.ndarray, float]:
    """log p(image, y) in nats of every image, shape (n, pixels), and class.

    Returns:
        Shape (n, classes), and how far one of them may be off.
    """
    images = np.ascontiguousarray(images, dtype=np.float64)
    return solved_by_class(decoder, images.tobytes(), len(images))


@lru_cache(maxsize=8)
def solved_by_class(decoder: ClassDecoder, content: bytes, n_images: int) -> tuple[np.ndarray, float]:
    """The same of images that are given as bytes; the lattices of all classes would be too much to cache."""
    images = np.frombuffer(content).reshape(n_images, -1)
    each = [QuadraturePosteriors(part, images) for part in decoder.by_class]
    values = np.stack([posterior.log_evidences for posterior in each], axis=1) - math.log(decoder.n_classes)
    values.flags.writeable = False
    return values, max(posterior.tolerance for posterior in each)


def class_posteriors(decoder: ClassDecoder, images: np.ndarray) -> np.ndarray:
    """p(y | image) of every image, shape (n, pixels), by class: shape (n, classes)."""
    return special.softmax(class_evidences(decoder, images)[0], axis=1)
