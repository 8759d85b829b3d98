"""The ladder: which rung a posterior gets, refusals with their reasons, contradictions between fits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from compare.fit.reference import FitEvidence, Reference, Refusal, climb, find_contradictions
from tests.test_ladder_quadrature import beta, bimodal, ends, mixture, target


@pytest.mark.parametrize("seed", range(5))
def test_the_square_of_a_parameter_has_two_modes_on_every_seed(seed):
    reference = climb(target(1, bimodal), np.random.default_rng(seed))
    assert reference.is_exact
    assert reference.mean[0] == pytest.approx(0.281, abs=5e-4)
    assert reference.sd[0] == pytest.approx(1.349, abs=5e-4)
    assert len(reference.search.modes) == 2
    assert np.mean(reference.draws > 0) == pytest.approx(0.601, abs=0.035)  # 4 standard errors of 4000 draws


def test_a_direction_with_mass_at_both_ends():
    """In five dimensions: the mode at each end is found, and its mass is right."""

    def log_joint(points: np.ndarray) -> np.ndarray:
        return ends(points[:, :1]) + stats.norm.logpdf(points[:, 1:]).sum(1)

    reference = climb(target(5, log_joint), np.random.default_rng(0), near=np.full((1, 5), 3.0))
    assert isinstance(reference, Reference)
    assert reference.method == "importance"
    assert abs(reference.mean[0]) < 4 * reference.mean_error[0]
    assert abs(reference.log_evidence) < 4 * reference.log_evidence_error
    assert reference.mean_error[0] < 0.02 * reference.sd[0]


def test_quantities_of_an_interval():
    """Quantities in (0, 1), whose modes lie at the ends; the unconstrained coordinate has two."""
    reference = climb(target(1, ends, quantities=special.expit), np.random.default_rng(0))
    assert reference.mean[0] == pytest.approx(0.5, abs=1e-8)
    assert reference.sd[0] == pytest.approx(np.sqrt(0.25 - 0.05 + 2 * 0.05**2), abs=1e-6)


def test_a_refusal_names_every_rung():
    flat = climb(target(1, lambda z: np.zeros(len(z))), np.random.default_rng(0))
    assert isinstance(flat, Refusal)
    assert "quadrature:" in flat.reason and "importance:" in flat.reason
    nowhere = climb(target(2, lambda z: np.full(len(z), -np.inf)), np.random.default_rng(0))
    assert "finite at none" in nowhere.reason
    unbounded = climb(
        target(1, lambda z: np.where(np.abs(z[:, 0]) < 0.01, np.inf, -np.abs(z[:, 0]))), np.random.default_rng(0)
    )
    assert isinstance(unbounded, Refusal) and "unbounded" in unbounded.reason


def test_further_rungs_are_climbed_in_their_order():
    improper = target(1, lambda z: np.zeros(len(z)))
    nan = np.full(1, np.nan)
    last = Reference("smc", False, "tempered SMC", 0.0, 0.1, nan, nan, nan, nan, np.zeros((10, 1)))
    rungs = [("nuts", lambda *_: "the chains contradict each other"), ("smc", lambda *_: last)]
    reference = climb(improper, np.random.default_rng(0), rungs=rungs)
    assert reference.method == "smc"
    assert [attempt.rung for attempt in reference.attempts] == ["quadrature", "importance", "nuts", "smc"]
    assert [attempt.is_accepted for attempt in reference.attempts] == [False, False, False, True]


def test_a_mode_that_only_a_guide_knows_makes_the_reference_refuse():
    """No start is near the second mode, but the guide's draws show its evidence."""
    posterior = target(4, mixture([[0] * 4, [300] * 4], [1, 0.02], [0.5, 0.5]))
    assert climb(posterior, np.random.default_rng(0)).log_evidence == pytest.approx(np.log(0.5), abs=0.02)
    draws = np.random.default_rng(1).standard_normal((2000, 4)) * np.repeat([[1.1], [0.022]], 1000, axis=0)
    draws += np.repeat([[0], [300]], 1000, axis=0)
    log_q = mixture([[0] * 4, [300] * 4], [1.1, 0.022], [0.5, 0.5])(draws)
    refusal = climb(posterior, np.random.default_rng(0), extra=(draws, log_q))
    assert isinstance(refusal, Refusal)
    assert "nats higher" in refusal.reason
    near = climb(posterior, np.random.default_rng(0), near=draws[[0, -1]], extra=(draws, log_q))
    assert near.log_evidence == pytest.approx(0, abs=0.02)


def test_the_same_seed_gives_the_same_reference():
    one, two = (climb(target(1, beta(8, 4)), np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(one.draws, two.draws)
    assert one.log_evidence == two.log_evidence


def fit(name: str, mean: float, **parts) -> FitEvidence:
    return FitEvidence(name, np.array([mean]), np.array([0.1]), np.array([0.002]), **parts)


def test_guides_in_two_modes_contradict_each_other():
    left, right = fit("mean_field", -1.4, elbo=-16.1), fit("full_rank", 1.4, elbo=-15.8)
    (sentence,) = find_contradictions([left, right])
    assert "different modes" in sentence and "0.30 nats apart" in sentence
    assert find_contradictions([left, fit("full_rank", 1.4, elbo=-30.0)]) == []
    assert find_contradictions([left, fit("full_rank", -1.39, elbo=-15.8)]) == []


def test_evidence_above_the_references_is_evidence_against_it():
    reference = fit("reference", -1.4, log_evidence=-16.0, log_evidence_error=0.01, is_posterior=True)
    guide = fit("full_rank", -1.4, elbo=-15.5, elbo_error=0.01, log_evidence=-15.4, log_evidence_error=0.02)
    assert len(find_contradictions([guide], reference)) == 2
    assert find_contradictions([fit("full_rank", -1.4, elbo=-15.98, elbo_error=0.01)], reference) == []


def test_chains_with_other_means_contradict_the_reference():
    reference = fit("reference", -1.4, is_posterior=True)
    assert "different means" in find_contradictions([fit("nuts", 1.4, is_posterior=True)], reference)[0]
    assert find_contradictions([fit("nuts", -1.395, is_posterior=True)], reference) == []
