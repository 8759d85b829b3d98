"""Importance and bridge sampling on exact targets: their errors are honest, and what is unsound is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from compare.fit.reference.bridge import estimate_mode_masses, sample_bridge
from compare.fit.reference.importance import contradiction, sample_by_importance
from compare.fit.reference.modes import find_modes
from compare.fit.reference.proposals import around_modes, fit_mixture
from tests.test_ladder_quadrature import funnel, mixture, target

MEANS, SDS, WEIGHTS = np.array([[-3.0, 0, 0, 0], [3.0, 1, 0, 0]]), np.array([0.5, 1.0]), np.array([0.2, 0.8])
SD = np.sqrt(WEIGHTS @ SDS**2 + 36 * 0.2 * 0.8)


def assert_honest(scores: np.ndarray) -> None:
    """Scores (estimate - truth) / error of independent replications have mean 0 and sd 1, to four standard errors."""
    n = len(scores)
    assert abs(scores.mean()) < 4 * max(scores.std(), 1) / np.sqrt(n)
    assert abs(scores.std() - 1) < 4 / np.sqrt(2 * n)


def autoregression(rng: np.random.Generator, shape: tuple[int, int, int], memory: float) -> np.ndarray:
    """Chains of standard normals with autocorrelation ``memory``, shape (chains, draws, d)."""
    draws = rng.standard_normal(shape)
    for i in range(1, shape[1]):
        draws[:, i] = memory * draws[:, i - 1] + np.sqrt(1 - memory**2) * draws[:, i]
    return draws


@pytest.fixture(scope="module")
def bimodal_4():
    return target(4, mixture(MEANS, SDS, WEIGHTS), scale=3.0)


def test_errors_of_importance_sampling_are_honest(bimodal_4):
    search = find_modes(bimodal_4, np.random.default_rng(0), n_starts=64)
    scores, n_accepted = [], 0
    for seed in range(100):
        result = sample_by_importance(bimodal_4, search, np.random.default_rng(seed))
        n_accepted += result.is_accepted
        first = (result.mean[0] - WEIGHTS @ MEANS[:, 0]) / result.mean_error[0]
        scores.append([result.log_evidence / result.error, first, (result.sd[0] - SD) / result.sd_error[0]])
    assert n_accepted >= 95
    for column in np.array(scores).T:
        assert_honest(column)


def test_the_prior_takes_its_share_of_the_draws():
    """With the prior's density known, its draws join the mixture; the evidence stays unbiased."""
    prior = stats.norm(0, 3)
    posterior = target(4, mixture(MEANS, SDS, WEIGHTS), scale=3.0, prior_log_density=lambda z: prior.logpdf(z).sum(1))
    result = sample_by_importance(posterior, find_modes(posterior, np.random.default_rng(0)), np.random.default_rng(1))
    assert result.is_accepted
    assert abs(result.log_evidence) < 4 * result.error
    assert np.abs(result.points).max() > 10  # a t around the modes alone reaches this too, rarely
    assert result.draw(1000, np.random.default_rng(2)).shape == (1000, 4)


def test_resampled_draws_have_the_posteriors_modes(bimodal_4):
    search = find_modes(bimodal_4, np.random.default_rng(0), n_starts=64)
    draws = sample_by_importance(bimodal_4, search, np.random.default_rng(1)).draw(4000, np.random.default_rng(2))
    assert np.mean(draws[:, 0] < 0) == pytest.approx(0.2, abs=4 * np.sqrt(0.16 / 4000))


def test_a_funnel_in_six_dimensions_is_refused():
    def log_joint(points: np.ndarray) -> np.ndarray:
        v = points[:, :1]
        return stats.norm.logpdf(v[:, 0], 0, 3) + stats.norm.logpdf(points[:, 1:], 0, np.exp(v / 2)).sum(1)

    posterior = target(6, log_joint)
    search = find_modes(posterior, np.random.default_rng(0), n_starts=16, n_probes=256)
    result = sample_by_importance(posterior, search, np.random.default_rng(0), max_evaluations=100_000)
    assert not result.is_accepted
    assert "k-hat" in result.reason or "effective" in result.reason


def test_a_curved_valley_whose_ends_are_missed_is_refused():
    """Both proposals agree on 99% of the mass; the sd that they agree on is 15% too small."""

    def log_joint(points: np.ndarray) -> np.ndarray:
        valley = stats.norm.logpdf(points[:, 1], 1.5 * points[:, 0] ** 2, 0.1)
        return stats.norm.logpdf(points[:, [0, 2, 3, 4, 5]]).sum(1) + valley

    posterior = target(6, log_joint, scale=3.0)
    search = find_modes(posterior, np.random.default_rng(0), n_starts=16, n_probes=256)
    result = sample_by_importance(posterior, search, np.random.default_rng(0), max_evaluations=300_000)
    sd = np.sqrt(2 * 1.5**2 + 0.01)
    assert not result.is_accepted or abs(result.sd[1] / sd - 1) < 5 * result.sd_error[1] / sd


