"""The posterior of images by quadrature: against closed forms, other integrators, finer and wider lattices, its draws.

The decoders are made here: broad posteriors, bent ones, ones with several hills, and narrow ones.
"""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import integrate, special, stats

from models import linear_decoder, shared_lattice
from models.decoder import Decoder
from models.image_posteriors import GaussianPosteriors, QuadraturePosteriors, normal, posteriors
from models.images import load
from models.vae.exact import exact


def make_decoder(latent=2, hidden=24, pixels=30, scale=1.0, noise=None, seed=0):
    """A decoder with random weights; the larger the scale, the narrower and the more bent the posteriors."""
    rng = np.random.default_rng(seed)
    rows = hidden or latent
    weights = {
        "output_weights": 2 * scale * rng.normal(size=(rows, pixels)) / math.sqrt(rows),
        "output_biases": rng.normal(size=pixels),
    }
    if hidden:
        weights |= {
            "hidden_weights": scale * rng.normal(size=(latent, hidden)),
            "hidden_biases": scale * rng.normal(size=hidden),
        }
    return Decoder(weights if noise is None else weights | {"noise": np.array(noise)})


def drawn(decoder, own, others=0, seed=1):
    """Images from the decoder, then images of noise, whose posteriors have odder shapes."""
    rng = np.random.default_rng(seed)
    outputs = decoder(rng.normal(size=(own, decoder.latent)))
    if decoder.grey:
        values = outputs + decoder.weights["noise"] * rng.normal(size=outputs.shape)
        return np.concatenate([values, rng.normal(size=(others, decoder.pixels))])
    own_images = rng.random(outputs.shape) < special.expit(outputs)
    return np.concatenate([own_images, rng.random((others, decoder.pixels)) < 0.5]).astype(float)


CASES = {
    "broad": {"scale": 0.3},
    "usual": {},
    "narrow": {"scale": 2.5},
    "few units": {"hidden": 6, "scale": 2.0},
    "linear": {"hidden": 0},
    "one dimension": {"latent": 1, "scale": 2.0},
    "grey": {"noise": 0.5},
    "one dimension, grey": {"latent": 1, "noise": 0.5},
}
FOUND = {}


def find_posterior(name):
    """The posteriors of eight images under the decoder of that name."""
    if name not in FOUND:
        decoder = make_decoder(**CASES[name])
        FOUND[name] = posteriors(decoder, drawn(decoder, 5, 3))
    return FOUND[name]


