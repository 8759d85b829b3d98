r"""What a task asks: the pixels that were observed and how, and the pixels that are asked for.

A binary image x has the prior p(x) = ∫ N(z; 0, I) prod_j Bernoulli(x_j; sigmoid(f_j(z))) dz. What is observed of it is
y, and what is asked is p(target | y) = ∫ p(z | y) p(target | z, y) dz:

- reconstruct: y = x, and a second image from the same z is asked for. This is the one task in which what is asked for
  was seen; its scores are no scores of prediction.
- denoise: every pixel of y is that of x, flipped with probability e, independently. The pixels of x are asked for.
  Given z, y_j ~ Bernoulli((1 - e) p_j + e (1 - p_j)) with p_j = sigmoid(f_j(z)), and by Bayes' rule x_j is 1 with the
  logit f_j(z) + (2 y_j - 1) log((1 - e) / e), independently of the other pixels.
- inpaint: y are the pixels of the upper half, and those of the lower half are asked for.

Every p(target | y) is a ratio of two evidences, each an integral over z alone:

    reconstruct: p(x, x) / p(y), with p(x, x) that of the image and its copy;      inpaint: p(x) / p(y);
    denoise: p(x | y) = p(x) e^k (1 - e)^(pixels - k) / p(y), with k the pixels flipped.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from scipy import sparse, special

from models.contract import Predictions
from models.decoder import Decoder, softplus
from models.image_posteriors import Posteriors, posteriors
from models.images import Images
from models.vae.data import FLIP

PARTS = 16  # parts into which the draws are averaged pixel by pixel
CHUNK = 8_000_000  # pixels that are held at a time


@dataclass(frozen=True, eq=False)
class Question:
    """A task's question about n images.

    Attributes:
        clean: The images, shape (n, pixels).
        observed: What was observed of them, nan where nothing was, shape (n, pixels).
        seen: What an encoder is given, in [0, 1], shape (n, pixels).
        places: The pixels asked for, shape (targets,).
        flip: The probability with which an observed pixel was flipped.
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

    @cached_property
    def log_odds(self) -> float:
        """The log odds that a pixel was not flipped."""
        return math.log1p(-self.flip) - math.log(self.flip)

    def answer(self, logits: np.ndarray) -> np.ndarray:
        """The logits of the target given z and what was observed, (..., n, targets), from f(z), (..., n, pixels)."""
        if self.flip:
            logits = logits + (2 * self.observed - 1) * self.log_odds
        return logits[..., self.places]

    def channel(self, decoder: Decoder) -> Decoder:
        """The decoder of what was observed."""
        return noisy(decoder, self.flip) if self.flip else decoder

    def log_density(
        self, observed: np.ndarray, clean: Callable[[], np.ndarray], twice: Callable[[], np.ndarray]
    ) -> np.ndarray:
        """log p(target | y), (n,), from log p(y), and as far as needed log p(x) and that of an image and its copy."""
        if self.flip:
            changed = np.sum(self.observed != self.clean, axis=1)
            log_noise = changed * math.log(self.flip) + (self.clean.shape[1] - changed) * math.log1p(-self.flip)
            return clean() + log_noise - observed
        return (clean if np.isnan(self.observed).any() else twice)() - observed

    def averaged(self, weights: Any, logits: np.ndarray, images: Any = slice(None)) -> np.ndarray:
        """These images' mean targets, (n, targets), over components of weights (n, k) and logits (k, pixels)."""
        if not self.flip:
            return weights @ special.expit(logits[:, self.places])
        on, off = (weights @ special.expit(logits + sign * self.log_odds) for sign in (1, -1))
        return np.where(self.observed[images] == 1, on, off)


@dataclass(frozen=True, eq=False)
class Noisy(Decoder):
    """A binary decoder seen through a channel that flips each pixel with probability ``flip``."""

    flip: float = field(default=FLIP)

    @property
    def content(self) -> tuple[Any, ...]:
        return (*super().content, self.flip)

    def __call__(self, z: np.ndarray) -> np.ndarray:
        """Logits of the noisy pixels, shape (..., pixels)."""
        return flipped(super().__call__(z), self.flip)


