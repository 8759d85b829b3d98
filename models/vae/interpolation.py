"""Straight lines on the plane, between the posterior means of test images of different classes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import special

from models.contract import Scores
from models.vae.exact import normal, posteriors
from models.vae.generation import average

__all__ = ["Path", "interpolation", "pairs", "paths"]

STEPS = 9
"""Points of a path, its ends included."""

MOST = 5
"""Most pairs of images."""

MIXED = 20
"""Images that mix the pixels of a pair, drawn for each point of a path."""


class Path(NamedTuple):
    """A path between two test images, given by their numbers.

    At each point t: ``z`` (steps, latent); ``probabilities`` of the decoded pixels and, thresholded at a half, the most
    probable ``images`` (steps, pixels); in nats ``log_prior``, log N(z; 0, I), ``log_aggregate``, that of z under the
    average of the test images' exact posteriors, and ``log_evidence``, exact, of the most probable image, each (steps,).
    ``log_mixed`` (steps,) is the mean log evidence of images without the model: each pixel is that of the second image
    with probability t, else that of the first; ``log_mixed_error`` its standard error.
    """

    first: int
    second: int
    z: np.ndarray
    probabilities: np.ndarray
    images: np.ndarray
    log_prior: np.ndarray
    log_aggregate: np.ndarray
    log_evidence: np.ndarray
    log_mixed: np.ndarray
    log_mixed_error: np.ndarray


def pairs(data: Any) -> list[tuple[int, int]]:
    """Test images by number: the first of one class with the first of the next; without labels, by twos as they come."""
    labels = data.set.test_labels
    count = len(data.set.test)
    firsts = np.arange(count) if labels is None else np.unique(labels, return_index=True)[1]
    return [(int(a), int(b)) for a, b in zip(firsts[0::2], firsts[1::2], strict=False)][:MOST]


def paths(data: Any) -> list[Path]:
    """The paths of all `pairs`. Needs a latent space of at most two dimensions."""
    test, decoder = data.set.test, data.network
    exact = posteriors(decoder, test)
    rng = np.random.default_rng((data.split, 3))
    t = np.linspace(0, 1, STEPS)[:, None]
    found = []
    for first, second in pairs(data):
        z = (1 - t) * exact.means[first] + t * exact.means[second]
        probabilities = special.expit(decoder(z))
        images = (probabilities > 0.5).astype(np.float64)
        aggregate = special.logsumexp(exact.log_density(np.broadcast_to(z, (len(test), *z.shape))), axis=0)
        chosen = rng.random((MIXED, STEPS, test.shape[1])) < t
        mixed = np.where(chosen, test[second], test[first])
        evidence = posteriors(decoder, np.vstack([images, mixed.reshape(-1, test.shape[1])])).log_evidences
        of_mixed = evidence[STEPS:].reshape(MIXED, STEPS)
        found.append(
            Path(
                first,
                second,
                z,
                probabilities,
                images,
                normal(z),
                aggregate - np.log(len(test)),
                evidence[:STEPS],
                of_mixed.mean(axis=0),
                of_mixed.std(axis=0, ddof=1) / np.sqrt(MIXED),
            )  # fmt: skip
        )
    return found


def interpolation(data: Any) -> dict[str, Scores]:
    """Means over the paths at their ends and in their middles, in nats, beside images of mixed pixels."""
    every, middle = paths(data), STEPS // 2
    names = ("log_prior", "log_aggregate", "log_evidence")

    def at(places: list[int]) -> Scores:
        return {name: average(np.array([getattr(path, name)[places].mean() for path in every])) for name in names}

    mixed = average(np.array([path.log_mixed[middle] for path in every]))
    mixed["mcse"] = float(np.sqrt(np.sum([path.log_mixed_error[middle] ** 2 for path in every])) / len(every))
    return {
        "ends of the lines": at([0, STEPS - 1]),
        "middles of the lines": at([middle]),
        "pixels mixed half and half": {"log_evidence": mixed},
    }