def moments(posterior, step, reach):
    """Log evidences, means and covariances on a plain square of the plane, with no lattice ever refined."""
    line = np.arange(-round(reach / step), round(reach / step) + 1) * step
    latent = posterior.decoder.latent
    points = np.stack(np.meshgrid(*[line] * latent, indexing="ij"), axis=-1).reshape(-1, latent)
    pieces = np.array_split(points, len(points) // 20_000 + 1)
    joint = np.concatenate(
        [
            posterior.decoder.log_likelihood(posterior.images, piece) + stats.norm.logpdf(piece).sum(axis=1)
            for piece in pieces
        ],
        axis=1,
    )
    weights = special.softmax(joint, axis=1)
    means = weights @ points
    second = np.einsum("np,pi,pj->nij", weights, points, points, optimize=True)
    return (
        special.logsumexp(joint, axis=1) + latent * math.log(step),
        means,
        second - means[:, :, None] * means[:, None, :],
    )


@pytest.mark.parametrize("name", CASES)
def test_half_the_step_and_a_wider_plane_change_nothing(name):
    """The must-show is 1e-6 nats; what is claimed is far less."""
    posterior = find_posterior(name)
    assert posterior.tolerance < 1e-8
    latent = posterior.means.shape[1]
    offsets = np.array(list(itertools.product((-1, 0, 1), repeat=latent)))
    line = np.arange(-14, 14.1, 0.25)
    far = np.stack(np.meshgrid(*[line] * latent), axis=-1).reshape(-1, latent)
    for image, mass in enumerate(posterior.masses):

        def log_integral(points, step, image=image):
            joint = posterior.decoder.log_likelihood(posterior.images[[image]], points)[0]
            return special.logsumexp(joint + stats.norm.logpdf(points).sum(axis=1)) + latent * math.log(step)

        half = shared_lattice.unpack(np.unique(2 * mass.codes[:, None] + shared_lattice.pack(offsets)), latent)
        assert log_integral(half * mass.step / 2, mass.step / 2) == pytest.approx(mass.log_evidence, abs=1e-8)
        beyond = ((far < mass.points.min(axis=0)) | (far > mass.points.max(axis=0))).any(axis=1)
        assert log_integral(far[beyond], 0.25) < mass.log_evidence - 20  # 2e-9 of it


@pytest.mark.parametrize("name", ["broad", "usual", "linear", "one dimension", "one dimension, grey"])
def test_a_plain_square_of_points_agrees(name):
    posterior = find_posterior(name)
    step = min(mass.step for mass in posterior.masses)
    log_evidences, means, covariances = moments(posterior, step, 7.0)
    np.testing.assert_allclose(log_evidences, posterior.log_evidences, rtol=0, atol=1e-8)
    np.testing.assert_allclose(means, posterior.means, rtol=0, atol=1e-7)
    np.testing.assert_allclose(covariances, posterior.covariances, rtol=0, atol=1e-7)


def test_a_narrow_hill_between_the_points_of_the_first_lattice_is_found():
    """Of 784 pixels, a twelfth of the first step wide: no draw that the prior makes is any higher than it."""
    decoder = make_decoder(hidden=16, pixels=784, scale=2.5)
    images = drawn(decoder, 3, 1)
    posterior = posteriors(decoder, images)
    assert posterior.sd()["z"].min() < shared_lattice.FIRST / 12
    highest = np.array([mass.log_joint.max() for mass in posterior.masses])
    z = np.random.default_rng(2).normal(size=(4000, 2))
    joint = decoder.log_likelihood(images, z) + stats.norm.logpdf(z).sum(axis=1)
    assert (joint.max(axis=1) < highest + 1).all()
    for mass, image in zip(posterior.masses, images, strict=True):
        # Around the highest point with half the step: no more mass there than there is at all.
        line = np.arange(-40, 41) * mass.step / 2
        around = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2) + mass.points[mass.log_joint.argmax()]
        joint = decoder.log_likelihood(image[None], around)[0] + stats.norm.logpdf(around).sum(axis=1)
        assert special.logsumexp(joint) + 2 * math.log(mass.step / 2) < mass.log_evidence + 1e-8


@pytest.mark.parametrize("seed", range(3))
def test_a_first_lattice_that_is_finer_finds_no_more(seed, monkeypatch):
    decoder = make_decoder(hidden=8, scale=3.0, seed=seed)
    images = drawn(decoder, 2, 2)
    coarse = QuadraturePosteriors(decoder, images)
    monkeypatch.setattr(shared_lattice, "FIRST", 1 / 16)
    monkeypatch.setattr(shared_lattice, "ACROSS", 10_000)
    fine = QuadraturePosteriors(decoder, images)
    np.testing.assert_allclose(coarse.log_evidences, fine.log_evidences, rtol=0, atol=1e-9)


def test_the_images_are_divided_where_they_need_too_many_points(monkeypatch):
    posterior = find_posterior("narrow")
    monkeypatch.setattr(shared_lattice, "ENTRIES", 40_000)
    again = QuadraturePosteriors(posterior.decoder, posterior.images)
    assert again.tolerance < 1e-6
    np.testing.assert_allclose(again.log_evidences, posterior.log_evidences, rtol=0, atol=1e-9)
    monkeypatch.setattr(shared_lattice, "ENTRIES", 500)
    given_up = QuadraturePosteriors(posterior.decoder, posterior.images)
    assert given_up.tolerance > 1e-6
    assert (np.abs(given_up.log_evidences - posterior.log_evidences) <= given_up.tolerance).all()


