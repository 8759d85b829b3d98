r"""What a task asks: the pixels that were observed and how, and the pixels that are asked for.

A binary image x has the prior p(x) = ∫ N(z; 0, I) prod_j Bernoulli(x_j; sigmoid(f_j(z))) dz. What is observed of it is
y, and what is asked is p(target | y) = ∫ p(z | y) p(target | z, y) dz:

- reconstruct: y = x, and a second image from the same z is asked for. This is the one task in which what is asked for
  was seen; its scores are no scores of prediction.
- denoise: every pixel of y is that of x, flipped with probability e, independently. The pixels of x are asked for.
  Given z, y_j ~ Bernoulli((1 - e) p_j + e (1 - p_j)) with p_j = sigmoid(f_j(z)), and by Bayes' rule x_j is 1 with the
  logit f_j(z) + (2 y_j - 1) log((1 - e) / e), independently of the other pixels.
- inpaint: y are the pixels of the upper half, and those of the lower half are asked for.

Both p(target | y) are ratios of two evidences, each an integral over z alone:

    denoise: p(x | y) = p(x) e^k (1 - e)^(pixels - k) / p(y), with k the pixels flipped;      inpaint: p(x) / p(y).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse, special

from models.contract import Predictions
from models.vae.decoder import Decoder, softplus
from models.vae.exact import Posteriors, QuadraturePosteriors, posteriors

if TYPE_CHECKING:
    from models.vae.images import Images

__all__ = [
    "FLIP",
    "Noisy",
    "Question",
    "ask",
    "differing",
    "draws",
    "exactly",
    "log_bernoulli",
    "lower_half",
    "mixture",
    "posterior",
    "predictions",
]

FLIP = 0.1
"""The probability e with which denoising's noise flips a pixel."""

PARTS = 16
"""Parts into which the draws are averaged pixel by pixel."""

CHUNK = 8_000_000
"""Pixels that are held at a time."""

ALL = slice(None)


@dataclass(frozen=True, eq=False)
class Question:
    """A task's question about n images.

    ``clean`` (n, pixels) are the images, ``observed`` (n, pixels) what was observed of them, nan where nothing was, and
    ``seen`` (n, pixels) what an encoder is given, in [0, 1]. ``places`` (targets,) are the pixels asked for, and
    ``flip`` the probability with which an observed pixel was flipped.
    """

    clean: np.ndarray
    observed: np.ndarray
    seen: np.ndarray
    places: np.ndarray
    flip: float = 0.0

    @property
    def target(self) -> np.ndarray:
        """The pixels asked for, shape (n, targets)."""
        return self.clean[:, self.places]

    def answer(self, logits: np.ndarray) -> np.ndarray:
        """The logits of the target given z and what was observed, (..., n, targets), from f(z), (..., n, pixels)."""
        if self.flip:
            logits = logits + (2 * self.observed - 1) * log_odds(self.flip)
        return logits[..., self.places]

    def channel(self, decoder: Decoder) -> Decoder:
        """The decoder of what was observed."""
        return noisy(decoder, self.flip) if self.flip else decoder


def log_odds(flip: float) -> float:
    return math.log1p(-flip) - math.log(flip)


@dataclass(frozen=True, eq=False)
class Noisy(Decoder):
    """A binary decoder seen through a channel that flips each pixel with probability ``flip``."""

    flip: float = field(default=FLIP)

    def __call__(self, z: np.ndarray) -> np.ndarray:
        """Logits of the noisy pixels, shape (..., pixels)."""
        return flipped(super().__call__(z), self.flip)


@lru_cache(maxsize=4)
def noisy(decoder: Decoder, flip: float) -> Noisy:
    """The decoder seen through the channel; once for each, so that its posteriors are found once."""
    return Noisy(decoder.weights, flip)


def flipped(logits: np.ndarray, flip: float) -> np.ndarray:
    """The logits of pixels that were flipped with that probability."""
    return np.log((1 - flip) * special.expit(logits) + flip * special.expit(-logits)) - np.log(
        flip * special.expit(logits) + (1 - flip) * special.expit(-logits)
    )


