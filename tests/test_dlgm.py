"""The deep latent Gaussian model: its truth in several ways, what independence costs, training, and bad input."""

from __future__ import annotations

import itertools
import math
from functools import lru_cache

import numpy as np
import pytest
from scipy import stats

import models
from compare.cli.main import main
from models.decoder import Decoder
from models.dlgm import MODEL, DeepData, training
from models.dlgm.exact import DeepPosterior, nested, summed
from models.dlgm.independence import FAMILIES, Members, best_members, elbo, log_joint, starts
from models.dlgm.layers import Layers
from models.dlgm.pictures import grid
from models.image_posteriors import GaussianPosteriors, QuadraturePosteriors, normal

SMALL = {"units": 3, "iterations": 20, "images": 2}


@lru_cache(maxsize=1)
def bent() -> Layers:
    """Layers of one latent each whose weights are random, and not small."""
    rng = np.random.default_rng(3)

    def decoder(pixels: int, **noise: float) -> Decoder:
        shapes = {
            "hidden_weights": (1, 4),
            "hidden_biases": (4,),
            "output_weights": (4, pixels),
            "output_biases": pixels,
        }
        weights = {name: rng.normal(size=shape) for name, shape in shapes.items()}
        return Decoder(weights | {name: np.array(value) for name, value in noise.items()})

    return Layers(decoder(1, noise=0.6), decoder(12))


def images_of(layers: Layers, count: int) -> np.ndarray:
    rng = np.random.default_rng(4)
    return (rng.random((count, layers.pixels)) < 0.5).astype(float)


def test_nested_quadrature_agrees_with_the_plane_and_with_another_rule():
    layers, images = bent(), images_of(bent(), 3)
    known, plane = nested(layers, images), QuadraturePosteriors(layers, images)
    np.testing.assert_allclose(known.log_evidences, plane.log_evidences, atol=1e-9)

    places, weights = (np.concatenate(parts) for parts in zip(*pieces(-8, 8, 20), strict=True))
    below = layers.upper(places[:, None]) + layers.noise * places  # (z2, z1): z1 about its mean given z2
    likelihood = layers.lower.log_likelihood(images, below.reshape(-1, 1)).reshape(3, *below.shape)
    prior = stats.norm.logpdf(places[:, None]) + stats.norm.logpdf(places)
    value = np.log(np.einsum("nij,i,j->n", np.exp(likelihood + prior), weights, weights))
    np.testing.assert_allclose(value, known.log_evidences, atol=1e-9)


