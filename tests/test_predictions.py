"""Scores on held-out data: against closed forms, and their errors against repetition."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from compare.comparison import Fit, Job
from compare.measure import predictive
from compare.summary import to_json
from models.contract import Prediction, Predictions


def score(predictions: Any) -> dict[str, Any]:
    """The scores, as in ``summary.json``."""
    return to_json(predictive.score(predictions))


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
    scores = score(gaussian(centre + 0.3 * rng.standard_normal((4096, 300)), observed))
    sd = np.sqrt(0.34)
    truth = {
        "log_density": stats.norm.logpdf(observed, centre, sd).mean(),
        "rmse": np.sqrt(np.mean((observed - centre) ** 2)),
    }
    for name, value in truth.items():
        assert 0 < scores[name]["mcse"] < 0.01
        assert abs(scores[name]["value"] - value) < 4 * scores[name]["mcse"]
    for mass in (50, 95):
        half = stats.norm.ppf(0.5 + mass / 200) * sd
        exact = np.mean(np.abs(observed - centre) <= half)
        edge = np.mean(np.abs(np.abs(observed - centre) - half) < 0.02)  # rows that the draws may put on either side
        assert abs(scores[f"coverage_{mass}"]["value"] - exact) <= edge


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
        density = score(gaussian(z[:, None], observed))["log_density"]
        values.append(density["value"])
        errors.append(density["mcse"])
    actual = np.std(values, ddof=1)
    # Four standard errors of an sd from these repetitions; and blocks of 128 draws that are correlated over 19 miss
    # some 4% of the error (1 - 2 * 0.9 / (0.19 * 128) of the variance is within them).
    assert np.mean(errors) == pytest.approx(actual, rel=4 / np.sqrt(2 * repetitions) + 0.04)


def test_the_error_of_a_log_density_knows_its_bias():
    """With z ~ N(0, 1) and y ~ N(z, s^2) the log of an average over n draws is too low by V / 2n, where V is the
    squared coefficient of variation of p(y | z): E p^2 = N(y; 0, 1 + s^2 / 2) / (2 s sqrt(pi)). Over many points, each
    with draws of its own, the bias is what remains."""
    rng, count, s, repetitions = np.random.default_rng(3), 320, 0.3, 40
    observed = rng.uniform(-1.5, 1.5, 1000)
    density = stats.norm.pdf(observed, 0, np.sqrt(1 + s**2))
    square = stats.norm.pdf(observed, 0, np.sqrt(1 + s**2 / 2)) / (2 * s * np.sqrt(np.pi))
    scores = []
    for _ in range(repetitions):
        draws = rng.standard_normal((count, len(observed)))
        log_density = -0.5 * ((observed - draws) / s) ** 2 - np.log(s * np.sqrt(2 * np.pi))
        scores.append(score(Predictions(observed, log_density, draws[:16]))["log_density"])
    values, errors = (np.array([entry[name] for entry in scores]) for name in ("value", "mcse"))
    away = values - np.log(density).mean()
    assert abs(away.mean() + np.mean(square / density**2 - 1) / (2 * count)) < 4 * values.std() / np.sqrt(repetitions)
    squares = away**2
    distance, standard_error = np.sqrt(squares.mean()), squares.std() / np.sqrt(repetitions)
    assert abs(errors.mean() - distance) < 4 * standard_error / (2 * distance)
    assert errors.mean() > 1.2 * values.std()  # what is no bias is less


def test_the_error_from_the_number_of_points_is_what_other_points_would_change():
    """Of every score: its sd over 200 held-out sets of 200 points, of numbers and of classes, within 4 errors of it."""
    rng, repetitions, points = np.random.default_rng(11), 200, 200
    pairs_of: dict[str, list[tuple[float, float]]] = {}
    for _ in range(repetitions):
        centre, chance = rng.normal(size=points), rng.beta(2, 2, points)
        kinds = rng.binomial(1, chance).astype(float)
        densities = np.log(np.where(kinds == 1, chance, 1 - chance))
        for predictions in (
            gaussian(centre[None], centre + rng.normal(scale=0.8, size=points)),
            Predictions(kinds, densities[None], chance[None]),
        ):
            for name, value in score(predictions).items():
                name = f"{name} of {'numbers' if predictions.below is not None else 'classes'}"
                pairs_of.setdefault(name, []).append((value["value"], value["sampling"]))
    assert len(pairs_of) == 7  # log density, RMSE, two coverages; log density, accuracy, calibration error
    assert {sampling for _, sampling in pairs_of.pop("calibration_error of classes")} == {None}
    for name, pairs in pairs_of.items():
        values, errors = np.array(pairs).T
        relative = stats.kurtosis(values, fisher=False) - 1  # the relative variance of a variance, times repetitions
        ratio = np.sqrt(np.mean(errors**2)) / values.std(ddof=1)
        assert ratio == pytest.approx(1, abs=4 * np.sqrt(relative / repetitions) / 2), name


def test_the_calibration_error_is_that_of_ten_bins_of_equal_width():
    """Bin by bin as it is defined, of 5,000 points: bins unequally full, and wrong in turn one way and the other."""
    rng = np.random.default_rng(12)
    chance = rng.beta(1.5, 3, 5000)
    kinds = rng.binomial(1, np.clip(chance + 0.2 * np.sin(10 * np.pi * chance), 0, 1)).astype(float)
    total = 0.0
    for bin in range(10):
        inside = (chance >= bin / 10) & (chance < (bin + 1) / 10)
        total += inside.sum() * abs(chance[inside].mean() - kinds[inside].mean()) if inside.any() else 0.0
    error = score(Predictions(kinds, np.zeros((1, 5000)), chance[None]))["calibration_error"]["value"]
    assert error == pytest.approx(total / 5000, rel=1e-12)


def test_classes_are_scored_by_accuracy_and_calibration():
    """By hand: four rows predicted 0.9, 0.9, 0.2, 0.2, of which 1, 0, 0, 0 are ones."""
    probability = np.array([[0.9, 0.9, 0.2, 0.2]])
    observed = np.array([1.0, 0.0, 0.0, 0.0])
    density = np.log(np.where(observed == 1, probability, 1 - probability))
    scores = score(Predictions(observed, density, probability))
    assert scores["accuracy"]["value"] == 0.75
    assert scores["accuracy"]["mcse"] == 0.0
    assert scores["calibration_error"]["value"] == pytest.approx((2 * 0.4 + 2 * 0.2) / 4)
    assert scores["calibration_error"]["sampling"] is None
    assert scores["log_density"]["value"] == pytest.approx((np.log(0.9) + np.log(0.1) + 2 * np.log(0.8)) / 4)
    assert "rmse" not in scores


def test_the_log_density_averages_densities_not_their_logarithms():
    """Two draws, one of which rules the observation out: log(1/2) of the other's, not minus infinity."""
    scores = score(Predictions(np.array([1.0]), np.array([[0.0], [-np.inf]]), np.array([[1.0], [0.0]])))
    assert scores["log_density"]["value"] == pytest.approx(np.log(0.5))


