"""The log evidence of images where the latent space has too many dimensions for quadrature: references, with an error.

Importance sampling from any proposals, such as an encoder's posterior (Burda, Grosse & Salakhutdinov 2016, Importance
weighted autoencoders), and annealed importance sampling from the prior, which needs none (Neal 2001, Annealed
importance sampling, Statistics and Computing 11).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from models.decoder import Decoder
from models.image_posteriors import normal

LEAPFROG = 5  # leapfrog steps of a transition
ACCEPTED = 0.8  # the rate of acceptance that the warm-up adapts the step sizes to


class SmoothLikelihood(Protocol):
    """What an image says of z ~ N(0, I), with its slope: a `Decoder`, one that sums classes out, or two layers."""

    @property
    def latent(self) -> int:
        """The dimension of z."""

    def at(self, images: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """log p(image | z) of images (n, pixels), each at its own z (..., n, latent), and its slope in z."""


class Evidence(NamedTuple):
    """Estimates of log evidences in nats, each (n,).

    ``mcse`` is the standard error by the delta method. ``bias`` is what the logarithm of a mean takes off in
    expectation, to first order, -mcse^2 / 2: the expected estimate is a lower bound (Burda et al. 2016, theorem 1).
    """

    log_evidences: np.ndarray
    mcse: np.ndarray
    bias: np.ndarray


def averaged(log_weights: np.ndarray) -> Evidence:
    """The log of the mean of independent weights along the last axis, (n, count)."""
    highest = log_weights.max(axis=-1, keepdims=True)
    weights = np.exp(log_weights - highest)
    mean = weights.mean(axis=-1)
    mcse = weights.std(axis=-1, ddof=1) / mean / math.sqrt(weights.shape[-1])
    return Evidence(highest[..., 0] + np.log(mean), mcse, -0.5 * mcse**2)


def importance(decoder: Decoder, images: np.ndarray, z: np.ndarray, log_proposal: np.ndarray) -> Evidence:
    """From independent draws z, shape (n, count, latent), of each image's proposal, whose log q(z) has (n, count).

    The error is right where the weights have a variance: where the proposal is broader than the posterior everywhere.
    """
    pairs = zip(images, z, strict=True)
    likelihood = np.stack([decoder.log_likelihood(image[None], points)[0] for image, points in pairs])
    return averaged(likelihood + normal(z) - log_proposal)


def ais(
    decoder: SmoothLikelihood,
    images: np.ndarray,
    rng: np.random.Generator,
    chains: int = 16,
    temperatures: int = 500,
) -> tuple[np.ndarray, np.ndarray]:
    """Log evidences of images, shape (n, pixels), and their standard errors, in nats, both (n,).

    Independent chains go from the prior to the posterior along p(z) p(image | z)^b, with b from 0 to 1 and a
    Hamiltonian transition at each temperature. The mean of a chain's weight is the evidence, whatever the number of
    temperatures; with few of them the weights differ so much that the error is large, and at the last too large to be
    seen by the chains there are.
    """
    path = scouted(decoder, images, rng, chains, temperatures)
    evidence = averaged(anneal(decoder, images, rng, chains, path, adapt=False).log_weights.T)
    return evidence.log_evidences, evidence.mcse


def scouted(
    decoder: SmoothLikelihood, images: np.ndarray, rng: np.random.Generator, chains: int, temperatures: int
) -> Path:
    """The path for these images, from two warm-ups with a quarter of the chains each, which are thrown away.

    They find each image's step sizes, and place b so that the weights grow evenly.

    Raises:
        ValueError: fewer than two chains or temperatures.
    """
    if chains < 2 or temperatures < 2:
        raise ValueError(f"{chains} chains and {temperatures} temperatures; give 2 or more of both")
    few, path = max(4, chains // 4), Path.power(temperatures, len(images))
    scout = anneal(decoder, images, rng, few, path, adapt=True)
    path = scout.path.even(scout.spreads)
    return anneal(decoder, images, rng, few, path, adapt=True).path


@dataclass(frozen=True)
class Path:
    """Inverse temperatures from 0 to 1, (temperatures,), and the step sizes at each, (temperatures, n)."""

    inverse: np.ndarray
    steps: np.ndarray

    @classmethod
    def power(cls, temperatures: int, images: int) -> Path:
        """Inverse temperatures that grow like the third power."""
        return cls(np.linspace(0, 1, temperatures) ** 3, np.full((temperatures, images), 0.3))

    def even(self, spreads: np.ndarray) -> Path:
        """The inverse temperatures between which the weights' sds are equal.

        ``spreads`` (temperatures,) are the sds of the log likelihood at each.
        """
        pieces = 0.5 * (spreads[1:] + spreads[:-1]) * np.diff(self.inverse)
        length = np.concatenate([[0.0], np.cumsum(pieces)])
        inverse = np.interp(np.linspace(0, length[-1], len(length)), length, self.inverse)
        return Path(inverse, np.stack([np.interp(inverse, self.inverse, column) for column in self.steps.T], axis=1))


class Annealed(NamedTuple):
    """The log weights of a run (chains, n), the path with its step sizes, and the log likelihoods' sds on the path."""

    log_weights: np.ndarray
    path: Path
    spreads: np.ndarray


