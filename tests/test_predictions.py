"""Scores on held-out data: against closed forms, and their errors against repetition."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from compare.predictions import score
from models.contract import Predictions


def gaussian(draws: np.ndarray, observed: np.ndarray, noise: float = 0.5) -> Predictions:
    """Predictions N(draw, noise) of every observation; draws have shape (count, points)."""
    return Predictions(
        observed, stats.norm.logpdf(observed, draws, noise), draws, stats.norm.cdf(observed, draws, noise)
    )


def test_scores_are_those_of_the_predictive_distribution():
    """z ~ N(m, 0.3^2) and y ~ N(z, 0.5^2) predict y ~ N(m, 0.34): all scores in closed form, within 4 errors."""
    rng = np.random.default_rng(0)
    centre = rng.normal(size=300)
    observed = centre + rng.normal(scale=0.8, size=300)  # wider than predicted
    found = score(gaussian(centre + 0.3 * rng.standard_normal((4096, 300)), observed))
    spread = np.sqrt(0.34)
    truth = {
        "log_density": stats.norm.logpdf(observed, centre, spread).mean(),
        "rmse": np.sqrt(np.mean((observed - centre) ** 2)),
    }
    for name, value in truth.items():
        assert 0 < found[name]["mcse"] < 0.01
        assert abs(found[name]["value"] - value) < 4 * found[name]["mcse"]
    for mass in (50, 95):
        half = stats.norm.ppf(0.5 + mass / 200) * spread
        exact = np.mean(np.abs(observed - centre) <= half)
        edge = np.mean(np.abs(np.abs(observed - centre) - half) < 0.02)  # rows that the draws may put on either side
        assert abs(found[f"coverage_{mass}"]["value"] - exact) <= edge


def test_the_jackknife_sees_correlated_draws():
    """An autoregressive chain's error is that of its repetitions, not of as many independent draws."""
    rng = np.random.default_rng(1)
    observed, repetitions = np.zeros(1), 200
    values, errors = [], []
    for _ in range(repetitions):
        z = np.zeros(2048)
        steps = rng.standard_normal(2048)
        for t in range(1, 2048):
            z[t] = 0.9 * z[t - 1] + np.sqrt(1 - 0.81) * steps[t]
        one = score(gaussian(z[:, None], observed))["log_density"]
        values.append(one["value"])
        errors.append(one["mcse"])
    actual = np.std(values, ddof=1)
    # Four standard errors of an sd from so many repetitions; and blocks of 128 draws that are correlated over 19 miss
    # some 4% of the error (1 - 2 * 0.9 / (0.19 * 128) of the variance is within them).
    assert np.mean(errors) == pytest.approx(actual, rel=4 / np.sqrt(2 * repetitions) + 0.04)


def test_classes_are_scored_by_accuracy_and_calibration():
    """By hand: four rows predicted 0.9, 0.9, 0.2, 0.2, of which 1, 0, 0, 0 are ones."""
    probability = np.array([[0.9, 0.9, 0.2, 0.2]])
    observed = np.array([1.0, 0.0, 0.0, 0.0])
    density = np.log(np.where(observed == 1, probability, 1 - probability))
    found = score(Predictions(observed, density, probability))
    assert found["accuracy"]["value"] == 0.75
    assert found["accuracy"]["mcse"] == 0.0
    assert found["calibration_error"]["value"] == pytest.approx((2 * 0.4 + 2 * 0.2) / 4)
    assert found["calibration_error"]["sampling"] is None
    assert found["log_density"]["value"] == pytest.approx((np.log(0.9) + np.log(0.1) + 2 * np.log(0.8)) / 4)
    assert "rmse" not in found


def test_the_log_density_averages_densities_not_their_logarithms():
    """Two draws, one of which rules the observation out: log(1/2) of the other's, not minus infinity."""
    found = score(Predictions(np.array([1.0]), np.array([[0.0], [-np.inf]]), np.array([[1.0], [0.0]])))
    assert found["log_density"]["value"] == pytest.approx(np.log(0.5))
