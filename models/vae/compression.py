"""Bits a pixel: what a code built on the model achieves, and what general-purpose compressors need.

A model that gives an image the probability p(x) can code it in -log2 p(x) bits, and with an approximate posterior q in
-ELBO / log 2 by bits back (Hinton & van Camp 1993; Townsend, Bird & Barber 2019). Both are what arithmetic coding
achieves over many images, without the few bits that are lost once; sender and receiver share the decoder, whose own
size is not counted. Nor is that of the compressors' programs.
"""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from models.contract import Scores
from models.vae.baselines import baselines

if TYPE_CHECKING:
    import xarray as xr

    from models.vae.data import Autoencoder

__all__ = ["bits", "compressors", "exact_bits", "fit_bits"]

WINDOW = 32_768
"""Bytes that zlib can look back."""


def bits(log_probabilities: np.ndarray, pixels: int, errors: np.ndarray | None = None) -> dict[str, float | None]:
    """Mean bits a pixel of images with these log probabilities in nats, (n,), and these independent errors, (n,)."""
    each = -np.asarray(log_probabilities) / (math.log(2) * pixels)
    mcse = 0.0 if errors is None else float(np.sqrt(np.sum(np.square(errors))) / (len(each) * math.log(2) * pixels))
    return {"value": float(each.mean()), "mcse": mcse, "sampling": float(each.std(ddof=1) / np.sqrt(len(each)))}


def exact_bits(data: Autoencoder, log_evidences: np.ndarray) -> Scores:
    """By the exact evidence of the test images, shape (n,)."""
    return {"bits": bits(log_evidences, data.dataset.test.shape[1])}


def fit_bits(data: Autoencoder, tree: xr.DataTree) -> Scores:
    """Bits back with a fit's guide, and with the best member of its family for each image; none where not measured."""
    if "test_set" not in tree:
        return {}
    test_set, pixels = tree["test_set"].dataset, data.dataset.test.shape[1]
    return {
        name: bits(test_set[elbo].values, pixels, test_set[f"{elbo}_mcse"].values)
        for name, elbo in (("bits", "elbo"), ("bits_best", "best_elbo"))
        if elbo in test_set
    }


def compressors(data: Autoencoder) -> dict[str, Scores]:
    """The test images by simpler models and by general-purpose compressors, one by one or all of them in one file.

    One by one a file's fixed costs weigh, together they do not. zlib packs eight pixels a byte (level 9); with the
    training images as its dictionary it knows, as the model does, what such images look like. PNG has one bit a pixel.
    """
    test, pixels = data.dataset.test.astype(bool), data.dataset.test.shape[1]
    train = np.packbits(data.dataset.train.astype(bool), axis=1).tobytes()[-WINDOW:]
    packed = [np.packbits(image).tobytes() for image in test]
    height, width = data.dataset.shape
    one_by_one = {
        "zlib": [len(zlib.compress(image, 9)) for image in packed],
        "zlib and training images": [len(with_dictionary(image, train)) for image in packed],
        "PNG": [len(png(image.reshape(height, width))) for image in test],
    }
    together = {
        "zlib": len(zlib.compress(b"".join(packed), 9)),
        "zlib and training images": len(with_dictionary(b"".join(packed), train)),
        "PNG": len(png(test.reshape(-1, width))),
    }
    scores: dict[str, Mapping[str, Mapping[str, float | None]]] = {}
    scores |= {name: {"bits": bits(densities, pixels)} for name, densities in baselines(data.dataset).items()}
    for name, sizes in one_by_one.items():
        scores[f"{name}, one by one"] = {"bits": bits(-8 * math.log(2) * np.array(sizes), pixels)}
    for name, size in together.items():
        scores[f"{name}, all together"] = {"bits": {"value": 8 * size / test.size, "mcse": 0.0, "sampling": None}}
    return scores


def with_dictionary(content: bytes, dictionary: bytes) -> bytes:
    """What zlib makes of the content, at level 9, if both sides have the dictionary."""
    compressor = zlib.compressobj(level=9, zdict=dictionary)
    return compressor.compress(content) + compressor.flush()


def png(image: np.ndarray) -> bytes:
    """A picture, shape (height, width), as a PNG of one bit a pixel, as small as Pillow makes it."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).convert("1").save(file, "png", optimize=True)
    return file.getvalue()
