"""What others do with latent Dirichlet allocation: Blei, Ng and Jordan's bound, and an objective that is none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import special

from models.contract import Published
from models.dirichlet import log_density
from models.lda.coordinate_ascent import Updates, restarts
from models.lda.data import Corpus
from models.lda.exact import CountTables, truth

CORNERS = (1e-4, 1e-8, 1e-16)


def published(data: Corpus, summary: Mapping[str, Any]) -> list[Published]:
    """Where the evidence is known: the order of the bounds, and the objective of a point mass on theta."""
    exact = truth(data)
    if not isinstance(exact, CountTables):
        return []
    rows = [bounds(data, exact)]
    return rows if data.topics == 1 or data.alpha >= 1 else [*rows, corners(data, exact)]


def bounds(data: Corpus, exact: CountTables) -> Published:
    """The bound with a factor for every word's topic, the ELBO with these summed out, and the evidence."""
    updates, (ends, state) = Updates(data), restarts(data)
    values = float(ends.max()), updates.elbo(state), exact.log_evidence
    return Published(
        "coordinate ascent's bound is below the log evidence, and rises where the words' topics are summed out",
        "Blei, Ng & Jordan 2003, Latent Dirichlet allocation, sections 5.2 and 5.4",
        "bound <= ELBO with the words' topics summed out <= log evidence",
        " <= ".join(f"{value:.6f}" for value in values) + " nats",
        bool(values[0] <= values[1] + 1e-8 and values[1] <= values[2] + 1e-8),
    )


def corners(data: Corpus, exact: CountTables) -> Published:
    """Pyro's example of LDA has a point mass on theta, which has no entropy: its objective is no bound."""
    values = ", ".join(f"{point_mass(exact, corner):.1f}" for corner in CORNERS)
    at = ", ".join(f"{corner:g}" for corner in CORNERS)
    return Published(
        "the objective of a guide with a point mass on theta is an evidence lower bound",
        "Pyro 1.9.1 (2024), examples/lda.py (there a sigmoid before the softmax keeps theta from the corners)",
        "objective <= log evidence",
        f"{values} nats with theta within {at} of corners; log evidence {exact.log_evidence:.1f}",
        bool(point_mass(exact, CORNERS[-1]) <= exact.log_evidence),
    )


def point_mass(exact: CountTables, corner: float) -> float:
    """log p(words, theta) in nats within ``corner`` of a corner of theta: the objective of a point mass there, with the
    best q(topics). Each document has nearly all words from the topic that it has most of in the likeliest table."""
    n_topics = exact.data.topics
    main = exact.theta[exact.weights.argmax()].argmax(axis=1)
    theta = np.full((len(main), n_topics), corner / (n_topics - 1))
    theta[np.arange(len(main)), main] = 1 - corner
    words = exact.theta - exact.data.alpha
    log_words = special.logsumexp(exact.given_theta + (words * np.log(theta)).sum((1, 2)))
    return float(log_words + log_density(theta, np.full(n_topics, exact.data.alpha)).sum())
