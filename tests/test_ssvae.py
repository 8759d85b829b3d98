"""The semi-supervised autoencoder: its truth by two methods, both twins, the bound of M2, labels, what is refused."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from importlib import import_module

import numpy as np
import pytest
from scipy import integrate, special, stats

from compare.cli.main import main
from compare.comparison import Job
from compare.fit import run
from compare.options import Options
from models.contract import Reference
from models.decoder import Decoder
from models.image_posteriors import QuadraturePosteriors, posteriors
from models.ssvae import MODEL, SemiSupervised
from models.ssvae.classification import CLASSIFIERS, baselines, class_probabilities, jackknifed, scored
from models.ssvae.data import choose_labelled, with_possible
from models.ssvae.exact import class_evidences, class_posteriors


@cache
def data(latent: int = 1, hidden: int = 6, few: int = 12) -> SemiSupervised:
    """A few test images, and a decoder of random weights whose classes and z matter."""
    small = SemiSupervised(latent=latent, hidden=hidden, images=3)
    images = small.dataset
    images = replace(images, test=images.test[:few], test_labels=images.test_labels[:few])
    small = small.with_derived(dataset=images, shown=np.arange(3))
    rng = np.random.default_rng(2)
    weights = MODEL.amortization.training(small).start_decoder(rng)
    other = MODEL.amortization.with_decoder(
        small, {name: value + 0.4 * rng.normal(size=value.shape) for name, value in weights.items()}
    )
    return other.with_derived(dataset=images, shown=np.arange(3))


def by_hand(image: np.ndarray, label: int, z: float) -> float:
    """log p(image, z | y) of one latent from the network's equation and SciPy's distributions."""
    weights = data().network.weights
    given = np.concatenate([[z], np.eye(10)[label]])
    units = np.logaddexp(0, given @ weights["hidden_weights"] + weights["hidden_biases"])
    chances = special.expit(units @ weights["output_weights"] + weights["output_biases"])
    return stats.bernoulli.logpmf(image, chances).sum() + stats.norm.logpdf(z)


def test_the_joint_evidence_is_the_integral():
    """One image, every class, by SciPy's adaptive quadrature of the model's equations."""
    image = data().dataset.test[0]
    values, tolerance = class_evidences(data().network, image[None])
    for label in range(10):
        highest = max(by_hand(image, label, z) for z in np.linspace(-4, 4, 33))
        area, _ = integrate.quad(
            lambda z, y=label, top=highest: math.exp(by_hand(image, y, z) - top), -12, 12, limit=200
        )
        assert values[0, label] == pytest.approx(math.log(area) + highest - math.log(10), abs=1e-7)
    assert tolerance < 1e-6


@pytest.mark.parametrize("latent", [1, 2])
@pytest.mark.parametrize("hidden", [0, 6])
def test_the_evidence_has_two_ways(latent, hidden):
    """An integral of the sum over classes, and the sum over classes of integrals."""
    known = data(latent, hidden)
    values, _ = class_evidences(known.network, known.dataset.test)
    both = posteriors(known.network, known.dataset.test).log_evidences
    assert np.allclose(special.logsumexp(values, axis=1), both, rtol=0, atol=1e-7)


def test_the_class_posterior_is_a_mean_over_exact_draws():
    """p(y | x) = E[p(y | x, z)] over the posterior of z."""
    images, decoder = data(2).dataset.test, data(2).network
    z = posteriors(decoder, images).draw(np.random.default_rng(0), 4000)["z"]
    each, known = class_probabilities(decoder, images, z), class_posteriors(decoder, images)
    error = each.std(axis=0, ddof=1) / math.sqrt(len(each))
    assert np.allclose(known.sum(axis=1), 1) and 0.01 < np.median(known.max(axis=1)) < 1
    assert (np.abs(each.mean(axis=0) - known) <= 4.5 * error + 1e-6).all()  # 120 numbers


def test_a_label_leaves_one_class(library):
    """Both twins on images with and without a label, against NumPy."""
    images, decoder, labels = data().dataset.test, data().network, data().dataset.test_labels
    networks = import_module(f"compare.fit.amortized.amortised_{library}").networks("ssvae", "mean_field", 1)
    eps = np.random.default_rng(1).standard_normal((5, len(images), 1, 1))
    rows = np.zeros((len(images), 2))  # standard normals: z = eps
    values = np.stack([part.at(images, eps[:, :, 0])[0] for part in decoder.by_class])
    known = np.concatenate([images, np.eye(10)[labels]], axis=1)
    labelled = values[labels, :, np.arange(len(labels))].T
    for observations, right in (
        (known, labelled),
        (with_possible(images, 10), special.logsumexp(values, axis=0) - math.log(10)),
    ):
        _, prior, likelihood, guide, _ = networks.weigh(rows, observations, decoder.weights, eps)
        assert np.allclose(likelihood[:, :, 0], right, rtol=0, atol=1e-9)
        assert np.allclose(prior, guide, rtol=0, atol=1e-9)


def m2_networks() -> dict[str, dict[str, np.ndarray]]:
    """The decoder of the data, a classifier and an encoder of random weights."""
    rng = np.random.default_rng(4)
    classifier = {"output_weights": rng.normal(0, 0.3, (64, 10)), "output_biases": rng.normal(size=10)}
    encoder = {"output_weights": rng.normal(0, 0.1, (74, 2)), "output_biases": np.array([0.2, -0.7])}
    return {"decoder": dict(data().network.weights), "classifier": classifier, "encoder": encoder}


def numpyro_bounds(labels: np.ndarray | None) -> np.ndarray:
    """Estimates of M2's bound of all images together."""
    import jax
    import jax.numpy as jnp
    from numpyro.infer import TraceEnum_ELBO

    from models.ssvae import in_numpyro as twin

    images = jnp.asarray(data().dataset.test)
    parts = {name: jax.tree.map(jnp.asarray, part) for name, part in m2_networks().items()}
    decoder, classifier, encoder = (
        twin.Decoder(**parts["decoder"]),
        *(twin.Encoder(**parts[name]) for name in ("classifier", "encoder")),
    )

    def bound(key):
        return -TraceEnum_ELBO().loss(
            key, {},
            lambda: twin.m2(images, decoder, 10, labels),
            lambda: twin.m2_guide(images, classifier, encoder, 10, labels),
        )  # fmt: skip

    return np.asarray(jax.jit(jax.vmap(bound))(jax.random.split(jax.random.key(0), 500)))