def pieces(low: float, high: float, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Gauss and Legendre's rule on each of some intervals: places and weights."""
    places, weights = np.polynomial.legendre.leggauss(20)
    half = (high - low) / count / 2
    return [(low + half * (2 * piece + 1 + places), half * weights) for piece in range(count)]


def test_marginals_of_the_nested_integral_are_those_of_exact_draws():
    layers, images, count = bent(), images_of(bent(), 2), 20_000
    known, plane = nested(layers, images), QuadraturePosteriors(layers, images)
    drawn = layers.latents(plane.draw(np.random.default_rng(0), count)["z"])
    for site, draws in zip(("z2", "z1"), drawn, strict=True):
        for image in range(2):
            marginal, values = known.marginal(site, image), draws[:, image, 0]
            assert abs(values.mean() - marginal.mean()) < 4 * marginal.std() / math.sqrt(count)
            below = np.mean(values < marginal.ppf(0.3))
            assert abs(below - 0.3) < 4 * math.sqrt(0.21 / count)


def test_information_of_the_upper_layer_is_that_of_a_gaussian_where_all_is_linear():
    """With one latent a layer the lattice takes linear layers too: against KL between Gaussians in closed form."""
    data = DeepData(pixels="grey", images=3)
    known, closed = nested(data.network, data.observed), DeepPosterior(data)
    np.testing.assert_allclose(known.log_evidences, closed.plane.log_evidences, atol=1e-7)
    mean, variance = closed.means[:, 0], closed.covariances[:, 0, 0]
    np.testing.assert_allclose(known.information, 0.5 * (mean**2 + variance - 1 - np.log(variance)), atol=1e-6)
    for site, place in (("z2", 0), ("z1", 1)):
        marginal = known.marginal(site, 1)
        assert marginal.mean() == pytest.approx(closed.means[1, place], abs=1e-7)
        assert marginal.std() == pytest.approx(math.sqrt(closed.covariances[1, place, place]), abs=1e-7)


def test_linear_layers_have_the_evidence_of_one_gaussian():
    data = DeepData(pixels="grey", latent=(4, 3), images=5)
    layers = data.network
    across, down = (layer.weights["output_weights"] for layer in (layers.upper, layers.lower))
    of_z1 = across.T @ across + layers.noise**2 * np.eye(3)
    covariance = down.T @ of_z1 @ down + float(layers.lower.weights["noise"]) ** 2 * np.eye(layers.pixels)
    expected = stats.multivariate_normal(layers.lower.weights["output_biases"], covariance).logpdf(data.observed)
    assert DeepPosterior(data).log_evidence == pytest.approx(expected.sum(), abs=1e-7)


@pytest.mark.parametrize("latents", ["values", "noise"])
def test_log_joint_less_log_posterior_is_the_evidence(latents):
    data = DeepData(latents=latents, **SMALL)
    exact, rng = DeepPosterior(data), np.random.default_rng(1)
    z = rng.normal(size=(50, 2, 2))
    joint = log_joint(data.network, data.observed, z, latents)[0].sum(axis=1)
    sites = dict(zip(data.sites, (z[..., :1], z[..., 1:]), strict=True))
    np.testing.assert_allclose(joint - exact.log_posterior(sites), exact.log_evidence, atol=1e-8)


@pytest.mark.parametrize("latents", ["values", "noise"])
def test_slopes_of_the_log_joint_and_of_the_bound(latents):
    layers, images, rng = bent(), images_of(bent(), 2), np.random.default_rng(2)
    points, way = rng.normal(size=(3, 2, 2)), rng.normal(size=(3, 2, 2))
    ends = [log_joint(layers, images, points + step * way, latents)[0] for step in (1e-5, -1e-5)]
    slope = log_joint(layers, images, points, latents)[1]
    np.testing.assert_allclose((ends[0] - ends[1]) / 2e-5, (slope * way).sum(axis=-1), rtol=1e-6, atol=1e-8)
    row, turn = rng.normal(size=5), rng.normal(size=5)
    ends = [elbo(layers, images[0], row + step * turn, latents)[0] for step in (1e-5, -1e-5)]
    assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(elbo(layers, images[0], row, latents)[1] @ turn, rel=1e-6)


@pytest.mark.parametrize("latents", ["values", "noise"])
def test_no_bound_is_above_the_evidence_and_full_rank_is_no_worse(latents):
    layers, images = bent(), images_of(bent(), 4)
    evidence = nested(layers, images).log_evidences
    mean_field, full_rank = (best_members(layers, images, family, latents) for family in FAMILIES)
    for members in (mean_field, full_rank):
        assert np.all(members.elbos <= evidence + members.tolerance)
    assert np.all(full_rank.elbos >= mean_field.elbos - 2 * full_rank.tolerance)


def test_the_best_member_where_all_is_linear_is_the_one_in_closed_form():
    """The search of `best_members` against (sum log P_ii - log det P) / 2 and the Gaussian posterior."""
    layers = bent()
    line = {"output_weights": np.array([[0.9]]), "output_biases": np.array([0.2]), "noise": np.array(0.6)}
    flat = Decoder({"hidden_weights": np.ones((1, 1)), "hidden_biases": np.array([60.0]), **line})
    # A softplus far from 0 is the identity: z2 + 60, whose 60 the biases take away.
    flat = Decoder(flat.weights | {"output_biases": np.array([0.2 - 0.9 * 60.0])})
    down = {"output_weights": layers.lower.weights["output_weights"][:1], "output_biases": np.zeros(12)}
    grey = Layers(flat, Decoder(down | {"noise": np.array(0.8)}))
    images = images_of(layers, 2)
    linear = Layers(Decoder(line), grey.lower)
    closed = GaussianPosteriors(linear.linear(), images)
    for latents, turn in (("noise", np.eye(2)), ("values", np.array([[1.0, 0.9], [0.0, 0.6]]))):
        covariance = turn.T @ closed.covariances[0] @ turn
        precision = np.linalg.inv(covariance)
        short = 0.5 * (np.log(np.diag(precision)).sum() - np.linalg.slogdet(precision)[1])
        mean_field, full_rank = (best_members(grey, images, family, latents) for family in FAMILIES)
        np.testing.assert_allclose(closed.log_evidences - mean_field.elbos, short, atol=1e-6)
        np.testing.assert_allclose(full_rank.elbos, closed.log_evidences, atol=1e-6)
        np.testing.assert_allclose(full_rank.factors[0] @ full_rank.factors[0].T, covariance, atol=1e-3)


@pytest.mark.parametrize("noise", [0.05, 0.5, 2.0, 5.0])
def test_the_lattice_of_training_follows_the_noise(noise):
    """Against a lattice of `summed` that is finer and wider, in nats an image, without any training."""
    layers, images = bent(), images_of(bent(), 5)
    layers = Layers(Decoder(layers.upper.weights | {"noise": np.array(noise)}), layers.lower)
    value, _ = training.log_evidence(layers.weights, images)
    assert value / 5 == pytest.approx(summed(layers, images, 2048).log_evidences.mean(), abs=5e-3)


def test_training_follows_its_gradient_and_the_lattice_has_the_evidence():
    images = DeepData(**SMALL).dataset
    layers = training.train(images, 3, 0.5, 20)
    weights, rng = layers.weights, np.random.default_rng(0)
    value, gradient = training.log_evidence(weights, images.test[:20])
    assert value == pytest.approx(summed(layers, images.test[:20], 1024).log_evidences.sum(), abs=1e-2)  # it ends at 7
    for name, slope in gradient.items():
        way = rng.normal(size=np.shape(slope))
        ends = [
            training.log_evidence(weights | {name: weights[name] + step * way}, images.test[:20])[0]
            for step in (1e-5, -1e-5)
        ]
        assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(np.sum(way * slope), rel=1e-5, abs=1e-5)
    independent = stats.bernoulli(np.clip(images.train.mean(axis=0), 0.01, 0.99)).logpmf(images.train).sum()
    assert training.log_evidence(weights, images.train)[0] > independent


def test_noise_and_values_are_the_same_point():
    layers, e = bent(), np.random.default_rng(5).normal(size=(7, 2))
    np.testing.assert_allclose(layers.noises(*layers.latents(e)), e, atol=1e-12)
    assert Layers.of(layers.weights).weights.keys() == layers.weights.keys()


def test_simulated_images_have_the_posteriors_that_their_data_say():
    simulated = MODEL.simulate(DeepData(**SMALL), np.random.default_rng(0), 3)
    assert simulated.latents["z2"].shape == (3, 2, 1)
    first = simulated.data[0]
    assert first.observed.shape == (2, 64) and set(np.unique(first.observed)) <= {0.0, 1.0}
    assert np.isfinite(MODEL.exact(first).log_evidence)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("--latent 1,1,1", "latent is 1,1,1, and layers is 2: give two sizes"),
        ("--layers 3 --latent 1,1,1", "layers is 3: the model has two"),
        ("--latent 2,1", "give 1,1, or --pixels grey"),
        ("--latent 1;1", "no list of sizes"),
        ("--pixels grey --latent 1,2", "at least as many dimensions"),
        ("--pixels grey --latent 64,64", "give sizes from 1 to 20"),
        ("--noise 0", "give a number from 0.05 to 5"),
        ("--images 1000", "give at most as many"),
        ("--data README.md", "is not a file of images"),
        ("--data nowhere.npz", "no images and no file"),
    ],
)
def test_bad_input_is_refused_in_a_line(line, says, capsys, tmp_path):
    assert main(["dlgm", *line.split(), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err.strip()
    assert says in error and len(error.splitlines()) == 1


def test_the_start_of_a_search_has_the_moments_of_the_posterior():
    layers, images = bent(), images_of(bent(), 1)
    known = nested(layers, images)
    row = starts(layers, known, 0, "values")[0]
    assert row[0] == pytest.approx(known.marginal("z2", 0).mean()) and row[3] == pytest.approx(
        math.log(known.marginal("z1", 0).std())
    )
    assert normal(np.zeros((1, 2)))[0] == pytest.approx(-math.log(2 * math.pi))
    assert models.load("dlgm") is MODEL


@pytest.mark.parametrize("noise", [0.05, 5.0])
def test_pictures_hold_nearly_all_of_the_posterior(noise, tmp_path):
    """Of each image, in both coordinates, by the marginals and the density on the grid that is drawn."""
    data = DeepData(noise=noise, **SMALL)
    exact, picture = DeepPosterior(data), MODEL.pictures[0]
    picture.draw({}, data, exact, tmp_path / picture.name)
    assert len(list(tmp_path.glob(f"{picture.name}*"))) == 1
    for latents, image in itertools.product(("values", "noise"), range(2)):
        places = grid(exact, {}, image, latents)
        points = np.stack(np.meshgrid(*places, indexing="ij"), axis=-1).reshape(-1, 1, 2)
        density = np.exp(log_joint(data.network, data.observed[[image]], points, latents)[0])
        cell = np.prod([place[1] - place[0] for place in places])
        held = density.sum() * cell / math.exp(exact.plane.log_evidences[image])
        assert held == pytest.approx(1, abs=2e-3)


def test_what_a_gaussian_says_of_the_upper_layer_is_its_divergence_from_the_prior():
    """KL(q(z2), p(z2)) by quadrature; of the lower layer, whatever it is, nothing."""
    factors = np.array([[[0.5, 0.0], [0.7, 2.0]], [[1.6, 0.0], [-0.2, 0.1]]])
    members = Members(np.array([[0.3, 2.0], [-1.0, 0.5]]), factors, np.zeros(2), 0.0)
    z = np.linspace(-20, 20, 40_001)
    for image, information in enumerate(members.information):
        log_q = stats.norm.logpdf(z, members.means[image, 0], factors[image, 0, 0])
        assert information == pytest.approx(np.sum(np.exp(log_q) * (log_q - stats.norm.logpdf(z))) * 1e-3, abs=1e-9)
