"""What the fits are measured against: the posterior where it is exact or estimated, else the reference's draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from arviz_stats.base import array_stats

from compare import standard_errors
from compare.comparison import Fit, Truth
from compare.summary import Evidence
from compare.user_model import Estimated
from models.contract import Model, Reference


class Sampled:
    """A posterior known by the draws of a long run.

    Attributes:
        method: How the draws were made.
        log_evidence: In nats, by bridge sampling from the draws; None where that is not known.
        evidence_error: Its standard error in nats.
        evidence_method: How it is known, or why it is not; empty where it was not tried.
        posterior: The draws by site, each of shape (chain, draw, *site).
        labels: Which elements these are, by site, where the fit has kept only some.
    """

    tolerance = 0.0

    def __init__(self, fit: Fit, method: str) -> None:
        self.method, known = method, fit.tree.attrs
        self.log_evidence: float | None = known.get("log_evidence")
        self.evidence_error: float = known.get("log_evidence_mcse", 0.0)
        self.evidence_method: str = known.get("log_evidence_method") or known.get("no_log_evidence", "")
        arrays = fit.tree["posterior"].data_vars
        self.posterior: dict[str, Any] = {str(name): array.values for name, array in arrays.items()}
        labels = {str(name): array[array.dims[-1]].values for name, array in arrays.items() if array.ndim == 3}
        self.labels = {site: places for site, places in labels.items() if places[-1] >= len(places)}

    def flat(self, site: str) -> np.ndarray:
        """All draws of a site, shape (count, *site)."""
        values = self.posterior[site]
        return values.reshape(-1, *values.shape[2:])

    def draws(self, site: str, index: tuple[int, ...]) -> np.ndarray:
        """The draws of one element, shape (chain, draw)."""
        if site in self.labels:
            index = (int(np.searchsorted(self.labels[site], index[0])),)
        return self.posterior[site][(slice(None), slice(None), *index)]

    def placed(self, site: str, values: np.ndarray) -> np.ndarray:
        """A value an element at its place in the site; NaN where the element was not kept."""
        if site not in self.labels:
            return values
        full = np.full(self.labels[site][-1] + 1, np.nan)
        full[self.labels[site]] = values
        return full

    def mean(self) -> dict[str, np.ndarray]:
        return {site: self.placed(site, self.flat(site).mean(axis=0)) for site in self.posterior}

    def sd(self) -> dict[str, np.ndarray]:
        return {site: self.placed(site, self.flat(site).std(axis=0, ddof=1)) for site in self.posterior}

    def quantile(self, probability: float) -> dict[str, np.ndarray]:
        return {site: self.placed(site, between(draws, probability)) for site, draws in self.ordered.items()}

    @cached_property
    def ordered(self) -> dict[str, np.ndarray]:
        """The draws of each element in ascending order, shape (count, *site): sorted once, for many quantiles."""
        return {site: np.sort(self.flat(site), axis=0) for site in self.posterior}

    def density(self, site: str, index: tuple[int, ...], grid: np.ndarray) -> np.ndarray:
        """The marginal density of one element on a grid: ArviZ's kernel density estimate of the draws."""
        points, density, _ = array_stats.kde(self.draws(site, index).ravel())
        return np.interp(grid, points, density, left=0.0, right=0.0)

    def correlations(self) -> dict[str, float]:
        return {}

    def extra_summary(self) -> dict[str, Any]:
        return {}

    def errors(self, site: str, index: tuple[int, ...]) -> tuple[float, float]:
        """The Monte Carlo standard errors of an element's mean and sd."""
        draws = self.draws(site, index)
        return standard_errors.of_mean(draws), standard_errors.of_sd(draws)


def between(ordered: np.ndarray, probability: float) -> np.ndarray:
    """The quantile of draws in ascending order, shape (count, ...), between the two next to it."""
    place, part = divmod(probability * (len(ordered) - 1), 1)
    low, high = ordered[int(place)], ordered[min(int(place) + 1, len(ordered) - 1)]
    return low + part * (high - low)


def errors(truth: Truth, site: str, index: tuple[int, ...]) -> tuple[float, float]:
    """The standard errors of the truth's mean and sd of an element: none if it is exact."""
    return truth.errors(site, index) if isinstance(truth, Sampled | Estimated) else (0.0, 0.0)


def evidence_error(truth: Truth | None) -> float:
    """The standard error of the truth's log evidence in nats: none if it is exact."""
    if isinstance(truth, Sampled):
        return truth.evidence_error
    return truth.table.error if isinstance(truth, Estimated) else 0.0


def find_truth(model: Model, data: Any, fits: Mapping[str, Fit]) -> Truth | None:
    """The exact posterior, or the reference among the fits; None where that was not made."""
    known = model.truth(data)
    if not isinstance(known, Reference):
        return known
    fit = fits.get("reference")
    return Sampled(fit, known.method) if fit is not None and fit.tree is not None else None


def evidence(truth: Truth | None, improper: Sequence[str] = ()) -> Evidence:
    """log p(x), and how it is known; not defined where the priors of some sites are improper."""
    if improper:
        return Evidence(None, None, f"not defined: improper prior on {', '.join(improper)}")
    if truth is None:
        return Evidence(None, None, "not known, and the reference was not made")
    how = truth.evidence_method if isinstance(truth, Sampled) else truth.method
    if truth.log_evidence is None:
        why = f" (bridge sampling: {how})" if how else ""
        return Evidence(None, None, f"not known{why}; the posterior is, by a reference: {truth.method}")
    is_exact = not isinstance(truth, Sampled | Estimated)
    return Evidence(truth.log_evidence, evidence_error(truth), how, truth.tolerance, is_exact)
