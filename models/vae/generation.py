"""What is decoded from the latent space: images from the prior, and images between two others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import special

from models.contract import Scores
from models.vae.baselines import independent
from models.vae.exact import normal, posteriors
from models.vae.questions import n_differing

if TYPE_CHECKING:
    from models.vae.data import Autoencoder

__all__ = ["Generated", "Path", "generate", "generation", "interpolation", "pairs", "paths", "scattered"]

STEPS = 9
"""Points of a path between two images, its ends included."""

MAX_PAIRS = 5
"""Most pairs of images."""

DRAWN = 20
"""Images of either kind that are drawn at each point of a path."""


def average(values: np.ndarray, drawn: bool = False) -> dict[str, float | None]:
    """The mean of values, shape (n,), as a score; their standard error is Monte Carlo where they were drawn."""
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    errors = {"mcse": error or 0.0, "sampling": None} if drawn else {"mcse": 0.0, "sampling": error}
    return {"value": float(values.mean()), **errors}


class Generated(NamedTuple):
    """Draws of z (n, latent), the pixels' probabilities (n, pixels), and images drawn from those, (n, pixels)."""

    z: np.ndarray
    probabilities: np.ndarray
    images: np.ndarray


def generate(data: Autoencoder) -> Generated:
    """As many images from the prior, z ~ N(0, I) decoded, as there are test images; the split's seed says which."""
    rng = np.random.default_rng((data.split, 2))
    z = rng.standard_normal((len(data.dataset.test), data.network.latent))
    probabilities = special.expit(data.network(z))
    return Generated(z, probabilities, (rng.random(probabilities.shape) < probabilities).astype(np.float64))


def scattered(data: Autoencoder) -> np.ndarray:
    """As many images of independent pixels, each lit as often as in training, (n, pixels)."""
    chance = np.random.default_rng((data.split, 4)).random(data.dataset.test.shape)
    return (chance < independent(data.dataset.train).means).astype(np.float64)


def generation(data: Autoencoder) -> dict[str, Scores]:
    """Scores of generated images, of test images and of images with independent pixels, by name.

    ``log_evidence``, exact, in nats an image (where quadrature knows it): are they as probable as real ones? ``lit``,
    the share of lit pixels. ``distance``, in how many pixels an image differs from the nearest training image: are they
    copies? Images that are drawn have the Monte Carlo error of their number.
    """
    kinds = {
        "generated images": (generate(data).images, True),
        "test images": (data.dataset.test, False),
        "independent pixels": (scattered(data), True),
    }
    scores: dict[str, Mapping[str, Mapping[str, float | None]]] = {}
    for name, (images, drawn) in kinds.items():
        known = data.network.latent <= 2
        evidence = {"log_evidence": average(posteriors(data.network, images).log_evidences, drawn)} if known else {}
        scores[name] = {
            **evidence,
            "lit": average(images.mean(axis=1), drawn),
            "distance": average(n_differing(images, data.dataset.train).min(axis=1), drawn),
        }
    return scores


class Path(NamedTuple):
    """A straight line between the posterior means of two test images, at ``STEPS`` points t from 0 to 1.

    Attributes:
        first: The number of the test image at t = 0.
        second: That of the image at t = 1.
        z: The points, shape (steps, latent).
        probabilities: Of the pixels decoded there, shape (steps, pixels).
        log_prior: log N(z; 0, I) in nats, shape (steps,).
        log_aggregate: The log density of z under the average of the test images' exact posteriors, shape (steps,).
        log_decoded: The mean exact log evidence of images drawn from the probabilities, shape (steps,).
        log_mixed: That of images without the model, each pixel that of the second image with probability t, else that
            of the first, shape (steps,).
        errors: The standard errors of these two, shape (2, steps).
    """

    first: int
    second: int
    z: np.ndarray
    probabilities: np.ndarray
    log_prior: np.ndarray
    log_aggregate: np.ndarray
    log_decoded: np.ndarray
    log_mixed: np.ndarray
    errors: np.ndarray


def pairs(data: Autoencoder) -> list[tuple[int, int]]:
    """Test images by number: the first of a class with the first of the next; without classes, by twos as they come."""
    labels, every = data.dataset.test_labels, np.arange(len(data.dataset.test))
    firsts = every if labels is None else np.unique(labels, return_index=True)[1]
    firsts = firsts if len(firsts) > 1 else every
    return [(int(a), int(b)) for a, b in zip(firsts[0::2], firsts[1::2], strict=False)][:MAX_PAIRS]


def paths(data: Autoencoder) -> list[Path]:
    """The paths of all `pairs`. Needs a latent space of at most two dimensions."""
    test, decoder = data.dataset.test, data.network
    exact = posteriors(decoder, test)
    rng = np.random.default_rng((data.split, 3))
    t = np.linspace(0, 1, STEPS)[:, None]
    lines = []
    for first, second in pairs(data):
        z = (1 - t) * exact.means[first] + t * exact.means[second]
        probabilities = special.expit(decoder(z))
        aggregate = special.logsumexp(exact.log_density(np.broadcast_to(z, (len(test), *z.shape))), axis=0)
        chance, turn = rng.random((2, DRAWN, STEPS, test.shape[1]))
        drawn = np.stack([chance < probabilities, np.where(turn < t, test[second], test[first])]).astype(np.float64)
        evidence = posteriors(decoder, drawn.reshape(-1, test.shape[1])).log_evidences.reshape(2, DRAWN, STEPS)
        errors = evidence.std(axis=1, ddof=1) / np.sqrt(DRAWN)
        density = (normal(z), aggregate - np.log(len(test)))
        lines.append(Path(first, second, z, probabilities, *density, *evidence.mean(axis=1), errors))  # type: ignore[call-arg]
    return lines


def interpolation(data: Autoencoder) -> dict[str, Scores]:
    """Means over the paths at their ends and in their middles, in nats, beside images of mixed pixels."""
    lines = paths(data)
    ends, middle = [0, STEPS - 1], [STEPS // 2]

    def mean(name: str, places: list[int]) -> dict[str, float | None]:
        score = average(np.array([getattr(path, name)[places].mean() for path in lines]))
        kinds = ("log_decoded", "log_mixed")
        if name in kinds:
            errors = np.array([path.errors[kinds.index(name), places] for path in lines])
            score["mcse"] = float(np.sqrt(np.sum(errors**2)) / errors.size)
        return score

    def along(places: list[int]) -> Scores:
        names = {"log_prior": "log_prior", "log_aggregate": "log_aggregate", "log_evidence": "log_decoded"}
        return {score: mean(name, places) for score, name in names.items()}

    return {
        "ends of the lines": along(ends),
        "middles of the lines": along(middle),
        "pixels mixed half and half": {"log_evidence": mean("log_mixed", middle)},
    }
