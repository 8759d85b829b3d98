"""The truths of the posteriors that deceive, each by a second method."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest
from conftest import LIBRARIES
from scipy import special

from compare.user_model.process import undisturbed
from tests.hard_parts import Curve, Hard, Ring
from tests.hard_posteriors import KINDS, hard_posterior

ERRORS = 5
"""Standard errors within which moments of draws must lie: a chance of about 2e-4 over all that are looked at."""

POSTERIORS = [hard_posterior(index) for index in range(3 * len(KINDS))]
IDS = [f"{hard.kind}-{len(hard.names)}" for hard in POSTERIORS]


def log_joints(hard: Hard, library: str, points: np.ndarray) -> np.ndarray:
    """The model's own log joint at points (n, d), by the library, one by one."""
    evaluate = import_module(f"tests.user_models.hard_{library}").log_joint
    values = []
    for point in points:
        sites: dict[str, list] = {}
        for (site, index), value in zip(hard.names, point, strict=True):
            sites.setdefault(site, []).append((index, value))
        latents = {}
        for site, entries in sites.items():
            ordered = [value for _, value in sorted(entries)]
            latents[site] = np.array(ordered[0] if entries[0][0] == () else ordered)
        with undisturbed(library):  # in float64
            values.append(evaluate(hard.kind, hard.data, latents))
    return np.array(values)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("hard", POSTERIORS[: len(KINDS)], ids=IDS[: len(KINDS)])
def test_the_models_have_the_evidence_and_the_density(hard: Hard, library: str):
    """For any z, log p(x, z) - log p(z | x) = log p(x)."""
    points = hard.draw(2, np.random.default_rng(0))
    gaps = log_joints(hard, library, points) - hard.log_density(points)
    rounding = 1e-4 if hard.kind == "ends" else 1e-9  # the libraries' logs of Bessel functions have seven digits
    assert gaps == pytest.approx(hard.log_evidence, abs=rounding)


@pytest.mark.parametrize("hard", POSTERIORS, ids=IDS)
def test_evidence_and_moments_by_gauss_legendre(hard: Hard):
    """The integrals, which are trapezoidal sums, by eight nodes in each of many panels."""
    for part in hard.parts:
        curve = part.radial if isinstance(part, Ring) else part
        if not isinstance(curve, Curve):
            continue
        edges, (nodes, weights) = curve.grid[::50], np.polynomial.legendre.leggauss(8)
        u = (edges[:-1, None] + (nodes + 1) / 2 * np.diff(edges)[:, None]).ravel()
        mass = np.exp(curve.log_marginal(u) - curve.log_evidence) * (weights / 2 * np.diff(edges)[:, None]).ravel()
        assert mass.sum() == pytest.approx(1, abs=1e-7)
        if curve is part:
            means, sds = part.given(u)
            firsts, squares = np.column_stack([u, means]), np.column_stack([u**2, means**2 + sds**2])
            assert part.mean == pytest.approx(mass @ firsts, abs=1e-6 * part.sd.min())
            assert part.sd == pytest.approx(np.sqrt(mass @ squares - (mass @ firsts) ** 2), rel=1e-6)


@pytest.mark.parametrize("hard", POSTERIORS, ids=IDS)
def test_moments_by_independent_draws(hard: Hard):
    points = hard.draw(50_000, np.random.default_rng(1))
    gaps = (points - hard.mean) / hard.sd
    assert np.all(np.abs(gaps.mean(0)) < ERRORS / np.sqrt(len(gaps)))
    squares = gaps**2
    errors = squares.std(0) / np.sqrt(len(gaps))
    if hard.kind != "horseshoe":  # whose scales have no fourth moment
        assert np.all(np.abs(squares.mean(0) - 1) < ERRORS * errors)


def test_what_is_asked_for_is_there():
    """All kinds, one to ten dimensions, and the same again."""
    assert {hard.kind for hard in POSTERIORS} == {kind.__name__ for kind in KINDS}
    assert {1, 2, 3, 10} <= {len(hard.names) for hard in POSTERIORS}
    again = hard_posterior(3)
    np.testing.assert_array_equal(again.mean, POSTERIORS[3].mean)


def test_a_lost_mode_is_mass_that_is_missed():
    hard = next(hard for hard in POSTERIORS if hard.kind == "mixture" and len(hard.names) > 1)
    (part,) = hard.parts
    points = hard.draw(50_000, np.random.default_rng(2))
    assert hard.missed(points) < 0.02
    lost = int(part.weights.argmin())
    remaining = points[part.cells(points) != lost]
    assert hard.missed(remaining) == pytest.approx(part.weights[lost], abs=0.02)


def test_a_mixture_is_the_product_of_prior_and_likelihood():
    """On a line, by the midpoint rule over the parts that the model multiplies."""
    hard = next(hard for hard in map(hard_posterior, range(0, 400, 8)) if len(hard.names) == 1)
    z, step = np.linspace(-8, 8, 400_001, retstep=True)
    data = hard.data
    seen = -((z[:, None] - data["centers"][:, 0]) ** 2) / (2 * data["widths"] ** 2) - np.log(data["widths"])
    joint = special.logsumexp(data["log_weights"] + seen, axis=1) - z**2 / 2 - np.log(2 * np.pi)
    density = np.exp(joint - hard.log_evidence) * step
    assert density.sum() == pytest.approx(1, abs=1e-8)
    assert density @ z == pytest.approx(hard.mean[0], abs=1e-8)
    assert np.sqrt(density @ z**2 - (density @ z) ** 2) == pytest.approx(hard.sd[0], abs=1e-8)
