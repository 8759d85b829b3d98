"""Simpler models of images, which know no latent variable: what the autoencoder must beat.

`baselines` are their held-out log evidences, in the unit and on the split of the autoencoder. `guesses` are their
answers to a task's question. All are given the training images. What smoothing an answer needs is chosen on the
validation images, which are asked the same question: of `SHARES` the one that gives the best mean log probability.

- mean image: independent pixels, each lit as often as in training. It ignores what was observed.
- noisy image (denoise): the same, with each pixel's noisy value taken into account by Bayes' rule.
- nearest neighbour: the training image that agrees with what was observed in the most pixels (the first of several),
  smoothed towards the mean image; in denoising its pixels are then held against the noisy ones by Bayes' rule.
- training images: a mixture with one component a training image, smoothed as the nearest neighbour is (Parzen 1962).
  Its answer is exact: training images weighted by how well they explain what was observed.
- Bernoulli mixture: fitted to the training images by EM. Its answer is exact, too.
- principal components (reconstruct): as many as the autoencoder has latents, clipped to [0, 1] and smoothed.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy import special, stats

from models import linear_decoder
from models.contract import Predictions
from models.images import Images
from models.vae.data import Autoencoder
from models.vae.questions import Question, ask, mixture, n_differing, predictions

COMPONENTS = (10, 20, 40, 80, 160, 320)
"""Numbers of components tried, in this order, until one is worse on the validation images than the one before."""

DIMENSIONS = (1, 2, 3, 5, 8, 10, 15, 20, 30, 40, 50, 60, 80, 120, 160, 240, 320)
"""Numbers of principal components tried, as far as there are pixels."""

RESTARTS = 3  # starts of the EM algorithm for each number of components; one where there are more pixels than `MANY`

MANY = 5_000_000

SMOOTHING = 0.1  # the number of images of each kind, all on and all off, and in all, that are added to each component
STEPS = 200  # most steps of the EM algorithm
CONVERGED = 1e-3  # it is stopped when a step gains less, in nats an image


SHARES = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7)
"""Shares of the mean image in a smoothed one, among which validation images choose."""

PRACTICE = 300  # most validation images that choose, the first ones
MOST_IMAGES = 10_000  # most training images that a mixture is made of, the first ones


@lru_cache(maxsize=4)
def baselines(images: Images) -> dict[str, np.ndarray]:
    """log p(image) in nats of every test image, shape (n,), by the name of the model; fitted to the training images.

    Of binary pixels: independent ones, each on with the mean of its posterior under Beta(1, 1), and a mixture of such
    models. Of grey pixels: independent Gaussians, whose variances are smoothed by one image with the mean variance of
    all pixels, and probabilistic principal component analysis. The numbers of components, which are part of the names,
    are those with the greatest likelihood of the validation images.
    """
    if np.isin(images.train, (0.0, 1.0)).all():
        chosen = best_mixture(images)
        return {
            "independent pixels": independent(images.train).log_density(images.test),
            f"Bernoulli mixture, {len(chosen.weights)} components": chosen.log_density(images.test),
        }
    variances = images.train.var(axis=0)
    count = len(images.train)
    sds = np.sqrt((count * variances + variances.mean()) / (count + 1))
    components, evidences = best_subspace(images)
    return {
        "independent Gaussian pixels": stats.norm.logpdf(images.test, images.train.mean(axis=0), sds).sum(axis=1),
        f"probabilistic PCA, {components} components": evidences,
    }


@dataclass(frozen=True)
class Mixture:
    """A mixture of models with independent pixels: ``weights`` (components,), ``means`` (components, pixels)."""

    weights: np.ndarray
    means: np.ndarray

    def log_joint(self, images: np.ndarray) -> np.ndarray:
        """log p(image, component) in nats, shape (n, components), of images, shape (n, pixels)."""
        on, off = np.log(self.means), np.log1p(-self.means)
        return images @ (on - off).T + off.sum(axis=1) + np.log(self.weights)

    def log_density(self, images: np.ndarray) -> np.ndarray:
        """log p(image) in nats, shape (n,)."""
        return special.logsumexp(self.log_joint(images), axis=1)


def independent(images: np.ndarray) -> Mixture:
    """Independent pixels, each on with the mean of its posterior under Beta(1, 1)."""
    return Mixture(np.ones(1), (images.sum(axis=0, keepdims=True) + 1) / (len(images) + 2))


def fit(
    images: np.ndarray, components: int, rng: np.random.Generator, smoothing: float = SMOOTHING
) -> tuple[Mixture, list[float]]:
    """A mixture by the EM algorithm (Dempster, Laird & Rubin 1977), from as many images drawn at random.

    Maximised is the log likelihood plus ``smoothing`` times the sum over components of the logs of the weight and of
    the probabilities that each pixel is on and that it is off: a Dirichlet and Beta priors.

    Returns:
        The mixture, and what is maximised, in nats, before every step: it never falls.
    """
    centres = images[rng.choice(len(images), components, replace=components > len(images))]
    mixture = Mixture(np.full(components, 1 / components), 0.5 * centres + 0.5 * independent(images).means)
    track: list[float] = []
    while True:
        shares = mixture.log_joint(images)
        highest = shares.max(axis=1, keepdims=True)
        np.exp(np.subtract(shares, highest, out=shares), out=shares)
        total = shares.sum(axis=1, keepdims=True)
        penalty = np.log(mixture.means).sum() + np.log1p(-mixture.means).sum() + np.log(mixture.weights).sum()
        track.append(float((highest + np.log(total)).sum() + smoothing * penalty))
        if len(track) > STEPS or (len(track) > 1 and track[-1] - track[-2] < CONVERGED * len(images)):
            return mixture, track
        shares /= total
        counts = shares.sum(axis=0)
        means = (shares.T @ images + smoothing) / (counts[:, None] + 2 * smoothing)
        mixture = Mixture((counts + smoothing) / (len(images) + components * smoothing), means)


@lru_cache(maxsize=2)
def best_mixture(images: Images) -> Mixture:
    """The mixture that makes the validation images most likely, among growing sizes and several starts of each."""
    best, highest = None, -np.inf
    for components in COMPONENTS:
        if best is not None and components > len(images.train):
            break
        starts = range(1 if images.train.size > MANY else RESTARTS)
        mixtures = [fit(images.train, components, np.random.default_rng([components, start]))[0] for start in starts]
        scores = [float(mixture.log_density(images.validation).mean()) for mixture in mixtures]
        if max(scores) < highest:
            break
        best, highest = mixtures[int(np.argmax(scores))], max(scores)
    return best


def best_subspace(images: Images) -> tuple[int, np.ndarray]:
    """The number of principal components, and the test images' log evidences, with the best validation images."""
    principal = linear_decoder.principal(images.train)
    decoders = [principal.decoder(components) for components in DIMENSIONS if components < images.train.shape[1]]
    scores = [linear_decoder.posteriors(decoder, images.validation)[0].mean() for decoder in decoders]
    best = decoders[int(np.argmax(scores))]
    return best.latent, linear_decoder.posteriors(best, images.test)[0]


# Answers to a task's question


def guesses(data: Autoencoder) -> dict[str, Predictions]:
    """The answers by name: arrays of shape (1, n, ...), log densities in nats an image."""
    images = data.dataset
    question = ask(data.task, images.test, images, (data.split, 0))
    practice = ask(data.task, images.validation[:PRACTICE], images, (data.split, 1))
    train, middle = images.train, independent(images.train).means[0]

    def best(answer: Callable[[Question, float], Predictions]) -> Predictions:
        scores = [float(answer(practice, share).log_density.mean()) for share in SHARES]
        return answer(question, SHARES[int(np.argmax(scores))])

    def smoothed(images: np.ndarray, share: float) -> np.ndarray:
        return special.logit((1 - share) * images + share * middle)

    def neighbour(question: Question, share: float) -> Predictions:
        return predictions(question, smoothed(train[nearest(question.observed, train)], share))

    def every_image(question: Question, share: float) -> Predictions:
        some = train[:MOST_IMAGES]
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