def pyro_bounds(labels: np.ndarray | None) -> np.ndarray:
    """Estimates of M2's bound of all images together."""
    import pyro
    import torch
    from pyro.infer import TraceEnum_ELBO

    from models.ssvae import in_pyro as twin

    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    images = torch.tensor(data().dataset.test)
    known = None if labels is None else torch.tensor(labels)
    parts = {name: {key: torch.tensor(value) for key, value in part.items()} for name, part in m2_networks().items()}
    decoder, classifier, encoder = (
        twin.Decoder(**parts["decoder"]),
        *(twin.Encoder(**parts[name]) for name in ("classifier", "encoder")),
    )
    elbo = TraceEnum_ELBO(max_plate_nesting=1)
    with torch.no_grad():
        return np.array(
            [
                -elbo.loss(
                    lambda: twin.m2(images, decoder, 10, known),
                    lambda: twin.m2_guide(images, classifier, encoder, 10, known),
                )
                for _ in range(200)
            ]
        )


@pytest.mark.parametrize("with_labels", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_bound_of_m2(library, with_labels):
    """Both twins' enumerated ELBO is what Kingma et al.'s equations 6 and 7 say, integrated over z, and no evidence."""
    images, labels, parts = data().dataset.test, data().dataset.test_labels, m2_networks()
    joint, _ = class_evidences(data().network, images)
    nodes, shares = np.polynomial.hermite_e.hermegauss(60)
    shares = shares / shares.sum()
    by_class = []
    for label, part in enumerate(data().network.by_class):
        given = np.concatenate([images, np.broadcast_to(np.eye(10)[label], (len(images), 10))], axis=1)
        mean, log_sd = Decoder(parts["encoder"])(given).T
        z = (mean + np.exp(log_sd) * nodes[:, None])[..., None]
        ratio = (
            part.at(images, z)[0] + stats.norm.logpdf(z[..., 0]) - stats.norm.logpdf(z[..., 0], mean, np.exp(log_sd))
        )
        by_class.append(shares @ ratio - math.log(10))
    bounds = np.stack(by_class, axis=1)
    log_q = special.log_softmax(Decoder(parts["classifier"])(images), axis=1)
    each = bounds[np.arange(len(labels)), labels] if with_labels else (np.exp(log_q) * (bounds - log_q)).sum(axis=1)
    evidence = joint[np.arange(len(labels)), labels] if with_labels else special.logsumexp(joint, axis=1)
    estimates = {"numpyro": numpyro_bounds, "pyro": pyro_bounds}[library](labels if with_labels else None)
    error = estimates.std(ddof=1) / math.sqrt(len(estimates))
    assert abs(estimates.mean() - each.sum()) <= 4 * error
    assert error < 0.02 * (evidence - each).sum()
    assert (each <= evidence).all()


@pytest.mark.parametrize("library", ["pyro", pytest.param("numpyro", marks=pytest.mark.slow)])
def test_an_encoder_stays_below_the_evidence(library):
    """Trained briefly: image by image its ELBO and that of the best member are bounds, within 4 errors."""
    known = data().with_derived(epochs=10, batch=50, training_images=data().training_images[:200])
    job = Job(f"{library}-mean_field", "ssvae", known, "amortised", library, "mean_field", 0, Options(budget=600.0))
    fit = run(job)
    assert fit.status == "done", fit.reason
    group, evidences = fit.tree["test_set"], MODEL.amortization.held_out(known).values
    for name in ("elbo", "best_elbo"):
        assert (group[name].values <= evidences + 4 * group[f"{name}_mcse"].values + 1e-6).all()
    assert (group["best_elbo"] >= group["elbo"] - 4 * (group["best_elbo_mcse"] + group["elbo_mcse"])).all()
    scores = MODEL.prediction.scores(known, fit.tree)
    assert 0 <= scores["accuracy"]["value"] <= 1 and scores["log_density"]["mcse"] > 0


def test_labels_are_balanced_and_remain_when_more_are_given():
    labels = SemiSupervised().dataset.train_labels
    few, more = (SemiSupervised(labels=count).labelled for count in (25, 200))
    assert len(few) == 25 and set(few) <= set(more)
    counts = np.bincount(labels[few], minlength=10)
    assert counts.min() == 2 and counts.max() == 3
    rows = SemiSupervised(labels=25).training_images[:, 64:]
    assert (rows[few].sum(axis=1) == 1).all() and (rows.sum(axis=1) == 10).sum() == len(rows) - 25
    assert (rows[few].argmax(axis=1) == labels[few]).all()


@pytest.mark.parametrize(
    ("labels", "count", "message"),
    [
        (np.repeat(np.arange(10), 3), 9, "there are 10 classes; give one a class or more"),
        (np.repeat(np.arange(10), 3), 31, "there are 30 training images; give at most as many"),
        (np.repeat(np.arange(9), 3), 20, "no training image is of class 9"),
    ],
)
def test_labels_that_cannot_be_chosen(labels, count, message):
    with pytest.raises(ValueError, match=message):
        choose_labelled(labels, 10, count, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--labels", "9"], "labels is 9, but there are 10 classes"),
        (["--labels", "1438"], "labels is 1438, but there are 1437 training images"),
        (["--latent", "3"], "latent is 3: give 2 or less"),
        (["--latent", "0"], "latent is 0: give a whole number, 1 or more"),
        (["--images", "181"], "images is 181, but 180 are held out"),
        (["--hidden", "7", "--decoder", "network.npz"], "hidden is 7, but decoder network.npz has 6"),
        (["--decoder", "other.npz"], "other.npz takes 2 numbers; give one that takes z, of 1 or 2, and the 10 classes"),
        (["--decoder", "none.npz"], "there is no file none.npz"),
    ],
)
def test_what_is_refused(options, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data().network.save("network.npz")
    rng = np.random.default_rng(0)
    Decoder({"output_weights": rng.normal(size=(2, 64)), "output_biases": np.zeros(64)}).save("other.npz")
    assert main(["ssvae", *options]) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.strip().splitlines()) == 1