@pytest.mark.parametrize("name", ["usual", "few units", "grey"])
def test_scipys_integrator_agrees(name):
    posterior = find_posterior(name)
    for image in (0, 7):
        highest = posterior.masses[image].log_joint.max()

        def density(second, first, image=image, highest=highest):
            z = np.array([[first, second]])
            joint = posterior.decoder.log_likelihood(posterior.images[[image]], z)[0, 0] - z @ z.T / 2
            return math.exp(joint[0, 0] - math.log(2 * math.pi) - highest)

        low, high = posterior.masses[image].points.min(axis=0), posterior.masses[image].points.max(axis=0)
        value, error = integrate.dblquad(density, low[0], high[0], low[1], high[1], epsabs=1e-6, epsrel=1e-6)
        assert error < 1e-4
        # Twice the error that dblquad estimates: its inner and its outer rule each have one.
        assert abs(math.log(value) + highest - posterior.log_evidences[image]) < 2 * error / value + 1e-7


@pytest.mark.parametrize("name", CASES)
def test_importance_sampling_agrees(name):
    posterior, rng = find_posterior(name), np.random.default_rng(3)
    count, latent = 40_000, posterior.means.shape[1]
    # Proposed from the prior and a wide Student's t in equal parts, so that the weights are bounded.
    lower = np.linalg.cholesky(3 * posterior.covariances)
    wide = stats.multivariate_t(shape=np.eye(latent), df=5).rvs((8, count), random_state=rng).reshape(8, count, latent)
    wide = posterior.means[:, None] + wide @ lower.swapaxes(1, 2)
    z = np.where(rng.random((8, count, 1)) < 0.5, rng.standard_normal((8, count, latent)), wide)
    log_weights = np.empty((8, count))
    for image in range(8):
        proposal = stats.multivariate_t(posterior.means[image], 3 * posterior.covariances[image], df=5)
        student, prior = proposal.logpdf(z[image]), stats.norm.logpdf(z[image]).sum(axis=1)
        joint = posterior.decoder.log_likelihood(posterior.images[[image]], z[image])[0] + prior
        log_weights[image] = joint - np.logaddexp(student, prior) + math.log(2)
    highest = log_weights.max(axis=1, keepdims=True)
    weights = np.exp(log_weights - highest)
    mean = weights.mean(axis=1)
    error = weights.std(axis=1) / mean / math.sqrt(count)
    off = (np.log(mean) + highest[:, 0] - posterior.log_evidences) / error
    assert error.max() < 0.03
    assert np.abs(off).max() < 4.5  # 8 images in each of 8 cases: 4.5 standard errors, p = 4e-4 for all


@pytest.mark.parametrize("name", CASES)
def test_joint_less_posterior_is_the_evidence(name):
    posterior = find_posterior(name)
    z = np.random.default_rng(4).normal(size=(8, 50, posterior.means.shape[1]))
    joint = posterior.log_joint(z)
    np.testing.assert_allclose(
        joint - posterior.log_density(z), posterior.log_evidences[:, None] + 0 * joint, atol=1e-9
    )
    latents = {"z": z.swapaxes(0, 1)}
    np.testing.assert_allclose(
        joint.sum(axis=0) - posterior.log_posterior(latents), np.full(50, posterior.log_evidence), atol=1e-8
    )
    assert posterior.log_evidence == pytest.approx(posterior.log_evidences.sum())
    np.testing.assert_allclose(normal(latents["z"]), stats.norm.logpdf(latents["z"]).sum(axis=2))


