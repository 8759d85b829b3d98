"""The elements that are judged but not printed: their distances from the truth, and whose chains to look at."""

from __future__ import annotations

import numpy as np

from compare.comparison import Element, Fit, Job, Truth
from compare.fit.density import layout_of
from compare.measure.many import blocks, columns, moments, r_hats, standard_errors, true_columns
from compare.measure.moments import NO_DISTANCE, Moments, distance, summarise
from compare.summary import VariableSummary

MOST_SUSPECT = 10
"""Elements with the largest R-hat, and with the largest errors, whose chains ArviZ's diagnostics look at."""

FIXED = 1e-12
"""An element whose sd is that small beside its mean and the other sds does not vary but for rounding."""


def unprinted(job: Job) -> list[Element]:
    """The judged elements that are not reported."""
    layout = layout_of(job)
    return list(layout.judged[len(layout.reported_elements) :])


def unreported(fit: Fit, truth: Truth | None) -> dict[str, VariableSummary]:
    """The elements that are judged and not reported, by name, without quantiles; none of an exact posterior.

    Those that do not vary, such as the zeros of a Cholesky factor, are left out.
    """
    layout, summaries = layout_of(fit.job), dict[str, VariableSummary]()
    for site, indices in blocks(unprinted(fit.job) if fit.job.method != "exact" else ()):
        own = moments(columns(fit.tree, site, indices), not fit.job.is_mcmc)
        true = true_columns(truth, site, indices) if truth is not None else own
        own = true if fit.job.is_truth else own  # the truth's numbers are its own
        for place in np.flatnonzero(varies(true)).tolist():
            ours, theirs = (Moments(*(float(part[place]) for part in side)) for side in (own, true))
            apart = None if truth is None else distance(ours, theirs)
            if fit.job.is_truth or fit.job.method == "reference":  # against itself it has no error
                apart = NO_DISTANCE
            summaries[layout.label(site, indices[place])] = summarise(ours, (None, None, None), apart)
    return summaries


def varies(true: Moments[np.ndarray]) -> np.ndarray:
    """Which elements vary, shape (k,)."""
    return ~(true.sd <= FIXED * (np.abs(true.mean) + np.nanmax(true.sd, initial=0.0)))


def suspects(fit: Fit) -> list[Element]:
    """The unreported elements whose chains differ most, and those whose means are known worst."""
    names, differ, vague = list[Element](), list[np.ndarray](), list[np.ndarray]()
    for site, indices in blocks(unprinted(fit.job)):
        draws = columns(fit.tree, site, indices)
        varying = np.flatnonzero(np.ptp(draws, axis=(0, 1)) != 0).tolist()
        draws = draws[..., varying]
        names += [(site, indices[place]) for place in varying]
        differ.append(r_hats(draws))
        vague.append(standard_errors(draws) / draws.std(axis=(0, 1)))
    ranked = [np.argsort(-np.concatenate(scores))[:MOST_SUSPECT] for scores in (differ, vague) if scores]
    return [names[place] for place in sorted({int(place) for places in ranked for place in places})]