# Images


def images(draws: int = 160, points: int = 12, pixels: int = 5, seed: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Observed images and the pixels' probabilities of each draw, shape (draws, points, pixels)."""
    rng = np.random.default_rng(seed)
    probability = rng.beta(2, 2, (draws, points, pixels))
    return (rng.random((points, pixels)) < rng.beta(2, 2, (points, pixels))).astype(float), probability


def bernoulli(observed: np.ndarray, probability: np.ndarray) -> np.ndarray:
    return np.log(np.where(observed == 1, probability, 1 - probability)).sum(axis=-1)


def test_an_image_is_one_point_of_the_log_density_and_many_of_the_accuracy():
    observed, probability = images()
    scores = score(Predictions(observed, bernoulli(observed, probability), probability))
    joint = np.log(np.exp(bernoulli(observed, probability)).mean(axis=0))  # the average of products over pixels
    assert scores["log_density"]["value"] == pytest.approx(joint.mean())
    assert scores["log_density"]["sampling"] == pytest.approx(joint.std(ddof=1) / np.sqrt(12))
    right = (probability.mean(axis=0) > 0.5) == (observed == 1)
    assert scores["accuracy"]["value"] == pytest.approx(right.mean())
    assert scores["accuracy"]["sampling"] == pytest.approx(right.mean(axis=1).std(ddof=1) / np.sqrt(12))
    assert set(scores) == {"log_density", "accuracy", "calibration_error"}
    one_pixel = score(Predictions(observed[:, 0], bernoulli(observed, probability), probability[:, :, 0]))
    of_images = score(Predictions(observed[:, :1], bernoulli(observed, probability), probability[:, :, :1]))
    assert one_pixel == of_images


def test_pixels_averaged_over_parts_of_the_draws_score_as_all_of_them():
    observed, probability = images()
    density = bernoulli(observed, probability)
    parts = probability.reshape(16, 10, *probability.shape[1:]).mean(axis=1)
    together, apart = score(Predictions(observed, density, probability)), score(Predictions(observed, density, parts))
    for name, value in together.items():
        assert apart[name] == pytest.approx(value)
    assert together["calibration_error"]["mcse"] > 0


def test_grey_images_are_scored_by_their_error():
    observed, mean = images()
    observed = 0.3 + 0.2 * observed
    scores = score(Predictions(observed, np.zeros((160, 12)), mean))
    assert set(scores) == {"log_density", "rmse"}
    assert scores["rmse"]["value"] == pytest.approx(np.sqrt(np.mean((mean.mean(axis=0) - observed) ** 2)))


def test_finished_scores_stay_as_they_are():
    assert score({"bits": {"value": 1.0, "mcse": 0.1, "sampling": None}})["bits"]["mcse"] == 0.1
    assert score({}) == {}


# Whose draws are scored


class Asked:
    """Data that ask for the posterior of another observation, or do not."""

    def __init__(self, others: np.ndarray | None = None) -> None:
        self.others = others


def a_fit(data: Asked, method: str, **groups: xr.Dataset) -> Fit:
    return Fit(Job("a fit", "a model", data, method), "done", tree=xr.DataTree.from_dict(groups))


@pytest.fixture
def groups() -> dict[str, xr.Dataset]:
    """Two chains of three draws of the posterior, all 1, and four of the queries' posteriors, all 2."""
    return {
        "posterior": xr.Dataset({"z": (("chain", "draw", "image", "latent"), np.ones((2, 3, 5, 2)))}),
        "queries": xr.Dataset({"z": (("draw", "query", "latent"), np.full((4, 7, 2), 2.0))}),
    }


@pytest.fixture
def given(monkeypatch) -> list[np.ndarray]:
    """What the model is asked to predict from."""
    seen: list[np.ndarray] = []

    def predict(data: Asked, latents: dict[str, np.ndarray]) -> Predictions:
        seen.append(latents["z"])
        return Predictions(np.zeros(1), np.zeros((1, 1)), np.zeros((1, 1)))

    value = {"value": 1.0, "mcse": 0.0, "sampling": None}
    prediction = Prediction(
        predict=predict,
        scores=lambda data, tree: {"bits": value},
        queries=lambda data: data.others,
        exact_predictions=lambda data: {"accuracy": value} if data.others else None,
    )
    monkeypatch.setattr(predictive.registry, "load", lambda name: SimpleNamespace(prediction=prediction))
    return seen


def test_the_posteriors_draws_are_scored_where_nothing_else_is_asked(given, groups):
    scores = predictive.predictions(a_fit(Asked(), "svi", **groups))
    assert given[0].shape == (6, 5, 2) and np.all(given[0] == 1)
    assert {"log_density", "bits"} <= set(scores)
    predictive.predictions(a_fit(Asked(), "exact", **groups))
    assert len(given) == 2


def test_the_queries_draws_are_scored_where_they_are_what_is_asked(given, groups):
    predictive.predictions(a_fit(Asked([1]), "svi", **groups))
    assert given[0].shape == (4, 7, 2) and np.all(given[0] == 2)


def test_a_fit_that_does_not_say_what_is_asked_has_no_predictions(given, groups):
    del groups["queries"]
    scores = predictive.predictions(a_fit(Asked([1]), "nuts", **groups))
    assert not given and set(scores) == {"bits"}


def test_the_exact_posterior_answers_without_draws(given, groups):
    scores = predictive.predictions(a_fit(Asked([1]), "exact", **groups))
    assert not given and set(scores) == {"accuracy", "bits"}