@lru_cache(maxsize=4)
def noisy(decoder: Decoder, flip: float) -> Noisy:
    """The decoder seen through the channel; once for each, so that its posteriors are computed once."""
    return Noisy(decoder.weights, flip)


def flipped(logits: np.ndarray, flip: float) -> np.ndarray:
    """The logits of pixels that were flipped with that probability."""
    on, off = special.expit(logits), special.expit(-logits)
    return np.log((1 - flip) * on + flip * off) - np.log(flip * on + (1 - flip) * off)


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


def log_bernoulli(images: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """log p(image | logits) in nats, shape (...), of pixels and logits of shape (..., pixels)."""
    return np.sum(images * logits - softplus(logits), axis=-1)


def log_likelihood(images: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """log p(image | component) in nats, (n, k), of images (n, pixels), nan unobserved, at logits (k, pixels)."""
    seen = ~np.isnan(images)
    return np.where(seen, images, 0.0) @ logits.T - seen @ softplus(logits).T


def n_differing(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """In how many observed pixels each image, shape (n, pixels), differs from each of others, (m, pixels): (n, m)."""
    seen = ~np.isnan(images)
    known = np.where(seen, images, 0.0)
    return known.sum(axis=1)[:, None] + seen @ others.T - 2 * known @ others.T


def predictions(question: Question, logits: np.ndarray) -> Predictions:
    """What one guess of every image says, given as its pixels' logits before anything was observed, (n, pixels)."""
    answer = question.answer(logits)
    return Predictions(question.target, log_bernoulli(question.target, answer)[None], special.expit(answer)[None])


def draws(question: Question, decoder: Decoder, z: np.ndarray) -> Predictions:
    """The answer of draws of z, shape (n_draws, n, latent); draws beyond a multiple of 16 are left out.

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
    likelihood = log_likelihood(question.clean, logits)
    joint = log_likelihood(question.observed, flipped(logits, question.flip) if question.flip else logits) + log_weights
    evidence = special.logsumexp(joint, axis=1)
    density = question.log_density(
        observed=evidence,
        clean=lambda: special.logsumexp(log_weights + likelihood, axis=1),
        twice=lambda: special.logsumexp(log_weights + 2 * likelihood, axis=1),
    )
    mean = question.averaged(np.exp(joint - evidence[:, None]), logits)
    return Predictions(question.target, density[None], mean[None])


def posterior(question: Question, decoder: Decoder) -> Posteriors:
    """The exact posterior of z given what was observed of each image."""
    return posteriors(question.channel(decoder), question.observed)


def exactly(question: Question, decoder: Decoder) -> Predictions:
    """What the exact posterior says, by quadrature: no draws, and no Monte Carlo error."""
    given = posterior(question, decoder)

    def clean() -> np.ndarray:
        return posteriors(decoder, question.clean).log_evidences

    def twice() -> np.ndarray:
        weights = dict(decoder.weights)
        weights |= {name: np.concatenate([weights[name]] * 2, axis=-1) for name in ("output_weights", "output_biases")}
        return posteriors(Decoder(weights), np.hstack([question.clean, question.clean])).log_evidences

    density = question.log_density(given.log_evidences, clean, twice)
    return Predictions(question.target, density[None], mean(question, decoder, given)[None])


def mean(question: Question, decoder: Decoder, given: Any) -> np.ndarray:
    """The posterior mean of the target, shape (n, targets), a sum over the points of the quadrature."""
    means = np.empty(question.target.shape)
    steps = np.array([mass.step for mass in given.masses])
    for step in np.unique(steps):  # images of one step share a lattice: each of its points is decoded once
        images = np.flatnonzero(steps == step)
        masses = [given.masses[image] for image in images]
        codes = np.concatenate([mass.codes for mass in masses])
        _, first, place = np.unique(codes, return_index=True, return_inverse=True)
        points = np.concatenate([mass.points for mass in masses])[first]
        probabilities = np.concatenate([mass.probabilities for mass in masses])
        ends = np.cumsum([0, *(len(mass.codes) for mass in masses)])
        weights = sparse.csr_array((probabilities, place, ends), shape=(len(images), len(points)))
        means[images] = question.averaged(weights, decoder(points), images)
    return means