def lower_half(shape: tuple[int, int]) -> np.ndarray:
    """The pixels of the lower half of an image of (height, width); of odd heights the middle row is in it."""
    height, width = shape
    return np.arange(height // 2 * width, height * width)


def ask(task: str, clean: np.ndarray, images: Images, seed: Sequence[int]) -> Question | None:
    """The question that a task asks about images, shape (n, pixels); None where it asks none.

    The seed is that of denoising's noise. What inpainting hides, an encoder sees as the mean of the training images.
    """
    everything = np.arange(clean.shape[1])
    if task == "reconstruct":
        return Question(clean, clean, clean, everything)
    if task == "denoise":
        flips = np.random.default_rng(seed).random(clean.shape) < FLIP
        noisy = np.where(flips, 1 - clean, clean)
        return Question(clean, noisy, noisy, everything, FLIP)
    if task == "inpaint":
        hidden = lower_half(images.shape)
        observed, seen = clean.copy(), clean.copy()
        observed[:, hidden] = np.nan
        seen[:, hidden] = images.train.mean(axis=0)[hidden]
        return Question(clean, observed, seen, hidden)
    return None


# Answers


def predictions(question: Question, logits: np.ndarray) -> Predictions:
    """What one guess of every image says, given as its pixels' logits before anything was observed, (n, pixels)."""
    answer = question.answer(logits)
    return Predictions(question.target, log_bernoulli(question.target, answer)[None], special.expit(answer)[None])


def log_bernoulli(images: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """log p(image | logits) in nats, shape (...), of pixels and logits of shape (..., pixels)."""
    return np.sum(images * logits - softplus(logits), axis=-1)


def draws(question: Question, decoder: Decoder, z: np.ndarray) -> Predictions:
    """What draws of z, shape (count, n, latent), say; draws beyond a multiple of 16 are left out.

    The predictive probability is the average over draws of p(target | z, y), jointly over an image's pixels. Its
    logarithm is biased: for each image it is too small by about half the square of its Monte Carlo error.
    """
    parts = min(PARTS, len(z))
    z = z[: len(z) // parts * parts]
    density, mean = np.empty(z.shape[:2]), np.zeros((parts, *question.target.shape))
    size, step = len(z) // parts, max(1, CHUNK // question.clean.size)
    for part in range(parts):
        for begin in range(part * size, (part + 1) * size, step):
            piece = slice(begin, min(begin + step, (part + 1) * size))
            answer = question.answer(decoder(z[piece]))
            density[piece] = log_bernoulli(question.target, answer)
            mean[part] += special.expit(answer).sum(axis=0) / size
    return Predictions(question.target, density, mean)


def mixture(question: Question, log_weights: np.ndarray, logits: np.ndarray) -> Predictions:
    """What a mixture of Bernoullis says: component k has the weight log_weights[k] and the logits (k, pixels).

    Its answers are exact: p(k | y) takes the place of p(z | y).
    """
    joint = log_likelihood(question.clean, logits) + log_weights
    of_observed = flipped(logits, question.flip) if question.flip else logits
    responsibilities = log_likelihood(question.observed, of_observed) + log_weights
    evidence = special.logsumexp(responsibilities, axis=1)
    responsibilities -= evidence[:, None]
    if question.flip:
        density = special.logsumexp(joint, axis=1) + log_noise(question) - evidence
    elif np.isnan(question.observed).any():
        density = special.logsumexp(joint, axis=1) - evidence
    else:  # once more what was seen
        density = special.logsumexp(responsibilities + log_likelihood(question.target, logits), axis=1)
    return Predictions(question.target, density[None], averaged(question, np.exp(responsibilities), logits)[None])


def averaged(
    question: Question, weights: np.ndarray | sparse.csr_array, logits: np.ndarray, images: np.ndarray | slice = ALL
) -> np.ndarray:
    """The mean of these images' targets, (n, targets), over components of weights (n, k) and logits (k, pixels)."""
    if not question.flip:
        return weights @ special.expit(logits[:, question.places])
    on, off = (weights @ special.expit(logits + sign * log_odds(question.flip)) for sign in (1, -1))
    return np.where(question.observed[images] == 1, on, off)


def log_likelihood(images: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """log p(image | component) in nats, (n, k), of images (n, pixels), nan unobserved, at logits (k, pixels)."""
    seen = ~np.isnan(images)
    return np.where(seen, images, 0.0) @ logits.T - seen @ softplus(logits).T


def differing(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """In how many observed pixels each image, shape (n, pixels), differs from each of others, (m, pixels): (n, m)."""
    seen = ~np.isnan(images)
    known = np.where(seen, images, 0.0)
    return known.sum(axis=1)[:, None] + seen @ others.T - 2 * known @ others.T


def log_noise(question: Question) -> np.ndarray:
    """log p(noisy | clean), shape (n,)."""
    changed = np.sum(question.observed != question.clean, axis=1)
    return changed * math.log(question.flip) + (question.clean.shape[1] - changed) * math.log1p(-question.flip)


def posterior(question: Question, decoder: Decoder) -> Posteriors:
    """The exact posterior of z given what was observed of each image."""
    return posteriors(question.channel(decoder), question.observed)


def exactly(question: Question, decoder: Decoder) -> Predictions:
    """What the exact posterior says, by quadrature: no draws, and no Monte Carlo error."""
    given = posterior(question, decoder)
    if question.flip:
        density = posteriors(decoder, question.clean).log_evidences + log_noise(question) - given.log_evidences
    elif np.isnan(question.observed).any():
        density = posteriors(decoder, question.clean).log_evidences - given.log_evidences
    else:  # ∫ p(x | z)^2 p(z) dz is the evidence of the image and its copy
        weights = dict(decoder.weights)
        weights |= {name: np.concatenate([weights[name]] * 2, axis=-1) for name in ("output_weights", "output_biases")}
        twice = posteriors(Decoder(weights), np.hstack([question.clean, question.clean]))
        density = twice.log_evidences - given.log_evidences
    return Predictions(question.target, density[None], mean(question, decoder, given)[None])


def mean(question: Question, decoder: Decoder, given: QuadraturePosteriors) -> np.ndarray:
    """The posterior mean of the target, shape (n, targets), a sum over the points of the quadrature."""
    found = np.empty(question.target.shape)
    steps = np.array([mass.step for mass in given.masses])
    for step in np.unique(steps):  # images of one step share a lattice: each of its points is decoded once
        images = np.flatnonzero(steps == step)
        masses = [given.masses[image] for image in images]
        _, first, place = np.unique(
            np.concatenate([mass.codes for mass in masses]), return_index=True, return_inverse=True
        )
        points = np.concatenate([mass.points for mass in masses])[first]
        probabilities = np.concatenate([mass.probabilities for mass in masses])
        ends = np.cumsum([0, *(len(mass.codes) for mass in masses)])
        weights = sparse.csr_array((probabilities, place, ends), shape=(len(images), len(points)))
        found[images] = averaged(question, weights, decoder(points), images)
    return found