class State(NamedTuple):
    """Chains at z (chains, n, latent), the log likelihoods there (chains, n), and their slopes in z."""

    z: np.ndarray
    value: np.ndarray
    slope: np.ndarray


def anneal(
    decoder: SmoothLikelihood, images: np.ndarray, rng: np.random.Generator, chains: int, path: Path, adapt: bool
) -> Annealed:
    """Run chains along the path; where ``adapt``, with step sizes that follow the rate of acceptance."""
    z = rng.standard_normal((chains, len(images), decoder.latent))
    state = State(z, *decoder.at(images, z))
    log_weights = np.zeros((chains, len(images)))
    steps, spreads = path.steps.copy(), np.zeros(len(path.inverse))
    spreads[0] = spread(state.value)
    for place in range(1, len(path.inverse)):
        inverse = path.inverse[place]
        log_weights += (inverse - path.inverse[place - 1]) * state.value
        state, rate = transition(decoder, images, rng, state, inverse, steps[place])
        spreads[place] = spread(state.value)
        if adapt and place + 1 < len(steps):
            steps[place + 1] = np.clip(steps[place] * np.exp(0.3 * (rate.mean(axis=0) - ACCEPTED)), 1e-6, 1.0)
    return Annealed(log_weights, Path(path.inverse, steps), spreads)


def transition(
    decoder: SmoothLikelihood,
    images: np.ndarray,
    rng: np.random.Generator,
    state: State,
    inverse: float,
    steps: np.ndarray,
) -> tuple[State, np.ndarray]:
    """A Hamiltonian step that leaves p(z) p(image | z)^inverse unchanged, and its rates of acceptance (chains, n)."""
    # A different length for every chain: no step size resonates with the posterior in all of them.
    length = (steps * rng.uniform(0.7, 1.3, (len(state.z), 1)))[:, :, None]
    momentum = rng.standard_normal(state.z.shape)
    proposal, energy = state.z, -momentum_energy(momentum) + normal(state.z) + inverse * state.value
    value, slope = state.value, state.slope
    for _ in range(LEAPFROG):
        momentum = momentum + 0.5 * length * (inverse * slope - proposal)
        proposal = proposal + length * momentum
        value, slope = decoder.at(images, proposal)
        momentum = momentum + 0.5 * length * (inverse * slope - proposal)
    change = -momentum_energy(momentum) + normal(proposal) + inverse * value - energy
    rate = np.exp(np.minimum(np.nan_to_num(change, nan=-np.inf), 0.0))
    taken = rng.random(rate.shape) < rate
    moved = taken[:, :, None]
    state = State(
        np.where(moved, proposal, state.z), np.where(taken, value, state.value), np.where(moved, slope, state.slope)
    )
    return state, rate


def momentum_energy(momentum: np.ndarray) -> np.ndarray:
    return 0.5 * np.sum(momentum**2, axis=-1)


def spread(values: np.ndarray) -> float:
    """The root mean square over images of the sds over chains, of values (chains, n)."""
    return math.sqrt(float(values.var(axis=0, ddof=1).mean()))
