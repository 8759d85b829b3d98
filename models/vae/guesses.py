"""Simpler answers to a task's question, which know no latent variable: what the autoencoder must beat.

All are given the training images. What smoothing they need is chosen on the validation images, which are asked the same
question: of `SMOOTHING` the share that gives the best mean log probability.

- mean image: independent pixels, each lit as often as in training (`models.vae.baselines`). It ignores what was
  observed.
- noisy image (denoise): the same, with each pixel's noisy value taken into account by Bayes' rule.
- nearest neighbour: the training image that agrees with what was observed in the most pixels (the first of several),
  smoothed towards the mean image; in denoising its pixels are then held against the noisy ones by Bayes' rule.
- training images: a mixture with one component a training image, smoothed as the nearest neighbour is (Parzen 1962).
  Its answer is exact: training images weighted by how well they explain what was observed.
- Bernoulli mixture: that of `models.vae.baselines`, fitted to the training images by EM. Its answer is exact, too.
- principal components (reconstruct): as many as the autoencoder has latents, clipped to [0, 1] and smoothed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from models.contract import Predictions
from models.vae.baselines import best_mixture, independent
from models.vae.questions import Question, ask, mixture, n_differing, predictions

if TYPE_CHECKING:
    from models.vae.data import Autoencoder

__all__ = ["SMOOTHING", "guesses", "nearest", "projected"]

SMOOTHING = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7)
"""Shares of the mean image in a smoothed one, among which validation images choose."""

PRACTICE = 300
"""Most validation images that choose, the first ones."""

COMPONENTS = 10_000
"""Most training images that a mixture is made of, the first ones."""


def guesses(data: Autoencoder) -> dict[str, Predictions]:
    """The answers by name: arrays of shape (1, n, ...), log densities in nats an image."""
    images = data.dataset
    question = ask(data.task, images.test, images, (data.split, 0))
    practice = ask(data.task, images.validation[:PRACTICE], images, (data.split, 1))
    train, middle = images.train, independent(images.train).means[0]

    def best(answer: Callable[[Question, float], Predictions]) -> Predictions:
        scores = [float(answer(practice, share).log_density.mean()) for share in SMOOTHING]
        return answer(question, SMOOTHING[int(np.argmax(scores))])

    def smoothed(images: np.ndarray, share: float) -> np.ndarray:
        return special.logit((1 - share) * images + share * middle)

    def neighbour(question: Question, share: float) -> Predictions:
        return predictions(question, smoothed(train[nearest(question.observed, train)], share))

    def every_image(question: Question, share: float) -> Predictions:
        some = train[:COMPONENTS]
        return mixture(question, np.full(len(some), -np.log(len(some))), smoothed(some, share))

    def components(question: Question, share: float) -> Predictions:
        return predictions(question, smoothed(projected(question.observed, train, data.latent), share))

    flat = np.broadcast_to(special.logit(middle), question.clean.shape)
    answers = {"mean image": predictions(replace(question, flip=0.0), flat)}
    if data.task == "denoise":
        answers["noisy image"] = predictions(question, flat)
    if data.task == "reconstruct":
        answers["principal components"] = best(components)
    fitted = best_mixture(images)
    name = f"Bernoulli mixture, {len(fitted.weights)} components"
    answers[name] = mixture(question, np.log(fitted.weights), special.logit(fitted.means))
    return answers | {"nearest neighbour": best(neighbour), "training images": best(every_image)}


def nearest(observed: np.ndarray, train: np.ndarray) -> np.ndarray:
    """The training image, by its number, that differs from each of n images, nan unobserved, in the fewest pixels."""
    return np.argmin(n_differing(observed, train), axis=1)


def projected(images: np.ndarray, train: np.ndarray, count: int) -> np.ndarray:
    """Images on the span of the training images' first principal components, clipped to [0, 1], shape (n, pixels)."""
    centre = train.mean(axis=0)
    directions = np.linalg.svd(train - centre, full_matrices=False)[2][:count]
    return np.clip(centre + (images - centre) @ directions.T @ directions, 0.0, 1.0)
