"""Whether a user's draws begin with a warm-up: their beginning is compared with their second half."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import arviz_stats
import numpy as np
from scipy import special, stats

from compare.comparison import Fit
from compare.fit.density import layout_of
from compare.measure.many import blocks, columns
from compare.summary import Verdict
from compare.verdict.thresholds import ERRORS, widen

BEGINNING, END = 0.1, 0.5
"""The shares of a chain that are compared (Geweke 1992): its first tenth and its second half."""

DRIFT = 0.5
"""How far the beginning may be from the end, in normal scores of the ranks, whose sd is 1."""

FEWEST = 50
"""The effective sample size of the second halves from which their error is known well enough."""


@dataclass(frozen=True)
class Drift:
    """How far an element's beginning is from its end, in normal scores of the ranks of ``what``."""

    name: str
    distance: float
    what: str


def judge_drift(fit: Fit) -> Verdict | None:
    """The verdict on a user's draws whose beginning is not like their end; None on all other fits.

    R-hat compares halves: a short beginning raises it little where all chains come from the same side, and lowers the
    effective sample size so far that no fault can be shown.
    """
    if fit.job.method != "draws" or fit.tree is None:
        return None
    worst = max(drifts(fit), key=lambda drift: drift.distance, default=None)
    if worst is None:
        return None
    return Verdict(
        "unreliable",
        f"The first tenth of the chains is not like their second half ({worst.name} is {worst.distance:.1f} sd away, "
        f"by ranks of its {worst.what}): leave the warm-up out.",
    )


def drifts(fit: Fit) -> Iterator[Drift]:
    """The elements whose beginning is not like their end, by more than chance explains.

    Chains may begin elsewhere, or, if their starts are spread widely, further from the median.
    """
    layout = layout_of(fit.job)
    errors = widen(ERRORS, 2 * len(layout.judged))
    for site, indices in blocks(layout.judged):
        draws = columns(fit.tree, site, indices)
        spread = np.abs(draws - np.median(draws, axis=(0, 1)))
        for what, values in (("draws", draws), ("distances from the median", spread)):
            for place, distance in apart(normal_scores(values), errors):
                yield Drift(layout.label(site, indices[place]), distance, what)


def apart(scores: np.ndarray, errors: float) -> Iterator[tuple[int, float]]:
    """The elements of scores (chain, draw, k) whose beginning has another mean than their end, and how far it is."""
    n_draws = scores.shape[1]
    begin, end = scores[:, : max(int(BEGINNING * n_draws), 1)], scores[:, n_draws - int(END * n_draws) :]
    distances = np.abs(begin.mean((0, 1)) - end.mean((0, 1)))
    for place in np.flatnonzero(distances > DRIFT).tolist():
        size = float(arviz_stats.ess(end[..., place], method="mean"))
        sd = np.sqrt(end[..., place].var() * (1 + END / BEGINNING) / size)
        if size >= FEWEST and distances[place] > errors * sd:
            yield place, float(distances[place])


def normal_scores(draws: np.ndarray) -> np.ndarray:
    """The normal scores of the ranks of each element among all its draws, shape (chain, draw, k) as the draws have
    (Vehtari et al. 2021)."""
    flat = draws.reshape(-1, draws.shape[-1])
    ranks = stats.rankdata(flat, axis=0)
    scores: np.ndarray = special.ndtri((ranks - 0.375) / (len(flat) + 0.25)).reshape(draws.shape)
    return scores
