"""Which words share a topic, by each fit, and where coordinate ascent ends."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from models.contract import Latents, Picture
from models.lda.coordinate_ascent import optima
from models.lda.data import Corpus
from models.lda.exact import CountTables, truth
from models.lda.quantities import responsibilities
from models.plotting import EXACT, FAMILY_COLORS, GREY, Fits, flat_draws, new_figure, one_per_family, save

MOST_DRAWS, MOST_WORDS, MOST_FITS = 4000, 60, 4


def by_token(exact: CountTables, pairs: np.ndarray) -> np.ndarray:
    """A matrix over pairs of document and word as one over the words in their order, shape (words, words); its diagonal
    is 1."""
    repeated = np.repeat(np.repeat(pairs, exact.n, axis=0), exact.n, axis=1)
    np.fill_diagonal(repeated, 1.0)
    return repeated


def shared(exact: CountTables, latents: Latents) -> np.ndarray:
    """P(two words share a topic), by pairs of document and word, as draws of the latents have it: (pairs, pairs)."""
    topic = responsibilities(latents, exact.document, exact.word)
    return np.einsum("dpk,dqk->pq", topic, topic) / len(topic)


def cooccurrence(fits: Fits, data: Corpus, exact: CountTables, path: Path) -> None:
    """Draw the matrices of the exact posterior and up to four fits, and the bound of each restart."""
    shown = one_per_family(fits)[:MOST_FITS]
    matrices = {"exact": exact.together}
    matrices |= {fit.label: shared(exact, flat_draws(fit.tree, MOST_DRAWS)) for fit in shown}
    figure = new_figure(11.0, 7.0)
    axes = figure.subplots(2, 3).ravel()
    ends = np.cumsum(data.counts.sum(1))
    for panel, (name, matrix) in zip(axes, matrices.items(), strict=False):
        image = panel.imshow(by_token(exact, matrix), vmin=0, vmax=1, cmap="viridis")
        for end in ends[:-1] - 0.5:
            panel.axhline(end, color="white", lw=1.2)
            panel.axvline(end, color="white", lw=1.2)
        panel.set_title(name)
        panel.grid(False)
        panel.set(xticks=[], yticks=[], xlabel="words, by document")
    for panel in axes[len(matrices) : -1]:
        panel.set_axis_off()
    figure.colorbar(image, ax=list(axes), label="probability that two words share a topic", shrink=0.6)
    draw_restarts(axes[-1], data, exact)
    save(figure, path)


def draw_restarts(panel: Any, data: Corpus, exact: CountTables) -> None:
    """Draw which share of the starts ends at which bound, below the log evidence and what a single mode can reach."""
    for bound, starts in optima(data).items():
        panel.bar(float(bound), starts, width=0.12, color=FAMILY_COLORS["coordinate_ascent"])
        panel.annotate(f"{float(bound):.2f}", (float(bound), starts), ha="center", va="bottom", fontsize=8)
    panel.axvline(exact.log_evidence, color=EXACT, lw=1.8, label="log evidence")
    within = exact.log_evidence - math.lgamma(data.topics + 1)
    panel.axvline(within, color=GREY, lw=1.4, ls="--", label=f"less log {data.topics}!: a single mode's most")
    panel.set(xlabel="bound in nats", ylabel="share of the starts", ylim=(0, 1.25), yticks=np.linspace(0, 1, 6))
    panel.margins(x=0.1)
    panel.set_title("where coordinate ascent ends")
    panel.legend(loc="upper left", fontsize=8)


def is_small(data: Corpus) -> bool:
    """Whether the evidence is known, there are topics to share, and few enough words to draw."""
    return data.topics > 1 and int(data.counts.sum()) <= MOST_WORDS and isinstance(truth(data), CountTables)


PICTURES = (
    Picture(
        "cooccurrence",
        "The probability that two words are from one topic, exact and by each fit: mean field and coordinate ascent "
        "are too sure. Last, the bounds that coordinate ascent ends at, below the log evidence.",
        cooccurrence,
        is_small,
    ),
)
