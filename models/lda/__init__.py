r"""Latent Dirichlet allocation: equal modes, topics found in noise, and an objective that is no bound.

    topics_k ~ Dirichlet(beta, ..., beta),  theta_d ~ Dirichlet(alpha, ..., alpha),
    each word of document d ~ Categorical(sum_k theta_dk topics_k)

The topic of each word is summed out; documents are sequences of words, so that no multinomial coefficient counts their
orders. Topics have no names: the posterior has K! equal modes, and verdicts judge what exchanging topics leaves
unchanged.
"""

from __future__ import annotations

import math

import numpy as np

from models.contract import Latents, Literature, Model, Quantities, Simulated, Symmetry
from models.lda.coordinate_ascent import best_member, coordinate_ascent
from models.lda.data import Corpus
from models.lda.exact import truth
from models.lda.literature import published
from models.lda.pictures import PICTURES
from models.lda.quantities import derive, report

__all__ = ["MODEL", "Corpus"]


def simulate(data: Corpus, rng: np.random.Generator, count: int) -> Simulated:
    """Topics and documents' shares of them from the prior, and documents of the same lengths."""
    priors = data.arguments()
    topics = rng.dirichlet(priors["beta"], (count, data.topics))
    theta = rng.dirichlet(priors["alpha"], (count, len(data.counts)))
    words = theta @ topics
    counts = rng.multinomial(data.counts.sum(1), words / words.sum(-1, keepdims=True))
    return Simulated({"topics": topics, "theta": theta}, tuple(data.with_derived(counts=each) for each in counts))


def copies(data: Corpus) -> int:
    """The number of ways to name the topics."""
    return math.factorial(data.topics)


def region(data: Corpus, latents: Latents) -> np.ndarray:
    """The order of the topics along the direction in which documents differ most (their first principal component)."""
    shares = data.counts / data.counts.sum(1, keepdims=True)
    direction = np.linalg.svd(shares - shares.mean(0), full_matrices=False)[2][0]
    return np.argsort(latents["topics"] @ direction, axis=1)


def canonical(data: Corpus, latents: Latents) -> dict[str, np.ndarray]:
    """The topics of each draw renamed in that order, in the documents' shares too."""
    order = region(data, latents)
    topics, theta = (np.asarray(latents[site]) for site in ("topics", "theta"))
    return {
        "topics": np.take_along_axis(topics, order[:, :, None], axis=1),
        "theta": np.take_along_axis(theta, order[:, None, :], axis=2),
    }


MODEL = Model(
    name="lda",
    title="latent Dirichlet allocation: the topics of a few documents",
    data=Corpus,
    guides=("mean_field", "full_rank"),
    truth=truth,
    test_cases=(Corpus(topics=1), Corpus(topics=3, beta=1.0)),
    simulate=simulate,
    best_member=best_member,
    coordinate_ascent=coordinate_ascent,
    quantities=Quantities(derive, report),
    symmetry=Symmetry(copies, region, canonical),
    literature=Literature(published=published),
    pictures=PICTURES,
    defaults={"sweeps": 1000, "budget": 90.0},  # chains cross between the modes slowly
)
