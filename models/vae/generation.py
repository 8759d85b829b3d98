"""Images from the prior, z ~ N(0, I) decoded: are they as probable as real ones, and are they copies?"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import special

from models.contract import Scores
from models.vae.baselines import independent
from models.vae.exact import posteriors
from models.vae.questions import differing

__all__ = ["Generated", "average", "generate", "generation", "scattered"]


class Generated(NamedTuple):
    """Draws of z (n, latent), the pixels' probabilities (n, pixels), and images drawn from those, (n, pixels)."""

    z: np.ndarray
    probabilities: np.ndarray
    images: np.ndarray


def generate(data: Any) -> Generated:
    """As many images from the prior as there are test images; the split's seed says which."""
    rng = np.random.default_rng((data.split, 2))
    z = rng.standard_normal((len(data.dataset.test), data.network.latent))
    probabilities = special.expit(data.network(z))
    return Generated(z, probabilities, (rng.random(probabilities.shape) < probabilities).astype(np.float64))


def scattered(data: Any) -> np.ndarray:
    """As many images of independent pixels, each lit as often as in training, (n, pixels)."""
    chance = np.random.default_rng((data.split, 4)).random(data.dataset.test.shape)
    return (chance < independent(data.dataset.train).means).astype(np.float64)


def generation(data: Any) -> dict[str, Scores]:
    """Of generated images, of test images and of images with independent pixels, by name:

    ``log_evidence``, exact, in nats an image (where quadrature knows it); ``lit``, the share of lit pixels;
    ``distance``, in how many pixels an image differs from the nearest training image. Images that are drawn have the
    Monte Carlo error of their number.
    """
    kinds = {
        "generated images": (generate(data).images, True),
        "test images": (data.dataset.test, False),
        "independent pixels": (scattered(data), True),
    }
    found = {}
    for name, (images, drawn) in kinds.items():
        evidence = posteriors(data.network, images).log_evidences if data.network.latent <= 2 else None
        scores = {} if evidence is None else {"log_evidence": average(evidence, drawn)}
        scores["lit"] = average(images.mean(axis=1), drawn)
        scores["distance"] = average(differing(images, data.dataset.train).min(axis=1), drawn)
        found[name] = scores
    return found


def average(values: np.ndarray, drawn: bool = False) -> dict[str, float | None]:
    """The mean of values, shape (n,), as a score; their standard error is Monte Carlo where they were drawn."""
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    if drawn:
        return {"value": float(values.mean()), "mcse": error or 0.0, "sampling": None}
    return {"value": float(values.mean()), "mcse": 0.0, "sampling": error}
