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

DRAWN = 20
"""Images of either kind that are drawn at each point of a path."""


class Path(NamedTuple):
    """A path between two test images, given by their numbers.

    At each point t: ``z`` (steps, latent) and the decoded pixels' ``probabilities`` (steps, pixels); in nats
    ``log_prior``, log N(z; 0, I), and ``log_aggregate``, that of z under the average of the test images' exact
    posteriors, each (steps,). ``log_decoded`` (steps,) is the mean exact log evidence of images drawn from those
    probabilities; ``log_mixed`` (steps,) that of images without the model, of which each pixel is that of the second
    image with probability t, else that of the first. The standard errors of both are ``errors`` (2, steps).
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


def pairs(data: Any) -> list[tuple[int, int]]:
    """Test images by number: the first of a class with the first of the next; without classes, by twos as they come."""
    labels = data.dataset.test_labels
    count = len(data.dataset.test)
    firsts = np.arange(count) if labels is None else np.unique(labels, return_index=True)[1]
    firsts = firsts if len(firsts) > 1 else np.arange(count)
    return [(int(a), int(b)) for a, b in zip(firsts[0::2], firsts[1::2], strict=False)][:MOST]


def paths(data: Any) -> list[Path]:
    """The paths of all `pairs`. Needs a latent space of at most two dimensions."""
    test, decoder = data.dataset.test, data.network
    exact = posteriors(decoder, test)
    rng = np.random.default_rng((data.split, 3))
    t = np.linspace(0, 1, STEPS)[:, None]
    found = []
    for first, second in pairs(data):
        z = (1 - t) * exact.means[first] + t * exact.means[second]
        probabilities = special.expit(decoder(z))
        aggregate = special.logsumexp(exact.log_density(np.broadcast_to(z, (len(test), *z.shape))), axis=0)
        chance, turn = rng.random((2, DRAWN, STEPS, test.shape[1]))
        drawn = np.stack([chance < probabilities, np.where(turn < t, test[second], test[first])]).astype(np.float64)
        evidence = posteriors(decoder, drawn.reshape(-1, test.shape[1])).log_evidences.reshape(2, DRAWN, STEPS)
        errors = evidence.std(axis=1, ddof=1) / np.sqrt(DRAWN)
        density = (normal(z), aggregate - np.log(len(test)))
        found.append(Path(first, second, z, probabilities, *density, *evidence.mean(axis=1), errors))
    return found


def interpolation(data: Any) -> dict[str, Scores]:
    """Means over the paths at their ends and in their middles, in nats, beside images of mixed pixels."""
    every = paths(data)
    ends, middle = [0, STEPS - 1], [STEPS // 2]

    def mean(name: str, places: list[int]) -> dict[str, float | None]:
        found = average(np.array([getattr(path, name)[places].mean() for path in every]))
        kinds = ("log_decoded", "log_mixed")
        if name in kinds:
            errors = np.array([path.errors[kinds.index(name), places] for path in every])
            found["mcse"] = float(np.sqrt(np.sum(errors**2)) / errors.size)
        return found

    def along(places: list[int]) -> Scores:
        of_z = {name: mean(name, places) for name in ("log_prior", "log_aggregate")}
        return {**of_z, "log_evidence": mean("log_decoded", places)}

    return {
        "ends of the lines": along(ends),
        "middles of the lines": along(middle),
        "pixels mixed half and half": {"log_evidence": mean("log_mixed", middle)},
    }