def test_a_saved_decoder_is_the_same(tmp_path):
    path = data().network.save(tmp_path / "network.npz")
    assert SemiSupervised(decoder=str(path)).network == data().network


def test_scores_of_classifiers():
    """Accuracy and log probability by hand; draws that agree have no Monte Carlo error."""
    probabilities, labels = np.array([[0.7, 0.3], [0.6, 0.4], [0.2, 0.8]]), np.array([0, 1, 1])
    scores = scored(probabilities, labels)
    assert scores["accuracy"]["value"] == pytest.approx(2 / 3)
    assert scores["log_density"]["value"] == pytest.approx(np.log([0.7, 0.4, 0.8]).mean())
    assert scored(np.eye(2)[[0, 0, 1]], labels).keys() == {"accuracy"}  # a probability of 0 has no log
    assert jackknifed(np.repeat(probabilities[None], 32, axis=0), labels)["log_density"]["mcse"] == pytest.approx(0)
    known = {name: score["accuracy"]["value"] for name, score in baselines(SemiSupervised()).items()}
    assert all(0.7 < value < 0.95 for value in known.values())


def test_the_error_of_a_score_is_that_of_a_mean():
    """One image whose log probability of the right class is nearly linear in the draws' mean: their sd over the root of
    their number, by the delta method; 16 blocks have an error of a fifth of it, and four of those are allowed."""
    right = 0.5 + 0.01 * np.random.default_rng(0).standard_normal(1600)
    probabilities = np.repeat(np.stack([right, 1 - right], axis=1)[:, None], 2, axis=1)
    expected = right.std(ddof=1) / math.sqrt(len(right)) / right.mean()
    error = jackknifed(probabilities, np.array([0, 0]))["log_density"]["mcse"]
    assert error == pytest.approx(expected, rel=4 / math.sqrt(2 * 15))


