"""Annealed importance sampling run both ways, which brackets the log evidence of simulated images.

Bidirectional Monte Carlo (Grosse, Ghahramani & Adams 2015, Sandwiching the marginal likelihood using bidirectional
Monte Carlo): the latents of simulated images are draws from the posterior, from which the chains can run backwards.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from models.sampling import Path, SmoothLikelihood, State, anneal, averaged, scouted, transition


class Bracket(NamedTuple):
    """What annealing says of the log evidences of simulated images, in nats, each (n,).

    In expectation ``lower`` is at most the log evidence and ``upper`` at least; both reach it as chains and
    temperatures grow. ``mcse`` is the standard error of ``lower``.
    """

    lower: np.ndarray
    mcse: np.ndarray
    upper: np.ndarray


def bidirectional(
    decoder: SmoothLikelihood,
    images: np.ndarray,
    z: np.ndarray,
    rng: np.random.Generator,
    chains: int = 16,
    temperatures: int = 500,
) -> Bracket:
    """Anneal from the prior to the posterior, and back from the z, shape (n, latent), that the images were drawn at.

    Such a z is a draw from its image's posterior, so that the mean weight of the way back is 1 / p(image). All chains
    of an image begin there; its upper end therefore has an error that no spread over chains shows. The mean over
    images has one: images are independent.
    """
    path = scouted(decoder, images, rng, chains, temperatures)
    lower = averaged(anneal(decoder, images, rng, chains, path, adapt=False).log_weights.T)
    start = np.broadcast_to(z, (chains, *z.shape))
    upper = averaged(reverse_anneal(decoder, images, rng, start, path).T)
    return Bracket(lower.log_evidences, lower.mcse, -upper.log_evidences)


def reverse_anneal(
    decoder: SmoothLikelihood, images: np.ndarray, rng: np.random.Generator, z: np.ndarray, path: Path
) -> np.ndarray:
    """The log weights (chains, n) of chains that run from posterior draws z, shape (chains, n, latent), to the prior.

    The transitions are reversible, so that those of `anneal` in the opposite order are its reverse.
    """
    state = State(z, *decoder.at(images, z))
    log_weights = np.zeros(z.shape[:2])
    for place in range(len(path.inverse) - 1, 0, -1):
        state, _ = transition(decoder, images, rng, state, path.inverse[place], path.steps[place])
        log_weights -= (path.inverse[place] - path.inverse[place - 1]) * state.value
    return log_weights
