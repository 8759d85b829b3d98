"""What exchanging topics leaves alone: which words share a topic, and what the next word of a document will be."""

from __future__ import annotations

import numpy as np

from models.contract import Element, Latents
from models.lda.data import Corpus

MOST_SHARES = 5


def first_words(data: Corpus) -> np.ndarray:
    """The first word of the vocabulary that each of the first documents has; at most `MOST_SHARES` beside the first."""
    return (data.counts[: MOST_SHARES + 1] > 0).argmax(axis=1)


def shown(data: Corpus) -> tuple[int, int]:
    """How many documents, and words of the vocabulary, predictions are shown for."""
    return min(3, data.counts.shape[0]), min(5, data.counts.shape[1])


def responsibilities(latents: Latents, document: np.ndarray, word: np.ndarray) -> np.ndarray:
    """P(topic | latents) of words in documents, both of shape (n,): shape (n_draws, n, topics)."""
    joint = latents["theta"][:, document] * np.moveaxis(latents["topics"], 1, 2)[:, word]
    return joint / np.maximum(joint.sum(-1, keepdims=True), np.finfo(float).tiny)


def derive(data: Corpus, latents: Latents) -> dict[str, np.ndarray]:
    """Probabilities by name, each of shape (n_draws, *shape).

    ``share[d]``: that the first words of the first document and of document d + 1 are from one topic, given the
    latents. ``predictive[d, v]``: that the next word of document d is v, (theta_d topics)_v.
    """
    documents, words = shown(data)
    quantities = {"predictive": latents["theta"][:, :documents] @ latents["topics"][:, :, :words]}
    firsts = first_words(data)
    if data.topics == 1 or len(firsts) == 1:
        return quantities
    topic = responsibilities(latents, np.arange(len(firsts)), firsts)
    return {"share": (topic[:, :1] * topic[:, 1:]).sum(-1), **quantities}


def report(data: Corpus) -> list[Element]:
    """All of them."""
    zeros = {
        "topics": np.zeros((1, data.topics, data.counts.shape[1])),
        "theta": np.zeros((1, len(data.counts), data.topics)),
    }
    return [(site, index) for site, value in derive(data, zeros).items() for index in np.ndindex(value.shape[1:])]