@pytest.mark.parametrize("name", CASES)
def test_draws_are_from_the_posterior(name):
    posterior, count = find_posterior(name), 20_000
    z = posterior.draw(np.random.default_rng(5), count)["z"]
    assert z.shape == (count, *posterior.means.shape)
    sd = posterior.sd()["z"]
    white = (z - posterior.means) / sd
    assert np.abs(white.mean(axis=0) * math.sqrt(count)).max() < 4.5
    expected = posterior.covariances / (sd[:, :, None] * sd[:, None, :])
    for i in range(z.shape[2]):
        for j in range(z.shape[2]):
            products = white[:, :, i] * white[:, :, j]
            error = products.std(axis=0) / math.sqrt(count)
            assert (np.abs(products.mean(axis=0) - expected[:, i, j]) < 4.5 * error).all()
    # The marginal distributions as a whole: the largest distance of Kolmogorov and Smirnov, p = 1e-4.
    for index in np.ndindex(posterior.means.shape):
        places = np.linspace(0.02, 0.98, 25)
        values = [posterior.marginal("z", index).ppf(place) for place in places]
        share = np.searchsorted(np.sort(z[:, *index]), values) / count
        assert np.abs(share - places).max() < 2.3 / math.sqrt(count)
    # And the joint one: the expectation of the log density, which any blur lowers.
    entropy = posterior.log_density(z.swapaxes(0, 1))
    for image, mass in enumerate(posterior.masses):
        exact_value = mass.probabilities @ (mass.log_joint - mass.log_evidence)
        assert abs(entropy[image].mean() - exact_value) < 4.5 * entropy[image].std() / math.sqrt(count)


@pytest.mark.parametrize("name", ["narrow", "few units", "one dimension", "one dimension, grey"])
def test_marginals_are_those_of_the_joint_density(name):
    """Anywhere, also between the lattice's points: the density integrated over the other latent with a fine rule."""
    posterior = find_posterior(name)
    for index in np.ndindex(posterior.means.shape):
        mass, axis = posterior.masses[index[0]], index[1]
        low, high = mass.points[:, axis].min(), mass.points[:, axis].max()
        grid = np.random.default_rng(6).uniform(low, high, 15)
        if posterior.means.shape[1] == 1:
            z = np.broadcast_to(grid[:, None], (8, 15, 1))
            expected = np.exp(posterior.log_density(z)[index[0]])
        else:
            other = mass.points[:, 1 - axis]
            line = np.arange(other.min(), other.max(), mass.step / 2)
            z = np.stack(np.broadcast_arrays(grid[:, None], line[None]), axis=-1)[..., [axis, 1 - axis]].reshape(-1, 2)
            z = np.broadcast_to(z, (8, *z.shape))
            expected = np.exp(posterior.log_density(z)[index[0]]).reshape(15, -1).sum(axis=1) * mass.step / 2
        scale = posterior.sd()["z"][index]
        np.testing.assert_allclose(posterior.density("z", index, grid) * scale, expected * scale, rtol=0, atol=1e-6)
        line = np.linspace(low, high, 4001)
        total = integrate.cumulative_simpson(posterior.density("z", index, line), x=line, initial=0)
        assert total[-1] == pytest.approx(1, abs=1e-6)
        for probability in (0.001, 0.3, 0.975):
            value = posterior.quantile(probability)["z"][index]
            assert np.interp(value, line, total) == pytest.approx(probability, abs=1e-5)
    assert posterior.density("z", (0, 0), np.array([-1e3, 1e3])).tolist() == [0.0, 0.0]


def test_correlations_are_named_as_the_elements_are():
    posterior = find_posterior("usual")
    correlations = posterior.correlations()
    assert list(correlations)[:2] == ["z[0,0],z[0,1]", "z[1,0],z[1,1]"]
    draws = posterior.draw(np.random.default_rng(7), 20_000)["z"]
    for image, value in enumerate(correlations.values()):
        # The standard error of a correlation is at most about 2 / sqrt(count), far from a Gaussian too.
        assert np.corrcoef(draws[:, image].T)[0, 1] == pytest.approx(value, abs=4 * 2 / math.sqrt(20_000))
    assert find_posterior("one dimension").correlations() == {}


