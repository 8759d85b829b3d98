"""The simple models that the autoencoder is compared with: the EM algorithm above all."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import special, stats

from models.images import Images, load
from models.vae import baselines as module
from models.vae.baselines import Mixture, baselines, fit, independent


def planted(count, seed=0):
    """Images of three kinds, in the shares 0.5, 0.3 and 0.2, of 16 pixels; and the mixture that made them."""
    rng = np.random.default_rng(seed)
    truth = Mixture(np.array([0.5, 0.3, 0.2]), np.random.default_rng(7).choice([0.1, 0.9], (3, 16)))
    kinds = rng.choice(3, count, p=truth.weights)
    return (rng.random((count, 16)) < truth.means[kinds]).astype(float), truth


def test_a_mixture_is_a_distribution():
    rng = np.random.default_rng(0)
    mixture = Mixture(rng.dirichlet(np.ones(4)), rng.random((4, 6)))
    every = np.array(list(itertools.product((0.0, 1.0), repeat=6)))
    assert np.exp(mixture.log_density(every)).sum() == pytest.approx(1)
    expected = sum(
        weight * stats.bernoulli.pmf(every, means).prod(axis=1)
        for weight, means in zip(mixture.weights, mixture.means, strict=True)
    )
    np.testing.assert_allclose(mixture.log_density(every), np.log(expected), atol=1e-12)


def test_independent_pixels_are_smoothed_by_one_image_of_each_kind():
    images = np.array([[0.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
    np.testing.assert_allclose(independent(images).means, [[0.25, 0.75, 0.5]])
    np.testing.assert_allclose(independent(images).log_density(np.array([[1.0, 1.0, 1.0]])), [np.log(0.25 * 0.75 / 2)])


@pytest.mark.parametrize("smoothing", [0.01, 0.1, 1.0])
@pytest.mark.parametrize("components", [1, 3, 20])
def test_what_em_maximises_never_falls(components, smoothing, monkeypatch):
    images = load().train[:400]
    monkeypatch.setattr(module, "CONVERGED", 1e-12)
    mixture, track = fit(images, components, np.random.default_rng(0), smoothing)
    assert len(track) > 2
    assert np.diff(track).min() > -1e-8
    assert mixture.weights.sum() == pytest.approx(1)
    penalty = special.xlogy(smoothing, mixture.means).sum() + special.xlogy(smoothing, 1 - mixture.means).sum()
    penalty += special.xlogy(smoothing, mixture.weights).sum()
    assert track[-1] == pytest.approx(mixture.log_density(images).sum() + penalty)


def test_without_smoothing_the_log_likelihood_itself_never_falls(monkeypatch):
    images, _ = planted(3000)
    monkeypatch.setattr(module, "CONVERGED", 1e-12)
    mixture, track = fit(images, 3, np.random.default_rng(0), smoothing=1e-9)
    assert np.diff(track).min() > -1e-6
    assert track[-1] == pytest.approx(mixture.log_density(images).sum(), abs=1e-5)


def test_em_ends_where_no_step_is_better(monkeypatch):
    images, _ = planted(500)
    monkeypatch.setattr(module, "CONVERGED", 1e-14)
    mixture, track = fit(images, 2, np.random.default_rng(0), 0.1)
    rng = np.random.default_rng(1)

    def objective(weights, means):
        penalty = np.log(means).sum() + np.log1p(-means).sum() + np.log(weights).sum()
        return Mixture(weights, means).log_density(images).sum() + 0.1 * penalty

    for size in (1e-3, 1e-2):
        for _ in range(10):
            weights = special.softmax(np.log(mixture.weights) + size * rng.standard_normal(2))
            means = special.expit(special.logit(mixture.means) + size * rng.standard_normal(mixture.means.shape))
            assert objective(weights, means) < track[-1] + 1e-6


def test_the_order_of_pixels_and_of_components_is_nothing():
    images = load().train[:300]
    order = np.random.default_rng(2).permutation(64)
    mixture, track = fit(images, 6, np.random.default_rng(0))
    other, track_permuted = fit(images[:, order], 6, np.random.default_rng(0))
    np.testing.assert_allclose(track, track_permuted, rtol=1e-9)
    np.testing.assert_allclose(mixture.means[:, order], other.means, atol=1e-7)
    shuffled = np.random.default_rng(3).permutation(6)
    again = Mixture(mixture.weights[shuffled], mixture.means[shuffled])
    np.testing.assert_allclose(again.log_density(images), mixture.log_density(images), atol=1e-10)


def test_a_planted_mixture_is_recovered():
    images, truth = planted(5000)
    runs = [fit(images, 3, np.random.default_rng(seed)) for seed in range(2)]
    mixture, _ = max(runs, key=lambda run: run[1][-1])
    order = [int(np.argmin(np.abs(mixture.means - means).sum(axis=1))) for means in truth.means]
    assert sorted(order) == [0, 1, 2]
    # Five standard errors of a share of 0.2 * 5,000 images, or of all of them; the kinds overlap little.
    assert np.abs(mixture.means[order] - truth.means).max() < 5 * np.sqrt(0.25 / 1000)
    assert np.abs(mixture.weights[order] - truth.weights).max() < 5 * np.sqrt(0.25 / 5000)
    held_out, _ = planted(5000, seed=1)
    lost = truth.log_density(held_out) - mixture.log_density(held_out)
    # In expectation half a nat a parameter over the number of images, (3 * 16 + 2) / 2 / 5,000: next to nothing.
    assert abs(lost.mean() - 50 / 2 / 5000) < 4 * lost.std() / np.sqrt(len(lost))


def binary(train, validation, test):
    return Images(train, validation, test, (4, 4))


def test_the_number_of_components_is_chosen_on_the_validation_images(monkeypatch):
    images = binary(planted(2000)[0], planted(500, seed=1)[0], planted(500, seed=2)[0])
    monkeypatch.setattr(module, "COMPONENTS", (1, 3, 30, 100))
    rows = baselines(images)
    assert list(rows) == ["independent pixels", "Bernoulli mixture, 3 components"]
    assert all(values.shape == (500,) for values in rows.values())
    gain = rows["Bernoulli mixture, 3 components"] - rows["independent pixels"]
    assert gain.mean() > 4 * gain.std() / np.sqrt(500)
    short = rows["Bernoulli mixture, 3 components"] - planted(1)[1].log_density(images.test)
    assert abs(short.mean()) < 0.2
    # The test images have no part in it.
    noise = np.random.default_rng(3).integers(0, 2, (500, 16)).astype(float)  # likelier without any kinds
    other = baselines(binary(images.train, images.validation, noise))
    assert list(other) == list(rows)


def test_of_the_digits_the_mixture_is_better_than_independent_pixels(monkeypatch):
    monkeypatch.setattr(module, "COMPONENTS", (10, 40))
    images = load()
    assert (images.train.std(axis=0) == 0).any()  # and pixels that never vary make nothing infinite
    rows = baselines(images)
    assert baselines(images) is rows  # fitted once
    alone, mixture = rows.values()
    assert (mixture - alone).mean() > 4 * (mixture - alone).std() / np.sqrt(180)
    on = (images.train.sum(axis=0) + 1) / (1437 + 2)
    np.testing.assert_allclose(alone, stats.bernoulli.logpmf(images.test, on).sum(axis=1), atol=1e-9)
    assert np.isfinite(mixture).all()


def test_grey_pixels_have_gaussians_and_principal_components():
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(2, 12))
    train, validation, test = (
        0.5 + 0.1 * rng.normal(size=(count, 2)) @ weights + 0.05 * rng.normal(size=(count, 12))
        for count in (2000, 400, 400)
    )
    rows = baselines(Images(train, validation, test, (3, 4)))
    assert list(rows) == ["independent Gaussian pixels", "probabilistic PCA, 2 components"]
    alone, principal = rows.values()
    np.testing.assert_allclose(alone, stats.norm.logpdf(test, train.mean(0), train.std(0)).sum(axis=1), atol=0.05)
    truth = stats.multivariate_normal(np.full(12, 0.5), 0.01 * weights.T @ weights + 0.0025 * np.eye(12)).logpdf(test)
    # As many parameters as 12 means, 2 * 12 - 1 directions and a noise cost about half a nat over 2,000 images each.
    assert abs((truth - principal).mean() - 36 / 2 / 2000) < 4 * (truth - principal).std() / np.sqrt(400)


def test_a_grey_pixel_that_never_varies_makes_nothing_infinite():
    images = load(pixels="grey")
    assert (images.train.std(axis=0) == 0).any()
    for values in baselines(images).values():
        assert np.isfinite(values).all()
