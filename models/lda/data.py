"""The corpus, as counts of words by document, and the priors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from models.options import Data, derived, option, parse_int, parse_number, parse_or
from models.tables import no_such_data, read_bytes, read_cells, refuse
from models.tables import parse_number as parse_cell

SMALLEST, LARGEST = 0.05, 1e3  # concentrations; of smaller ones float64 holds draws at the corners only
MOST_TOPICS = 200

SENTENCES = ([0, 0, 0, 1, 0], [1, 1, 2, 1, 1], [0, 2, 2, 2, 0])
SIDE, IMAGES, PIXELS = 5, 100, 100


def tiny() -> np.ndarray:
    """Three documents of five words."""
    return np.array([np.bincount(words, minlength=3) for words in SENTENCES])


def bars() -> np.ndarray:
    """Images of 100 spots on a square of 25 cells; each topic is a row or a column (Griffiths & Steyvers 2004, fig. 1).

    Theirs has 1,000 images; ours, drawn by a fixed seed, 100. theta ~ Dirichlet(1, ..., 1).
    """
    rng, square = np.random.default_rng(0), np.arange(SIDE**2).reshape(SIDE, SIDE)
    topics = np.zeros((2 * SIDE, SIDE**2))
    for topic, cells in enumerate([*square, *square.T]):
        topics[topic, cells] = 1 / SIDE
    theta = rng.dirichlet(np.ones(2 * SIDE), IMAGES)
    return rng.multinomial(PIXELS, theta @ topics)


def from_csv(path: str) -> np.ndarray:
    """A CSV file: its header the words, each row a document's counts."""
    try:
        cells = read_cells(read_bytes(path), path)
    except FileNotFoundError:
        raise no_such_data(path, DATASETS) from None
    counts = cells.map(parse_cell).astype(float)
    refuse(cells, ~np.isfinite(counts), path)
    wrong = np.argwhere(((counts < 0) | (counts % 1 != 0) | (counts > 1e9)).to_numpy())
    if len(wrong):
        row, column = wrong[0]
        cell, place = str(cells.iat[row, column]), f"line {cells.index[row]}, column {cells.columns[column]} of {path}"
        raise ValueError(f"{place} is {cell}, not a count; give whole numbers from 0 to 1e9")
    empty = np.flatnonzero(~counts.to_numpy().any(axis=1))
    if len(empty):
        raise ValueError(f"line {cells.index[empty[0]]} of {path} is a document without words; leave it out")
    if cells.empty or len(cells.columns) < 2:
        raise ValueError(f"{path} has {len(cells)} documents and {len(cells.columns)} words; give at least 1 and 2")
    return counts.to_numpy().astype(int)


DATASETS = {"tiny": tiny, "bars": bars}


@dataclass(frozen=True)
class Corpus(Data):
    """The corpus and the priors. ``topics`` becomes what auto means.

    Attributes:
        counts: How often each document has each word, shape (documents, words).

    Raises:
        ValueError: no such data, a file that is no table of counts, an empty document, or numbers out of their range.
    """

    data: str = option("tiny", "tiny, bars, or a CSV file: a header of words, a row of counts for each document", str)
    topics: Any = option("auto", "how many topics; auto: 10 for bars, else 2", parse_or("auto", parse_int))
    alpha: float = option(0.5, "concentration of the prior of a document's topics", parse_number)
    beta: float = option(0.5, "concentration of the prior of a topic's words", parse_number)
    counts: np.ndarray = derived()

    def __post_init__(self) -> None:
        if self.topics == "auto":
            self._set(topics=2 * SIDE if self.data == "bars" else 2)
        if not isinstance(self.topics, int) or isinstance(self.topics, bool) or not 1 <= self.topics <= MOST_TOPICS:
            raise ValueError(f"topics is {self.topics}: give a whole number from 1 to {MOST_TOPICS}")
        for name in ("alpha", "beta"):
            value = getattr(self, name)
            if isinstance(value, bool) or not SMALLEST <= value <= LARGEST:
                raise ValueError(f"{name} is {value}: give a number from {SMALLEST:g} to {LARGEST:g}")
        self._set(counts=DATASETS[self.data]() if self.data in DATASETS else from_csv(self.data))

    def arguments(self) -> dict[str, Any]:
        n_words = self.counts.shape[1]
        priors = {"alpha": np.full(self.topics, float(self.alpha)), "beta": np.full(n_words, float(self.beta))}
        return {"counts": self.counts.astype(np.float64), **priors}

    def describe(self) -> dict[str, Any]:
        documents, words = self.counts.shape
        priors = {"topics": self.topics, "alpha": float(self.alpha), "beta": float(self.beta)}
        sizes = {"documents": documents, "vocabulary": words, "words": int(self.counts.sum())}
        return {"data": self.data, **priors, **sizes}