@pytest.mark.parametrize("latent", [1, 2])
@pytest.mark.parametrize("noise", [1.0, 0.1])
def test_on_a_linear_decoder_quadrature_and_closed_form_agree(latent, noise):
    decoder = make_decoder(latent=latent, hidden=0, noise=noise)
    images = drawn(decoder, 6, 4)
    images[2, :20] = np.nan  # not observed
    closed, quadrature = posteriors(decoder, images), QuadraturePosteriors(decoder, images)
    assert isinstance(closed, GaussianPosteriors)
    np.testing.assert_allclose(quadrature.log_evidences, closed.log_evidences, rtol=0, atol=1e-6)
    np.testing.assert_allclose(quadrature.means, closed.means, rtol=0, atol=1e-6)
    np.testing.assert_allclose(quadrature.covariances, closed.covariances, rtol=0, atol=1e-6)
    z = closed.draw(np.random.default_rng(0), 20)["z"]
    np.testing.assert_allclose(
        quadrature.log_density(z.swapaxes(0, 1)), closed.log_density(z.swapaxes(0, 1)), atol=1e-6
    )
    for probability in (0.01, 0.6):
        np.testing.assert_allclose(quadrature.quantile(probability)["z"], closed.quantile(probability)["z"], atol=1e-6)
    grid = closed.means[0, 0] + np.linspace(-1, 1, 9) * closed.sd()["z"][0, 0]
    np.testing.assert_allclose(quadrature.density("z", (0, 0), grid), closed.density("z", (0, 0), grid), atol=1e-5)
    assert quadrature.correlations() == pytest.approx(closed.correlations(), abs=1e-6)


@pytest.mark.parametrize("angle", [0.3, 0.7, 1.2])
def test_a_ridge_far_narrower_than_the_first_lattice_is_found(angle):
    """A thousandth of the step wide and as long as the prior: between its points it is thousands of nats higher."""
    along, across = np.array([math.cos(angle), math.sin(angle)]), np.array([-math.sin(angle), math.cos(angle)])
    rows = np.random.default_rng(0).normal(size=(2, 30))
    output = np.outer(along, 0.002 * rows[0]) + np.outer(across, 0.5 * rows[1])
    decoder = Decoder({"output_weights": output, "output_biases": np.zeros(30), "noise": np.array(0.01)})
    images = np.concatenate([drawn(decoder, 4), decoder(0.125 * np.array([[1.0, 1.0], [1.0, 2.0], [5.0, 1.0]]))])
    closed, quadrature = posteriors(decoder, images), QuadraturePosteriors(decoder, images)
    np.testing.assert_allclose(quadrature.log_evidences, closed.log_evidences, rtol=0, atol=1e-6)
    np.testing.assert_allclose(quadrature.means, closed.means, rtol=0, atol=1e-6)


@pytest.mark.parametrize("latent", [1, 3, 12])
def test_the_closed_form_is_that_of_a_multivariate_gaussian(latent):
    decoder = make_decoder(latent=latent, hidden=0, pixels=20, noise=0.4)
    images = drawn(decoder, 4, 4)
    posterior = posteriors(decoder, images)
    weights = decoder.weights["output_weights"]
    image = stats.multivariate_normal(decoder.weights["output_biases"], weights.T @ weights + 0.16 * np.eye(20))
    np.testing.assert_allclose(posterior.log_evidences, image.logpdf(images), rtol=1e-9)
    z = posterior.draw(np.random.default_rng(0), 20_000)["z"]
    joint = posterior.log_joint(z.swapaxes(0, 1))
    left = joint - posterior.log_density(z.swapaxes(0, 1))
    np.testing.assert_allclose(left, posterior.log_evidences[:, None] + 0 * joint, atol=1e-7)
    white = (z - posterior.means) / posterior.sd()["z"]
    assert np.abs(white.mean(axis=0)).max() < 4.5 / math.sqrt(20_000)


def test_the_most_likely_linear_decoder_is_a_maximum():
    """Against scikit-learn's own, and no step away from it is any better."""
    from sklearn.decomposition import PCA

    images = load(pixels="grey").train
    for latent in (2, 10):
        decoder = linear_decoder.most_likely(images, latent)
        peer = PCA(latent).fit(images)
        count = len(images)  # it divides by one less, and its noise's variance leaves nothing else different
        total = linear_decoder.posteriors(decoder, images)[0].mean()
        assert total == pytest.approx(peer.score(images), abs=64 / count)
        assert total >= peer.score(images)
        rng = np.random.default_rng(0)
        for name, value in decoder.weights.items():
            for _ in range(4):
                step = 1e-3 * rng.standard_normal(value.shape)
                moved = Decoder(dict(decoder.weights) | {name: value + step})
                assert linear_decoder.posteriors(moved, images)[0].mean() < total
    with pytest.raises(ValueError, match="64 latent dimensions for 64 pixels"):
        linear_decoder.most_likely(images, 64)