def test_a_score_that_only_all_draws_together_have_is_left_out():
    """The right class of an image has a probability in one draw alone: without its block there is no log of it."""
    probabilities = np.full((16, 3, 2), [1.0, 0.0])
    probabilities[5] = 0.5
    assert scored(probabilities.mean(axis=0), np.array([0, 0, 1])).keys() == {"log_density", "accuracy"}
    scores = jackknifed(probabilities, np.array([0, 0, 1]))
    assert scores.keys() == {"accuracy"} and scores["accuracy"]["value"] == pytest.approx(2 / 3)


def test_what_the_quadrature_does_not_reach_is_not_called_exact(monkeypatch):
    """A tolerance above the limit: a reference for the truth, and an error for each evidence."""
    assert isinstance(MODEL.truth(data()), QuadraturePosteriors)
    assert not MODEL.amortization.held_out(data()).mcse.any()
    tolerance = class_evidences(data().network, data().dataset.test)[1]
    for module in ("exact", "amortization"):
        monkeypatch.setattr(f"models.ssvae.{module}.WORST", -1.0)
    assert isinstance(MODEL.truth(data()), Reference)
    assert (MODEL.amortization.held_out(data()).mcse == tolerance).all()


@pytest.mark.parametrize("latent", [1, 2])
def test_pictures(latent, tmp_path):
    for picture in MODEL.pictures:
        picture.draw({}, data(latent), None, tmp_path / picture.name)
        assert len(list(tmp_path.glob(f"{picture.name}*"))) == 1


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_baseline_has_a_probability_of_each_class(name):
    """With one label a class, too, of which none reaches some images: of these every class is as probable."""
    known = CLASSIFIERS[name](SemiSupervised(labels=10))
    np.testing.assert_allclose(known.sum(axis=1), 1.0, atol=1e-12)
    assert known.min() >= 0
