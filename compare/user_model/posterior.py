"""The posterior of a user's model by quadrature or importance sampling: arrays, to be sent, cached and hashed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np

from compare.comparison import Element
from models.contract import Exact, Latents

SMOOTH = 4096
"""Quantiles that a density is drawn through."""


@dataclass(frozen=True, eq=False)
class Tabulated:
    """A posterior, and weighted points that stand for it.

    Attributes:
        method: How it is known.
        is_exact: Whether errors are bounds, as quadrature's are, instead of standard errors.
        log_evidence: log p(x) in nats.
        error: How far that may be off, in nats.
        elements: The elements whose moments are given, k of them: by quadrature the reported ones, else all judged.
        mean, sd: Theirs, shape (k,).
        mean_error, sd_error: How far these may be off, shape (k,).
        values: Theirs at each point, shape (n, k).
        latents: The latents at each point, shapes (n, *site).
        weights: The probability of each point, shape (n,).
        modes: Where the modes are and how much of the mass each has, in words; empty where there is one.
    """

    method: str
    is_exact: bool
    log_evidence: float
    error: float
    elements: tuple[Element, ...]
    mean: np.ndarray = field(repr=False)
    sd: np.ndarray = field(repr=False)
    mean_error: np.ndarray = field(repr=False)
    sd_error: np.ndarray = field(repr=False)
    values: np.ndarray = field(repr=False)
    latents: dict[str, np.ndarray] = field(repr=False)
    weights: np.ndarray = field(repr=False)
    modes: str = ""


@dataclass(frozen=True)
class Weighted:
    """The distribution of one element, with the methods of SciPy's frozen distributions that `Marginal` names."""

    average: float
    spread: float
    values: np.ndarray
    below: np.ndarray

    def mean(self) -> float:
        return self.average

    def std(self) -> float:
        return self.spread

    def ppf(self, q: Any) -> Any:
        return np.interp(q, self.below, self.values)

    def pdf(self, x: np.ndarray) -> np.ndarray:
        from arviz_stats.base import array_stats  # slow to import, and only plots ask

        even = self.ppf((np.arange(SMOOTH) + 0.5) / SMOOTH)
        points, density, _ = array_stats.kde(even)
        return np.interp(x, points, density, left=0.0, right=0.0)


class TabulatedExact(Exact):
    """A tabulated posterior as an exact one. Elements that are not reported have no numbers, but for the latents.

    Args:
        table: The posterior.
        shapes: The shapes of all sites, deterministic ones included.
        model: The model's name.
        library: The library whose twin gives densities.
        values: The model's arguments.
    """

    def __init__(
        self,
        table: Tabulated,
        shapes: Mapping[str, tuple[int, ...]],
        model: str,
        library: str,
        values: Mapping[str, Any],
    ) -> None:
        self.table, self.shapes, self.model, self.library, self.arguments = table, shapes, model, library, values
        self.method, self.log_evidence = table.method, table.log_evidence
        self.tolerance = table.error if table.is_exact else 0.0
        self.marginals: dict[Element, Weighted] = {}

    def draw(self, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        rows = rng.choice(len(self.table.weights), count, p=self.table.weights)
        return {site: value[rows] for site, value in self.table.latents.items()}

    def log_posterior(self, latents: Latents) -> np.ndarray:
        side = import_module(f"compare.user_model.density_{self.library}")
        data, static = side.split_arguments(self.arguments)
        prior, likelihood = side.density(self.model, static)({site: latents[site] for site in self.table.latents}, data)
        return prior + likelihood - self.log_evidence

    def marginal(self, site: str, index: tuple[int, ...] = ()) -> Weighted:
        if (site, index) not in self.marginals:
            self.marginals[site, index] = self._marginal(site, index)
        return self.marginals[site, index]

    def _marginal(self, site: str, index: tuple[int, ...]) -> Weighted:
        table, weights = self.table, self.table.weights
        if (site, index) in table.elements:
            column = table.elements.index((site, index))
            values, mean, sd = table.values[:, column], table.mean[column], table.sd[column]
        elif site in table.latents:  # such as the zeros of a Cholesky factor
            place: Any = (slice(None), *index)
            values = table.latents[site][place]
            mean = weights @ values
            sd = np.sqrt(weights @ (values - mean) ** 2)
        else:
            return Weighted(np.nan, np.nan, np.array([np.nan]), np.array([0.5]))
        order = np.argsort(values, kind="stable")
        return Weighted(float(mean), float(sd), values[order], np.cumsum(weights[order]) - weights[order] / 2)

    @property
    def _shapes(self) -> dict[str, tuple[int, ...]]:  # type: ignore[override]
        sites = {*self.table.latents, *(site for site, _ in self.table.elements)}
        return {site: shape for site, shape in self.shapes.items() if site in sites}

    def extra_summary(self) -> dict[str, Any]:
        return {"modes": self.table.modes} if self.table.modes else {}


class Estimated(TabulatedExact):
    """A posterior that is known within standard errors, and not exactly."""

    def errors(self, site: str, index: tuple[int, ...]) -> tuple[float, float]:
        """The standard errors of an element's mean and sd; NaN where they are not known."""
        if (site, index) not in self.table.elements:
            return np.nan, np.nan
        column = self.table.elements.index((site, index))
        return float(self.table.mean_error[column]), float(self.table.sd_error[column])
