"""Three components of a known scale: the evidence by quadrature, by a sum over assignments and by importance sampling.

Given the three locations the likelihood is a polynomial in the weights, of as many degrees as there are values: Gauss's
rule for the Dirichlet prior integrates it exactly. The locations are left, over which the trapezoid rule is taken.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import special, stats

from models.mixture import MixtureData
from models.mixture.exact import EnumeratedMixture

DROP = 25.0
"""Nats below the highest at which points are left out."""

REACH = 5.0
"""How far the first lattice goes, in the prior's sds."""

CHUNK = 400


def simplex_rule(concentration: float, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes (m, 3) and weights (m,) that integrate polynomials of this degree exactly under Dirichlet(a, a, a)."""
    count, a = degree // 2 + 1, concentration
    (x, of_first), (y, of_second) = (special.roots_jacobi(count, b - 1, a - 1) for b in (2 * a, a))
    first, share = ((1 + nodes) / 2 for nodes in (x, y))
    left = (1 - first)[:, None]
    nodes = np.stack(np.broadcast_arrays(first[:, None], left * share, left * (1 - share)), axis=-1)
    return nodes.reshape(-1, 3), np.outer(of_first / of_first.sum(), of_second / of_second.sum()).ravel()


def log_joint(data: MixtureData, z: np.ndarray) -> np.ndarray:
    """log p(values, z) at normal scores of the locations, (n, 3); the weights are integrated out."""
    nodes, masses = simplex_rule(data.concentration, len(data.values))
    logs = []
    for piece in np.array_split(z, len(z) // CHUNK + 1):
        located = data.location_mean + data.location_sd * piece
        each = stats.norm.logpdf(data.values, located[..., None], data.known_scale)
        highest = each.max(axis=1)
        density = np.exp(each - highest[:, None])
        products = np.ones((len(piece), len(nodes)))
        for place in range(density.shape[-1]):
            products *= density[..., place] @ nodes.T
        with np.errstate(divide="ignore"):
            logs.append(np.log(products @ masses) + highest.sum(axis=1) + stats.norm.logpdf(piece).sum(axis=1))
    return np.concatenate(logs)


def ordered(indices: np.ndarray) -> np.ndarray:
    return np.unique(np.sort(indices, axis=1), axis=0)


def integrate(data: MixtureData, halvings: int, step: float = 0.2) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """Points whose locations ascend, the masses that they stand for, and the log evidence by each lattice's step.

    Every halving keeps what is around points with mass; between them a density may be higher than at them.
    """
    finest, evidences = step / 2**halvings, list[float]()
    line = np.arange(-round(REACH / step), round(REACH / step) + 1)
    indices = ordered(np.array(list(itertools.combinations_with_replacement(line, 3))))
    offsets = np.array(list(itertools.product((-1, 0, 1), repeat=3)))
    while True:
        values = log_joint(data, step * indices)
        equal = (np.diff(indices, axis=1) == 0).sum(axis=1)
        logs = values + np.log(np.array([6, 3, 1]))[equal]
        evidences.append(special.logsumexp(logs) + 3 * math.log(step))
        if len(evidences) > halvings:
            return step * indices, special.softmax(logs), evidences
        rise = DROP if step > 2 * finest else 0.0  # on a coarse lattice
        alive = indices[values > values.max() - DROP - rise]
        step, indices = step / 2, ordered((2 * alive[:, None] + offsets).reshape(-1, 3))


def by_importance(data: MixtureData, points: np.ndarray, masses: np.ndarray, count: int) -> tuple[float, float]:
    """The log evidence from draws near the posterior, and its error: locations from a Student t, in ascending order,
    and weights from a Dirichlet that is wider than theirs. Whatever these are, the estimate is right."""
    rng = np.random.default_rng(4)
    mean, cov = masses @ points, np.cov(points.T, aweights=masses)
    proposal = stats.multivariate_t(mean, 1.2 * cov, df=5, seed=rng)
    z = proposal.rvs(count)
    located = data.location_mean + data.location_sd * z
    middle = data.location_mean + data.location_sd * mean
    nearest = np.abs(data.values[:, None] - middle).argmin(axis=1)
    alpha = data.concentration + 0.7 * np.bincount(nearest, minlength=3)
    weights = rng.dirichlet(alpha, count)
    logs = np.zeros(count)
    for value in data.values:
        logs += special.logsumexp(np.log(weights) + stats.norm.logpdf(value, located, data.known_scale), axis=1)
    logs += stats.norm.logpdf(z).sum(axis=1) - proposal.logpdf(z)
    logs += ((data.concentration - alpha) * np.log(weights)).sum(axis=1)
    logs += special.gammaln(3 * data.concentration) - 3 * special.gammaln(data.concentration)
    logs -= special.gammaln(alpha.sum()) - special.gammaln(alpha).sum()
    logs[(np.diff(z, axis=1) < 0).any(axis=1)] = -np.inf
    ratios = np.exp(logs - logs.max())
    error = ratios.std() / ratios.mean() / math.sqrt(count)
    return float(logs.max() + math.log(ratios.mean()) + math.log(6)), float(error)


@pytest.mark.parametrize("concentration", [1.0, 0.5])
def test_six_galaxies_by_quadrature_and_by_all_assignments(concentration):
    data = MixtureData("galaxies", components=3, scale=4.0, concentration=concentration)
    data = data.with_derived(values=data.values[::14])
    assert len(data.values) == 6
    *_, before, last = integrate(data, 1)[2]
    assert last == pytest.approx(before, abs=1e-6)
    assert last == pytest.approx(EnumeratedMixture(data).log_evidence, abs=1e-6)


def test_a_third_of_the_galaxies_by_quadrature_and_by_importance_sampling():
    """Within 4 errors; of 28 values half the step changes the evidence by 2e-6."""
    data = MixtureData("galaxies", components=3, scale=2.0)
    data = data.with_derived(values=data.values[::3])
    points, masses, (*_, last) = integrate(data, 2)
    value, error = by_importance(data, points, masses, 40_000)
    assert error < 0.01 and value == pytest.approx(last, abs=4 * error)


@pytest.mark.slow
def test_all_galaxies_by_two_lattices_and_by_importance_sampling():
    """To 1e-6 by lattices of which neither holds the other's points; within 4 errors by draws."""
    data = MixtureData("galaxies", components=3, scale=2.0)
    points, masses, (*_, last) = integrate(data, 3)
    assert last == pytest.approx(integrate(data, 3, 0.15)[2][-1], abs=1e-6)
    assert last == pytest.approx(-225.166484, abs=1e-6)
    value, error = by_importance(data, points, masses, 400_000)
    assert error < 2e-3 and value == pytest.approx(last, abs=4 * error)
