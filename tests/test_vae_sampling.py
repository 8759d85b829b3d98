"""Importance sampling and annealed importance sampling against quadrature and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special, stats

from models import sampling
from models.decoder import Decoder
from models.image_posteriors import posteriors
from models.sampling import ais, importance


def softplus_decoder(scale, latent=2, hidden=24, pixels=30, seed=0):
    rng = np.random.default_rng(seed)
    return Decoder(
        {
            "hidden_weights": scale * rng.normal(size=(latent, hidden)),
            "hidden_biases": scale * rng.normal(size=hidden),
            "output_weights": 2 * scale * rng.normal(size=(hidden, pixels)) / math.sqrt(hidden),
            "output_biases": rng.normal(size=pixels),
        }
    )


def linear_decoder(latent, pixels=30, seed=0):
    rng = np.random.default_rng(seed)
    weights = {"output_weights": 0.5 * rng.normal(size=(latent, pixels)), "output_biases": rng.normal(size=pixels)}
    return Decoder(weights | {"noise": np.array(0.5)})


def drawn(decoder, count, seed=1):
    rng = np.random.default_rng(seed)
    outputs = decoder(rng.normal(size=(count, decoder.latent)))
    if decoder.grey:
        return outputs + decoder.weights["noise"] * rng.normal(size=outputs.shape)
    return (rng.random(outputs.shape) < special.expit(outputs)).astype(float)


def agrees(estimates, errors, truth, most, count):
    """Estimates are as far from the truth as their errors from ``count`` chains or draws say, and the errors are small.

    Each image is held to 4 standard errors, in Student's t, as the errors are estimated too; so is the mean of all. The
    mean square of the deviations in errors is 1 with a standard error of about (2 / n)^(1/2), and a little more with
    few chains: below 2 is 4 such errors for 40 images.
    """
    off = (estimates - truth) / errors
    assert errors.max() < most
    assert np.abs(off).max() < stats.t.isf(stats.norm.sf(4), count - 1)
    assert abs(np.mean(estimates - truth)) < 4 * math.sqrt(np.sum(errors**2)) / len(errors)
    assert np.mean(off**2) < 2


def proposals(posterior, rng, count, wider=1.0):
    """Gaussian proposals with the posterior's moments, or wider by a factor, and their log densities."""
    n, latent = posterior.means.shape
    z, log_q = np.empty((n, count, latent)), np.empty((n, count))
    for image in range(n):
        proposal = stats.multivariate_normal(posterior.means[image], wider * posterior.covariances[image])
        z[image] = proposal.rvs(count, random_state=rng).reshape(count, latent)
        log_q[image] = proposal.logpdf(z[image])
    return z, log_q


@pytest.mark.parametrize("latent", [5, 10])
def test_importance_sampling_finds_the_closed_form(latent):
    decoder = linear_decoder(latent)
    images = drawn(decoder, 40)
    posterior = posteriors(decoder, images)
    z, log_q = proposals(posterior, np.random.default_rng(2), 2000, wider=1.5)
    estimate = importance(decoder, images, z, log_q)
    agrees(estimate.log_evidences, estimate.mcse, posterior.log_evidences, 0.2, 2000)
    np.testing.assert_allclose(estimate.bias, -(estimate.mcse**2) / 2)
    z, log_q = proposals(posterior, np.random.default_rng(2), 100)
    exact = importance(decoder, images, z, log_q)  # from the posterior itself all weights are equal
    np.testing.assert_allclose(exact.log_evidences, posterior.log_evidences, atol=1e-8)
    assert exact.mcse.max() < 1e-8


def test_importance_sampling_agrees_with_quadrature():
    decoder = softplus_decoder(0.7)
    images = drawn(decoder, 40)
    posterior = posteriors(decoder, images)
    z, log_q = proposals(posterior, np.random.default_rng(2), 2000, wider=2.0)
    estimate = importance(decoder, images, z, log_q)
    agrees(estimate.log_evidences, estimate.mcse, posterior.log_evidences, 0.1, 2000)


def test_the_bias_is_what_the_logarithm_takes_off():
    decoder = linear_decoder(5)
    images = np.repeat(drawn(decoder, 1), 4000, axis=0)
    posterior = posteriors(decoder, images)
    z, log_q = proposals(posterior, np.random.default_rng(3), 50, wider=2.5)
    estimate = importance(decoder, images, z, log_q)
    off = estimate.log_evidences - posterior.log_evidences
    assert off.mean() < -4 * off.std() / math.sqrt(4000)  # it is a lower bound, in expectation
    assert abs(off.mean() - estimate.bias.mean()) < 4 * off.std() / math.sqrt(4000)


@pytest.mark.parametrize("scale", [0.7, 1.5])
def test_annealed_importance_sampling_agrees_with_quadrature(scale):
    decoder = softplus_decoder(scale)
    images = drawn(decoder, 40)
    estimates, errors = ais(decoder, images, np.random.default_rng(4), chains=32, temperatures=150)
    agrees(estimates, errors, posteriors(decoder, images).log_evidences, 0.3, 32)


@pytest.mark.parametrize("latent", [5, 10])
def test_annealed_importance_sampling_finds_the_closed_form(latent):
    decoder = linear_decoder(latent)
    images = drawn(decoder, 40)
    estimates, errors = ais(decoder, images, np.random.default_rng(5), chains=32, temperatures=400)
    agrees(estimates, errors, posteriors(decoder, images).log_evidences, 0.4, 32)


def test_a_chain_ends_in_the_posterior():
    """Not only the weights: an image of many copies, whose last states have the posterior's moments."""
    decoder = softplus_decoder(1.0)
    images = np.repeat(drawn(decoder, 1), 4, axis=0)
    posterior = posteriors(decoder, images[:1])
    states = []

    class Watched(Decoder):
        def at(self, images, z):
            states.append(z)
            return super().at(images, z)

    path = sampling.Path.power(150, 4)
    path = sampling.anneal(decoder, images, np.random.default_rng(6), 50, path, adapt=True).path
    run = sampling.anneal(Watched(decoder.weights), images, np.random.default_rng(6), 500, path, adapt=False)
    assert run.log_weights.shape == (500, 4)
    z, weights = states[-1].reshape(-1, 2), special.softmax(run.log_weights.ravel())
    mean = weights @ z  # the last proposals, nearly all of which are accepted
    error = np.sqrt(weights**2 @ (z - mean) ** 2)
    assert (np.abs(mean - posterior.means[0]) < 4.5 * error + 0.1 * posterior.sd()["z"][0]).all()


def test_the_same_seed_gives_the_same_numbers():
    decoder = softplus_decoder(0.7)
    images = drawn(decoder, 3)
    first, other = (ais(decoder, images, np.random.default_rng(7), 4, 20) for _ in range(2))
    np.testing.assert_array_equal(first, other)


def test_pixels_that_were_not_observed_add_nothing():
    decoder = softplus_decoder(0.7)
    images = drawn(decoder, 20)
    images[:, ::3] = np.nan
    estimates, errors = ais(decoder, images, np.random.default_rng(8), chains=32, temperatures=100)
    agrees(estimates, errors, posteriors(decoder, images).log_evidences, 0.3, 32)


def test_too_few_chains_have_no_error():
    decoder = softplus_decoder(0.7)
    with pytest.raises(ValueError, match="1 chains and 20 temperatures; give 2 or more of both"):
        ais(decoder, drawn(decoder, 2), np.random.default_rng(0), 1, 20)
