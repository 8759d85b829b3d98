"""Annealing of two layers, and with classes summed out: forwards and backwards, against quadrature and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special
from test_dlgm import bent
from test_ssvae import data as classes
from test_vae_sampling import agrees

from models.dlgm import DeepData
from models.dlgm.exact import nested
from models.dlgm.layers import Layers
from models.image_posteriors import posteriors
from models.sampling import ais
from models.ssvae.exact import class_evidences
from tests.bidirectional import Bracket, bidirectional


def simulated(layers: Layers, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images from the layers and the noise e that each was drawn at."""
    rng = np.random.default_rng(seed)
    e = rng.standard_normal((count, layers.latent))
    return layers.lower.sample(layers.latents(e)[1], rng), e


@pytest.mark.parametrize("likelihood", [bent(), classes().network, DeepData(pixels="grey", latent=(3, 2)).network])
def test_the_value_is_the_log_likelihood_and_the_slope_its_derivative(likelihood):
    rng = np.random.default_rng(1)
    images = (rng.random((3, likelihood.pixels)) < 0.5).astype(float)
    z, way = rng.normal(size=(2, 4, 3, likelihood.latent))
    value, slope = likelihood.at(images, z)
    for image in range(3):
        expected = likelihood.log_likelihood(images[[image]], z[:, image])[0]
        np.testing.assert_allclose(value[:, image], expected, rtol=1e-10)
    ends = [likelihood.at(images, z + step * way)[0] for step in (1e-5, -1e-5)]
    np.testing.assert_allclose((ends[0] - ends[1]) / 2e-5, (slope * way).sum(axis=-1), rtol=1e-5, atol=1e-6)


def test_two_layers_agree_with_the_nested_quadrature():
    images, _ = simulated(bent(), 40)
    estimates, errors = ais(bent(), images, np.random.default_rng(2), chains=32, temperatures=60)
    agrees(estimates, errors, nested(bent(), images).log_evidences, 0.3, 32)


def test_two_linear_layers_of_several_latents_agree_with_the_closed_form():
    layers = DeepData(pixels="grey", latent=(4, 3)).network
    images, _ = simulated(layers, 40)
    estimates, errors = ais(layers, images, np.random.default_rng(3), chains=32, temperatures=150)
    agrees(estimates, errors, posteriors(layers.linear(), images).log_evidences, 0.4, 32)


def test_classes_agree_with_a_quadrature_each_and_with_their_sum():
    """The decoder of one class, and the model with the classes summed out."""
    decoder, images = classes().network, classes().dataset.test
    known, _ = class_evidences(decoder, images)
    for label in (3, 8):
        estimates, errors = ais(decoder.by_class[label], images, np.random.default_rng(label), 32, 60)
        agrees(estimates - math.log(decoder.n_classes), errors, known[:, label], 0.3, 32)
    estimates, errors = ais(decoder, images, np.random.default_rng(4), chains=32, temperatures=40)
    agrees(estimates, errors, special.logsumexp(known, axis=1), 0.5, 32)


def off(bracket: Bracket, truth: np.ndarray) -> tuple[list[float], list[float]]:
    """The mean distance of the lower and of the upper ends from the truth in nats an image, and its errors."""
    each = [bracket.lower - truth, bracket.upper - truth]
    return [end.mean() for end in each], [end.std(ddof=1) / math.sqrt(len(truth)) for end in each]


def test_few_temperatures_bracket_the_truth():
    """From one chain's weight on each way the bounds are wide, and on their side of the truth by 4 errors."""
    images, e = simulated(bent(), 400)
    truth = nested(bent(), images).log_evidences
    bracket = bidirectional(bent(), images, e, np.random.default_rng(5), chains=2, temperatures=3)
    (low, high), errors = off(bracket, truth)
    assert low < -4 * errors[0] and high > 4 * errors[1]


def test_many_temperatures_close_the_bracket():
    images, e = simulated(bent(), 60)
    bracket = bidirectional(bent(), images, e, np.random.default_rng(6), chains=16, temperatures=80)
    closes(bracket, nested(bent(), images).log_evidences)


@pytest.mark.slow
def test_many_temperatures_close_the_bracket_with_the_classes_summed_out():
    decoder, rng = classes().network, np.random.default_rng(7)
    z, labels = rng.standard_normal((40, 1)), rng.integers(10, size=40)
    images = decoder.network.sample(np.concatenate([z, np.eye(10)[labels]], axis=1), rng)
    bracket = bidirectional(decoder, images, z, np.random.default_rng(8), chains=8, temperatures=40)
    closes(bracket, special.logsumexp(class_evidences(decoder, images)[0], axis=1))


def closes(bracket: Bracket, truth: np.ndarray) -> None:
    """Both ends are at the truth within 4 errors, which are small."""
    middles, errors = off(bracket, truth)
    assert max(errors) < 0.05
    assert all(abs(middle) < 4 * error for middle, error in zip(middles, errors, strict=True))


def test_the_way_back_needs_two_of_both():
    images, e = simulated(bent(), 2)
    with pytest.raises(ValueError, match="2 chains and 1 temperatures; give 2 or more of both"):
        bidirectional(bent(), images, e, np.random.default_rng(0), 2, 1)