def test_draws_that_show_more_evidence_contradict():
    """A reference that has one of two equal modes; draws from a guide that covers both."""
    both = target(2, mixture([[-4, 0], [4, 0]], [1, 1], [0.5, 0.5]))
    rng = np.random.default_rng(0)
    draws = rng.standard_normal((4000, 2)) * 1.2 + rng.choice([-4, 4], (4000, 1)) * [1, 0]
    log_q = mixture([[-4, 0], [4, 0]], [1.2, 1.2], [0.5, 0.5])(draws)
    assert "0.69 nats higher" in contradiction(both, np.log(0.5), 0.001, (draws, log_q))
    assert contradiction(both, 0.0, 0.001, (draws, log_q)) == ""


def test_proposals_integrate_to_one_and_are_drawn_from():
    rng = np.random.default_rng(0)
    fitted = fit_mixture(np.concatenate([rng.normal(-2, 0.5, (500, 1)), rng.normal(2, 1, (500, 1))]), 2, 4.0, rng)
    grid = np.linspace(-400, 400, 400_001)[:, None]
    density = np.exp(fitted.log_density(grid))
    assert np.trapezoid(density, grid[:, 0]) == pytest.approx(1, abs=1e-6)
    draws = fitted.draw(rng.random((4000, 3)))
    distribution = np.cumsum(density) * 0.002
    assert stats.kstest(draws[:, 0], lambda x: np.interp(x, grid[:, 0], distribution)).pvalue > 1e-4


def test_mixture_around_modes_follows_their_masses(bimodal_4):
    search = find_modes(bimodal_4, np.random.default_rng(0), n_starts=64)
    proposal = around_modes(search.modes, df=4.0)
    assert len(proposal.weights) == 2
    assert proposal.weights[0] > 0.6
    np.testing.assert_allclose(proposal.locations[0], MEANS[1], atol=1e-3)


@pytest.mark.parametrize("memory", [0.0, 0.7])
def test_errors_of_bridge_sampling_are_honest(memory):
    """Chains of a Gaussian in three dimensions, independent and autocorrelated."""
    posterior = target(3, lambda z: stats.norm.logpdf(z).sum(1))
    scores = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        result = sample_bridge(posterior, autoregression(rng, (4, 250, 3), memory), rng)
        scores.append(result.log_evidence / result.error)
    assert_honest(np.array(scores))


def test_bridge_sampling_with_a_given_proposal(bimodal_4):
    rng = np.random.default_rng(1)
    component = rng.choice(2, size=(4, 500), p=WEIGHTS)
    draws = rng.standard_normal((4, 500, 4)) * SDS[component][..., None] + MEANS[component]
    search = find_modes(bimodal_4, np.random.default_rng(0), n_starts=64)
    given = sample_bridge(bimodal_4, draws, rng, proposal=around_modes(search.modes, 4.0))
    fitted = sample_bridge(bimodal_4, draws, rng, n_components=2)
    for result in (given, fitted):
        assert result.error < 0.05
        assert abs(result.log_evidence) < 4 * result.error


def test_bridge_sampling_refuses_chains_that_sit_apart():
    """Draws of one mode first, of the other then: the halves contradict each other, or do not overlap."""
    posterior = target(2, mixture([[-8, 0], [8, 0]], [1, 1], [0.5, 0.5]))
    draws = np.random.default_rng(0).standard_normal((2, 400, 2))
    draws[:, :200, 0] -= 8
    draws[:, 200:, 0] += 8
    result = sample_bridge(posterior, draws, np.random.default_rng(1))
    assert result.error == np.inf
    assert result.reason


def test_masses_of_modes_are_honest():
    posterior = target(2, mixture([[-3, 0], [3, 1]], [0.5, 1], [0.2, 0.8]))
    weight, evidence = [], []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        left = 0.5 * autoregression(rng, (2, 300, 2), 0.6) + [-3, 0]
        right = autoregression(rng, (2, 300, 2), 0.6) + np.array([3, 1])
        masses = estimate_mode_masses(posterior, [left, right], rng)
        assert masses.is_accepted
        weight.append((masses.weights[0] - 0.2) / masses.weight_errors[0])
        evidence.append(masses.log_evidence / masses.error)
    assert_honest(np.array(weight))
    assert_honest(np.array(evidence))


def test_masses_of_modes_that_are_not_apart_are_refused():
    posterior = target(2, lambda z: stats.norm.logpdf(z).sum(1))
    rng = np.random.default_rng(0)
    masses = estimate_mode_masses(posterior, [rng.standard_normal((2, 300, 2)) for _ in range(2)], rng)
    assert not masses.is_accepted
    assert "not apart" in masses.reason


def test_importance_sampling_agrees_with_quadrature_on_the_narrow_funnel():
    """The 2-d funnel has moments that importance sampling either gets right or refuses."""
    posterior = target(2, funnel)
    result = sample_by_importance(posterior, find_modes(posterior, np.random.default_rng(0)), np.random.default_rng(0))
    assert not result.is_accepted or abs(result.log_evidence) < 4 * result.error
