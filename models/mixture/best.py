"""The best Gaussian guide of two components: its ELBO by Gauss-Hermite quadrature, maximised from many starts.

It lies on the unconstrained latents u = (logit of the first weight, both locations, and log scale where that is
unknown), as the libraries' guides do. The ELBO has several maxima, of which this is the highest; its mirror image is as
high.
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache

import numpy as np
from scipy import optimize, special

from models.contract import Best
from models.mixture.data import MixtureData

COARSE, MIDDLE, FINE = 6, 9, 16
"""Nodes a dimension: to climb from all starts, to climb from the best end, and for the ELBO that is reported."""

STARTS = 6


def log_joint(data: MixtureData, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """log p(values, u) in nats at points of shape (n, dimension), and its gradient."""
    a, x, known = data.concentration, data.values, data.known_scale
    first, located = special.expit(u[:, 0]), u[:, 1:3]
    log_scale = np.full(len(u), math.log(known)) if known else u[:, 3]
    eps = (x - located[:, :, None]) * np.exp(-log_scale)[:, None, None]
    each = special.log_expit(np.stack([u[:, 0], -u[:, 0]], axis=1))[:, :, None] - 0.5 * eps**2
    either = np.logaddexp(each[:, 0], each[:, 1])
    share = np.exp(each - either[:, None])
    scores = (located - data.location_mean) / data.location_sd
    n, logits = len(x), special.log_expit(u[:, 0]) + special.log_expit(-u[:, 0])
    value = either.sum(1) - n * (log_scale + 0.5 * math.log(2 * math.pi)) + a * logits - special.betaln(a, a)
    value -= 0.5 * (scores**2).sum(1) + math.log(2 * math.pi) + 2 * math.log(data.location_sd)
    slope = np.empty_like(u)
    slope[:, 0] = share[:, 0].sum(1) - n * first + a * (1 - 2 * first)
    slope[:, 1:3] = (share * eps).sum(2) * np.exp(-log_scale)[:, None] - scores / data.location_sd
    if not known:
        score = (log_scale - math.log(data.scale_median)) / data.scale_sd
        value -= 0.5 * score**2 + 0.5 * math.log(2 * math.pi) + math.log(data.scale_sd)
        slope[:, 3] = (share * eps**2).sum((1, 2)) - n - score / data.scale_sd
    return value, slope


@lru_cache(maxsize=8)
def rule(order: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes, shape (n, d), and weights, which sum to 1 but for what is left out, of expectations under N(0, I)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(order)
    eps = np.array(list(itertools.product(nodes, repeat=d)))
    weight = np.prod(list(itertools.product(weights / weights.sum(), repeat=d)), axis=1)
    return eps[weight > 1e-13], weight[weight > 1e-13]


def elbo(
    data: MixtureData, location: np.ndarray, factor: np.ndarray, order: int
) -> tuple[float, np.ndarray, np.ndarray]:
    """The ELBO of N(location, factor factor') in nats, and its gradients in both."""
    d = len(location)
    eps, weight = rule(order, d)
    value, slope = log_joint(data, location + eps @ factor.T)
    log_det = np.log(np.diag(factor)).sum()
    entropy = log_det + 0.5 * d * math.log(2 * math.pi * math.e)
    return (
        float(weight @ value + entropy),
        weight @ slope,
        (slope * weight[:, None]).T @ eps + np.diag(1 / np.diag(factor)),
    )


def climb(
    data: MixtureData, family: str, location: np.ndarray, factor: np.ndarray, order: int
) -> tuple[float, np.ndarray, np.ndarray]:
    """The maximum of the ELBO that L-BFGS reaches from a start."""
    d = len(location)
    cells = np.diag_indices(d) if family == "mean_field" else np.tril_indices(d)
    diagonal = cells[0] == cells[1]

    def unpack(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        lower = np.zeros((d, d))
        lower[cells] = values[d:]
        np.fill_diagonal(lower, np.exp(np.diag(lower)))
        return values[:d], lower

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        where, lower = unpack(values)
        value, slope, spread = elbo(data, where, lower, order)
        inner = spread[cells] * np.where(diagonal, lower[cells], 1.0)
        return -value, -np.concatenate([slope, inner])

    logs = factor.copy()
    np.fill_diagonal(logs, np.log(np.diag(factor)))
    start = np.concatenate([location, logs[cells]])
    end = optimize.minimize(
        loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500, "ftol": 1e-13, "gtol": 1e-7}
    )
    return -float(end.fun), *unpack(end.x)


def starts(data: MixtureData) -> list[tuple[np.ndarray, np.ndarray]]:
    """Locations and factors of guides from which to climb: the values, sorted, cut in two at a few places."""
    x = np.sort(data.values)
    guides = []
    for cut in sorted(set(np.linspace(1, len(x) - 1, STARTS).round().astype(int).tolist())):
        low, high = x[:cut], x[cut:]
        scale = data.known_scale or math.sqrt((low.var() * cut + high.var() * (len(x) - cut)) / len(x)) + 0.01 * x.std()
        where = [math.log(cut / (len(x) - cut)), low.mean(), high.mean(), math.log(scale)]
        widths = [math.sqrt(1 / cut + 1 / (len(x) - cut)), scale / math.sqrt(cut), scale / math.sqrt(len(x) - cut)]
        d = 3 if data.known_scale else 4
        guides.append((np.array(where[:d]), np.diag([*widths, (2 * len(x)) ** -0.5][:d])))
    return guides


def best_member(data: MixtureData, family: str) -> Best | None:
    """The best Gaussian of two components; None of other families, more components, and a scale for each."""
    if data.components != 2 or data.has_own_scales or family not in ("mean_field", "full_rank") or len(data.values) < 2:
        return None
    return highest(data, data.values.tobytes(), family)


@lru_cache(maxsize=8)
def highest(data: MixtureData, content: bytes, family: str) -> Best:
    """The highest maximum, computed once for each content of the data."""
    ends = [climb(data, family, *guide, COARSE) for guide in starts(data)]
    _, location, factor = max(ends, key=lambda end: end[0])
    rough, location, factor = climb(data, family, location, factor, MIDDLE)
    value = elbo(data, location, factor, FINE)[0]
    tolerance = abs(rough - value) + 1e-9
    spread = {"scale": np.diag(factor)} if family == "mean_field" else {"scale_tril": factor}
    method = f"quadrature (Gauss-Hermite, {FINE} nodes a dimension), the highest of several maxima"
    return Best(value, tolerance, method, {"location": location, **spread})
