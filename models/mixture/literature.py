"""What others published of mixtures: the factorial that a bound misses, a point estimate, and an evidence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import optimize, special, stats

from models.contract import Published
from models.literature import by_formula, printed
from models.mixture.best import best_member
from models.mixture.data import MixtureData
from models.mixture.exact import EnumeratedMixture

NEAL = "Neal 1999, Erroneous results in 'Marginal likelihood from the Gibbs output'"
TUTORIAL = "Pyro 1.9.1 (2024), Gaussian Mixture Model, cell 32"


def published(data: MixtureData, summary: Mapping[str, Any]) -> list[Published]:
    """Two claims about the tutorial's data, the same for all data; of Chib's model its evidence."""
    return [factorial(), point_estimate(), *([corrected(summary)] if is_chibs(data) else [])]


def is_chibs(data: MixtureData) -> bool:
    """Whether these are the data and the prior of Chib (1995), three components with unequal variances."""
    priors = (data.concentration, data.location_mean, data.location_sd, data.variance_shape, data.variance_rate)
    same = data.has_own_scales and data.components == 3 and priors == (1.0, 20.0, 10.0, 3.0, 20.0)
    return same and np.array_equal(data.values, MixtureData("galaxies-corrected").values)


def corrected(summary: Mapping[str, Any]) -> Published:
    """The evidence that Neal estimated by other means, against ours with its error."""
    claim = "the log evidence of Chib's (1995) three components, whose Gibbs sampler stays in one of 3! equal modes"
    known = summary.get("log_evidence") or {"value": None}
    if known["value"] is None:
        return Published(claim, NEAL, "-226.791", "the log evidence is not known here", None)
    value, error = known["value"], known["mcse"]
    ours = f"{value:.3f} ± {error:.1g} nats; of one mode alone {value - math.log(6):.3f}"
    return Published(claim, NEAL, "-226.791", ours, abs(value + 226.791) <= 3 * error + 5e-4)


def factorial() -> Published:
    """The best factorised Gaussian in one of the two modes of well separated clusters."""
    data = MixtureData(scale=0.5)
    best = best_member(data, "mean_field")
    assert best is not None
    gap = EnumeratedMixture(data).log_evidence - best.elbo
    note = f" nats below the evidence (tutorial, scale 0.5): {gap - math.log(2):.4f} of them the Gaussian shape's"
    claim = "a variational bound in one of K! equal modes is short of ln K!, to be added where models are compared"
    return by_formula(claim, "Bishop 2006, section 10.2.4", "ln 2!", math.log(2), gap, 0.01, note)


def point_estimate() -> Published:
    """The tutorial's estimate, where Adam stopped after 200 steps: a stationary point, but no maximum."""
    data = MixtureData()
    weights, locations, scale = stationary(data)
    ours = printed(
        "the posterior density is stationary at these weights, locations and scale, which are called a MAP estimate",
        TUTORIAL,
        "0.375, 0.625; 0.4990, 10.9845; 0.6514",
        *weights,
        *locations,
        scale,
        slack=(1e-4,) * 5,
    )
    near = log_density(data, np.array([1e-9, 1 - 1e-9]), locations, 6.0) - log_density(
        data, np.array([1e-3, 1 - 1e-3]), locations, 6.0
    )
    note = f"{ours.ours}; but no maximum: {near:.2f} nats more at a weight of 1e-9 than at 1e-3, and so on without end"
    return Published(ours.claim, ours.source, ours.published, note, ours.agrees)


def log_density(data: MixtureData, weights: np.ndarray, locations: np.ndarray, scale: float) -> float:
    """log p(values, weights, locations, scale) in nats, but for constants."""
    each = np.log(weights) + stats.norm.logpdf(data.values[:, None], locations, scale)
    prior = (data.concentration - 1) * np.log(weights).sum() - 0.5 * (locations**2).sum() / data.location_sd**2
    return float(special.logsumexp(each, axis=1).sum() + prior + stats.lognorm.logpdf(scale, data.scale_sd))


def stationary(data: MixtureData) -> tuple[np.ndarray, np.ndarray, float]:
    """Where expectation and maximisation (Bishop 2006, section 9.2.2) end from the two clusters: weights, locations,
    scale."""
    x, n = data.values, len(data.values)
    weights, locations, scale = np.array([0.4, 0.6]), np.array([0.5, 11.0]), 1.0
    for _ in range(200):
        share = special.softmax(np.log(weights) + stats.norm.logpdf(x[:, None], locations, scale), axis=1)
        counts = share.sum(axis=0)
        weights = (counts + data.concentration - 1) / (n + 2 * (data.concentration - 1))
        locations = (share * x[:, None]).sum(axis=0) / (counts + scale**2 / data.location_sd**2)
        squares = float((share * (x[:, None] - locations) ** 2).sum())
        scale = float(optimize.brentq(slope, 1e-3, 1e3, args=(squares, data)))
    return weights, locations, scale


def slope(scale: float, squares: float, data: MixtureData) -> float:
    """The slope of the log density in the log of the scale, whose prior density has a factor 1 / scale."""
    return squares / scale**2 - len(data.values) - 1 - math.log(scale) / data.scale_sd**2