def test_partial_images_have_the_posterior_of_the_pixels_seen():
    """As with a decoder that has no other pixels; with none of them it is the prior."""
    decoder = make_decoder()
    images = drawn(decoder, 3)
    subset = np.arange(30) % 3 > 0
    part = Decoder({name: value[..., subset] if "output" in name else value for name, value in decoder.weights.items()})
    seen, other = posteriors(decoder, np.where(subset, images, np.nan)), posteriors(part, images[:, subset])
    np.testing.assert_allclose(seen.log_evidences, other.log_evidences, atol=1e-9)
    np.testing.assert_allclose(seen.means, other.means, atol=1e-9)
    prior = posteriors(decoder, np.full((1, 30), np.nan))
    assert prior.log_evidence == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(prior.covariances[0], np.eye(2), atol=1e-9)


def test_far_from_the_prior_the_plane_is_widened():
    """The mass of an image as bright as no other is 30 sds of the prior away from its middle."""
    decoder = Decoder({"output_weights": np.eye(2), "output_biases": np.zeros(2), "noise": np.array(0.1)})
    images = np.array([[30.0, 20.0], [0.0, 0.0]])
    closed, quadrature = posteriors(decoder, images), QuadraturePosteriors(decoder, images)
    np.testing.assert_allclose(quadrature.log_evidences, closed.log_evidences, rtol=0, atol=1e-6)
    np.testing.assert_allclose(quadrature.means, closed.means, rtol=0, atol=1e-6)


def test_what_has_no_known_posterior_is_said():
    decoder = make_decoder(latent=3)
    with pytest.raises(ValueError, match="the posterior of 3 latent dimensions is not known"):
        posteriors(decoder, drawn(decoder, 2))
    with pytest.raises(ValueError, match=r"shape \(2, 29\); this decoder's have shape \(images, 30\)"):
        posteriors(make_decoder(), np.zeros((2, 29)))
    with pytest.raises(ValueError, match=r"shape \(0, 30\)"):
        posteriors(make_decoder(), np.zeros((0, 30)))


def test_exact_is_for_the_images_shown():
    decoder, images = make_decoder(pixels=64), load()
    shown = np.array([5, 17, 99])
    data = SimpleNamespace(network=decoder, dataset=images, shown=shown)
    posterior = exact(data)
    assert posterior.mean()["z"].shape == (3, 2)
    np.testing.assert_allclose(
        posterior.log_evidences, posteriors(decoder, images.test).log_evidences[shown], atol=1e-9
    )
    assert exact(data) is posterior  # found once
    assert exact(SimpleNamespace(network=None, dataset=images, shown=shown)) is None
    assert exact(SimpleNamespace(network=make_decoder(latent=3, pixels=64), dataset=images, shown=shown)) is None
    closed = exact(
        SimpleNamespace(network=make_decoder(latent=3, hidden=0, noise=0.3, pixels=64), dataset=images, shown=shown)
    )
    assert closed.tolerance == 0


def test_what_is_not_known_well_enough_is_not_called_exact(monkeypatch):
    decoder = make_decoder(pixels=64, scale=2.0, seed=9)
    monkeypatch.setattr(shared_lattice, "ENTRIES", 500)
    assert exact(SimpleNamespace(network=decoder, dataset=load(), shown=np.array([0, 1]))) is None


def test_facts_are_in_jsons_types():
    import json

    for name in CASES:
        assert json.loads(json.dumps(find_posterior(name).extra_summary()))
        assert find_posterior(name).method.startswith("quadrature: trapezoid, step")
