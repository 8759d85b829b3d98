"""What autoencoders are for: answers and scores against enumeration of all images of four pixels, and by hand."""

from __future__ import annotations

import io
import itertools
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from PIL import Image
from scipy import special, stats

from compare.measure.predictive import score
from models.decoder import Decoder
from models.image_posteriors import posteriors
from models.images import Images
from models.vae import baselines, compression, generation, questions, tasks
from models.vae.baselines import independent
from models.vae.data import FLIP, TASKS, Autoencoder
from models.vae.questions import Question, ask

ALL = np.array(list(itertools.product((0.0, 1.0), repeat=4)))
"""All images of four pixels."""

QUESTIONS = ("reconstruct", "denoise", "inpaint")


def a_decoder(latent: int = 2, pixels: int = 4, hidden: int = 3, seed: int = 0, scale: float = 1.5) -> Decoder:
    """A decoder of random weights."""
    rng = np.random.default_rng(seed)
    shapes = {
        "hidden_weights": (latent, hidden),
        "hidden_biases": (hidden,),
        "output_weights": (hidden, pixels),
        "output_biases": (pixels,),
    }
    return Decoder({name: scale * rng.standard_normal(shape) for name, shape in shapes.items()})


def some_images(shape: tuple[int, int] = (2, 2), counts: tuple[int, int, int] = (60, 20, 20), seed: int = 1) -> Images:
    """Images in two classes: two random patterns, each pixel flipped with probability 0.15."""
    rng = np.random.default_rng(seed)
    labels = [rng.integers(0, 2, count) for count in counts]
    patterns = rng.integers(0, 2, (2, shape[0] * shape[1]))
    parts = [
        np.abs(patterns[chosen] - (rng.random((len(chosen), patterns.shape[1])) < 0.15)).astype(float)
        for chosen in labels
    ]
    return Images(*parts, shape, *labels)


def a_task(task: str, latent: int = 2, pixels: str = "binary", **fields: object) -> SimpleNamespace:
    """Data with a task, on images of four pixels."""
    data = SimpleNamespace(
        task=task, latent=latent, pixels=pixels, split=0, shown=np.arange(3), dataset=some_images(),
        network=a_decoder(latent),
    )  # fmt: skip
    vars(data).update(fields)
    return data


def lattice(latent: int) -> tuple[np.ndarray, np.ndarray]:
    """Points of the latent space and the prior's mass at each: a plain sum, finer than it needs to be."""
    line = np.arange(-9, 9.01, 0.05 if latent == 2 else 0.01)
    points = np.stack(np.meshgrid(*[line] * latent, indexing="ij"), axis=-1).reshape(-1, latent)
    mass = np.exp(-0.5 * np.sum(points**2, axis=1))
    return points, mass / mass.sum()


def enumerated(question: Question, masses: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """log p(target | observed), (n,), and the target's mean, (n, targets), by summing over all 16 images.

    ``masses`` (k, 16) are p(image | component) and ``weights`` (k,) p(component). Nothing here is shared with the code
    that is tested: the channel's probabilities are products over pixels, written out.
    """
    densities, means = [], []
    for clean, observed in zip(question.clean, question.observed, strict=True):
        channel = np.ones(len(ALL))  # p(observed | image)
        for pixel, value in enumerate(observed):
            if not np.isnan(value):
                channel *= np.where(ALL[:, pixel] == value, 1 - question.flip, question.flip)
        if question.flip or np.isnan(observed).any():
            joint = (weights @ masses) * channel
        else:  # a second image from the same component
            seen = masses[:, (observed == ALL).all(axis=1)][:, 0]
            joint = (weights * seen) @ masses
        given = joint / joint.sum()
        agrees = (ALL[:, question.places] == clean[question.places]).all(axis=1)
        densities.append(np.log(given[agrees].sum()))
        means.append(given @ ALL[:, question.places])
    return np.array(densities), np.array(means)


def probabilities(logits: np.ndarray) -> np.ndarray:
    """p(image | component) of all 16 images, (k, 16), for components of these logits, (k, 4)."""
    lit = 1 / (1 + np.exp(-logits))
    return np.prod(np.where(ALL[None] == 1, lit[:, None], 1 - lit[:, None]), axis=2)


def every_case(task: str) -> Question:
    """All 16 images, in denoising each with all 16 noisy ones."""
    if task != "denoise":
        return ask(task, ALL, some_images(), (0, 0))
    clean, noisy = np.repeat(ALL, 16, axis=0), np.tile(ALL, (16, 1))
    return Question(clean, noisy, noisy, np.arange(4), FLIP)


# Answers


@pytest.mark.parametrize("latent", [1, 2])
@pytest.mark.parametrize("task", QUESTIONS)
def test_the_exact_answer_is_that_of_enumeration(task: str, latent: int):
    decoder, question = a_decoder(latent), every_case(task)
    points, mass = lattice(latent)
    density, mean = enumerated(question, probabilities(decoder(points)), mass)
    prediction = questions.exactly(question, decoder)
    assert prediction.log_density.shape == (1, len(question.clean))
    assert prediction.log_density[0] == pytest.approx(density, abs=1e-6)
    assert prediction.mean[0] == pytest.approx(mean, abs=1e-6)
    assert np.array_equal(prediction.observed, question.target)


@pytest.mark.parametrize("task", QUESTIONS)
def test_a_mixtures_answer_is_that_of_enumeration(task: str):
    rng = np.random.default_rng(2)
    weights, logits, question = rng.dirichlet(np.ones(3)), 2 * rng.standard_normal((3, 4)), every_case(task)
    density, mean = enumerated(question, probabilities(logits), weights)
    prediction = questions.mixture(question, np.log(weights), logits)
    assert prediction.log_density[0] == pytest.approx(density, abs=1e-12)
    assert prediction.mean[0] == pytest.approx(mean, abs=1e-12)


@pytest.mark.parametrize("task", QUESTIONS)
def test_a_draws_answer_is_that_of_enumeration(task: str):
    """One z an image is a mixture of one component."""
    decoder, question = a_decoder(), every_case(task)
    z = np.random.default_rng(3).standard_normal((1, len(question.clean), 2))
    predictions = questions.draws(question, decoder, z)
    for image in range(len(question.clean)):
        own = slice(image, image + 1)
        alone = Question(
            question.clean[own], question.observed[own], question.seen[own], question.places, question.flip
        )
        density, mean = enumerated(alone, probabilities(decoder(z[0, own])), np.ones(1))
        assert predictions.log_density[0, image] == pytest.approx(density[0], abs=1e-12)
        assert predictions.mean[0, image] == pytest.approx(mean[0], abs=1e-12)


@pytest.mark.parametrize("task", QUESTIONS)
def test_draws_of_the_exact_posterior_score_as_it_does(task: str):
    """Within 4 standard errors of their number; every score has one."""
    data = a_task(task)
    z = tasks.exact_queries(data, np.random.default_rng(4), 4096)
    assert z["z"].shape == (4096, 20, 2)
    sampled, exact = score(tasks.predict(data, z)), score(tasks.exact_predictions(data))
    assert exact["log_density"].mcse == 0.0
    assert 0 < sampled["log_density"].mcse < 0.02
    assert abs(sampled["log_density"].value - exact["log_density"].value) < 4 * sampled["log_density"].mcse


def test_the_draws_pixels_are_averaged_in_equal_parts():
    data = a_task("inpaint")
    z = np.random.default_rng(5).standard_normal((50, 20, 2))
    predictions = tasks.predict(data, {"z": z})
    assert predictions.log_density.shape == (48, 20) and predictions.mean.shape == (16, 20, 2)
    one_by_one = special.expit(data.network(z[:48]))[:, :, 2:].reshape(16, 3, 20, 2).mean(axis=1)
    assert predictions.mean == pytest.approx(one_by_one)
    assert tasks.predict(data, {"z": z[:5]}).mean.shape == (5, 20, 2)


def test_pixels_in_pieces_are_as_at_once(monkeypatch):
    data = a_task("denoise")
    z = {"z": np.random.default_rng(6).standard_normal((160, 20, 2))}
    together = tasks.predict(data, z)
    monkeypatch.setattr(questions, "CHUNK", 3 * 80)
    pieces = tasks.predict(data, z)
    assert pieces.mean == pytest.approx(together.mean) and np.array_equal(pieces.log_density, together.log_density)


@pytest.mark.parametrize("flip", [0.01, 0.1, 0.5])
def test_noisy_pixels_have_the_channels_probabilities(flip: float):
    decoder = a_decoder(scale=4.0)
    z = np.random.default_rng(7).standard_normal((5, 2))
    noisy = questions.Noisy(decoder.weights, flip)
    clean = special.expit(decoder(z))
    assert special.expit(noisy(z)) == pytest.approx((1 - flip) * clean + flip * (1 - clean), rel=1e-12)
    assert np.exp(noisy.log_likelihood(ALL, z)).sum(axis=0) == pytest.approx(np.ones(5))
    assert posteriors(noisy, ALL).tolerance < 1e-6


# Questions


def test_what_is_asked():
    data = a_task("denoise")
    question = tasks.question(data)
    assert np.array_equal(question.clean, data.dataset.test) and np.array_equal(tasks.queries(data), question.observed)
    flips = question.observed != question.clean
    assert 0 < flips.mean() < 0.5
    assert np.array_equal(tasks.question(a_task("denoise", dataset=data.dataset)).observed, question.observed)
    other = tasks.question(a_task("denoise", dataset=data.dataset, split=1)).observed
    assert not np.array_equal(other, question.observed)

    hidden = tasks.question(a_task("inpaint"))
    assert np.isnan(hidden.observed[:, 2:]).all() and np.array_equal(hidden.observed[:, :2], hidden.clean[:, :2])
    assert np.array_equal(hidden.seen[:, 2:], np.tile(data.dataset.train.mean(axis=0)[2:], (20, 1)))
    assert np.array_equal(tasks.queries(a_task("reconstruct")), data.dataset.test)
    for task in ("compare", "generate", "interpolate", "compress"):
        other = a_task(task)
        assert tasks.queries(other) is None and tasks.predict(other, {"z": np.zeros((1, 20, 2))}) is None
        assert tasks.exact_queries(other, np.random.default_rng(0), 4) is None


def test_the_noise_flips_as_often_as_it_says():
    clean = np.zeros((500, 100))
    flips = ask("denoise", clean, some_images(), (0, 0)).observed.mean()
    assert abs(flips - 0.1) < 4 * np.sqrt(0.1 * 0.9 / clean.size)


def test_the_lower_half_of_an_odd_height_has_the_middle_row():
    assert questions.lower_half((3, 2)).tolist() == [2, 3, 4, 5]
    assert questions.lower_half((2, 3)).tolist() == [3, 4, 5]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"task": "paint"}, ["task is 'paint'", "inpaint", "compare"]),
        ({"task": "denoise", "pixels": "grey"}, ["binary"]),
        ({"task": "interpolate", "latent": 3}, ["latent is 3", "1 or 2"]),
        ({"task": "inpaint", "dataset": some_images((1, 4))}, ["one row"]),
    ],
)
def test_a_task_that_cannot_be_done_is_refused_in_one_line(fields: dict, words: list[str]):
    with pytest.raises(ValueError) as refused:
        Autoencoder.check_task(SimpleNamespace(**{**vars(a_task("compare")), **fields}))
    assert "\n" not in str(refused.value) and all(word in str(refused.value) for word in words)


def test_every_task_is_allowed_and_described():
    assert set(TASKS) == {*QUESTIONS, "generate", "interpolate", "compress"}
    for task in (*TASKS, "compare"):
        Autoencoder.check_task(a_task(task))
        assert ("what it does" in Autoencoder(task=task).describe()) == (task != "compare")
    Autoencoder.check_task(a_task("compare", pixels="grey"))


# Guesses


def test_the_mean_image_ignores_what_was_observed_and_the_noisy_image_does_not():
    data = a_task("denoise")
    guesses, middle = baselines.guesses(data), (data.dataset.train.sum(axis=0) + 1) / 62
    test = data.dataset.test
    assert guesses["mean image"].mean[0] == pytest.approx(np.tile(middle, (20, 1)))
    by_hand = np.log(np.where(test == 1, middle, 1 - middle)).sum(axis=1)
    assert guesses["mean image"].log_density[0] == pytest.approx(by_hand)
    noisy = tasks.question(data).observed
    lit, dark = middle * np.where(noisy == 1, 0.9, 0.1), (1 - middle) * np.where(noisy == 1, 0.1, 0.9)
    assert guesses["noisy image"].mean[0] == pytest.approx(lit / (lit + dark))


def test_the_nearest_neighbour_looks_at_what_was_observed_only():
    train = np.array([[0, 0, 1, 1], [1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1.0]])
    observed = np.array([[1, 1, np.nan, np.nan], [0, 0, np.nan, np.nan], [1, 0, np.nan, np.nan], [1, 0, 0, 1.0]])
    assert baselines.nearest(observed, train).tolist() == [1, 0, 2, 3]
    assert questions.n_differing(observed, train)[0].tolist() == [2, 0, 1, 1]


@pytest.mark.parametrize(("task", "share"), [("reconstruct", 0.01), ("inpaint", 0.7)])
def test_validation_images_choose_the_smoothing(task: str, share: float):
    """Copies of training images want the least of it, and halves that know nothing of each other the most."""
    images, rng = some_images((3, 4)), np.random.default_rng(8)
    copies, noise = images.train[:20], rng.integers(0, 2, (200, 12)).astype(float)
    chosen = copies if task == "reconstruct" else noise
    data = a_task(task, dataset=Images(images.train, chosen, images.test, images.shape))
    question = tasks.question(data)
    near = images.train[baselines.nearest(question.observed, images.train)]
    smoothed = (1 - share) * near + share * independent(images.train).means
    assert baselines.guesses(data)["nearest neighbour"].mean[0] == pytest.approx(smoothed[:, question.places])


def test_as_many_principal_components_as_pixels_are_the_image():
    images = np.random.default_rng(9).integers(0, 2, (30, 4)).astype(float)
    assert baselines.projected(images[:5], images, 4) == pytest.approx(images[:5])
    mean = np.tile(images.mean(axis=0), (5, 1))
    assert baselines.projected(images[:5], images, 0) == pytest.approx(mean)


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_baselines_with_scores(task: str):
    for baseline in tasks.baselines(a_task(task)).values():
        scores = score(baseline)
        assert scores and all(np.isfinite(numbers.value) for numbers in scores.values())
    assert tasks.baselines(a_task("compare")) == {}


# Generation and interpolation


def test_generated_images_are_as_probable_as_the_model_says():
    """Their mean log evidence is minus the entropy of the model, within 4 errors."""
    data = a_task("generate", dataset=some_images(counts=(60, 20, 2000)))
    evidence = posteriors(data.network, ALL).log_evidences
    assert np.exp(evidence).sum() == pytest.approx(1.0)
    row = generation.generation(data)["generated images"]
    error = row["log_evidence"]["mcse"]
    assert 0 < error < 0.05 and row["log_evidence"]["sampling"] is None
    assert abs(row["log_evidence"]["value"] - np.exp(evidence) @ evidence) < 4 * error
    assert abs(row["lit"]["value"] - np.exp(evidence) @ ALL.mean(axis=1)) < 4 * row["lit"]["mcse"]


def test_generation_follows_from_the_split():
    first, same, other = (generation.generate(a_task("generate", split=split)) for split in (0, 0, 1))
    assert np.array_equal(first.images, same.images) and not np.array_equal(first.z, other.z)
    assert set(np.unique(first.images)) <= {0.0, 1.0}


def test_without_quadrature_there_is_no_evidence():
    row = generation.generation(a_task("generate", latent=3))
    assert set(row["generated images"]) == {"lit", "distance"}
    assert tasks.exact_predictions(a_task("inpaint", latent=3)) is None
    assert tasks.exact_queries(a_task("inpaint", latent=3), np.random.default_rng(0), 4) is None


def test_paths_lead_from_one_posterior_mean_to_the_other():
    data = a_task("interpolate")
    (path,) = generation.lines(data)
    exact, labels = posteriors(data.network, data.dataset.test), data.dataset.test_labels
    assert labels[path.first] != labels[path.second]
    assert path.z[0] == pytest.approx(exact.means[path.first])
    assert path.z[4] == pytest.approx((exact.means[path.first] + exact.means[path.second]) / 2)
    assert path.z[-1] == pytest.approx(exact.means[path.second])
    assert path.log_prior == pytest.approx(stats.norm.logpdf(path.z).sum(axis=1))
    # The average posterior from Bayes' rule: the prior times the mean of p(x | z) / p(x).
    likelihood = data.network.log_likelihood(data.dataset.test, path.z)
    ratio = np.exp(likelihood - exact.log_evidences[:, None]).mean(axis=0)
    assert path.log_aggregate == pytest.approx(path.log_prior + np.log(ratio))


def test_the_images_on_the_way_are_as_probable_as_enumeration_says():
    data = a_task("interpolate")
    (path,) = generation.lines(data)
    evidence = posteriors(data.network, ALL).log_evidences
    share = probabilities(data.network(path.z))
    expected = share @ evidence
    error = np.sqrt((share @ evidence**2 - expected**2) / generation.DRAWN)
    assert np.all(np.abs(path.log_decoded - expected) < 4 * error)
    assert np.all(path.errors[0] > 0) and path.errors[1, [0, -1]] == pytest.approx(0.0, abs=1e-12)
    ends = posteriors(data.network, data.dataset.test[[path.first, path.second]]).log_evidences
    assert path.log_mixed[[0, -1]] == pytest.approx(ends)


def test_pairs_are_of_different_classes_and_come_without_labels_too():
    labels = np.array([3, 3, 1, 7, 1, 9, 4])
    data = SimpleNamespace(dataset=SimpleNamespace(test=np.zeros((7, 4)), test_labels=labels))
    assert generation.pairs(data) == [(2, 0), (6, 3)]
    data.dataset.test_labels = None
    assert generation.pairs(data) == [(0, 1), (2, 3), (4, 5)]
    data.dataset.test_labels = np.full(7, 3)
    assert generation.pairs(data) == [(0, 1), (2, 3), (4, 5)]


# Compression


def test_bits_are_those_of_a_code():
    """Bits of all 16 images make a complete code: the sum of 2^-bits is 1 (Kraft)."""
    data = a_task("compress")
    vars(data.dataset)["test"] = ALL
    evidence = posteriors(data.network, ALL).log_evidences
    each = np.array([compression.bits(np.array([bits, bits]), 4)["value"] for bits in evidence])
    assert (2.0 ** (-4 * each)).sum() == pytest.approx(1.0, abs=1e-6)
    assert score(tasks.exact_predictions(data))["bits"].value == pytest.approx(each.mean())


def test_a_guides_bits_and_their_error_by_hand():
    elbo, errors = np.log(2) * np.array([-4.0, -8.0]), np.log(2) * np.array([0.3, 0.4])
    tree = xr.DataTree.from_dict(
        {"test_set": xr.Dataset({"elbo": ("image", elbo), "elbo_mcse": ("image", errors)})}
    )  # fmt: skip
    scores = tasks.scores(a_task("compress"), tree)
    assert set(scores) == {"bits"}
    assert scores["bits"]["value"] == pytest.approx(6 / 4)
    assert scores["bits"]["mcse"] == pytest.approx(0.5 / 2 / 4)
    assert scores["bits"]["sampling"] == pytest.approx(np.std([1.0, 2.0], ddof=1) / np.sqrt(2))
    assert tasks.scores(a_task("compare"), tree) == {} == tasks.scores(a_task("compress"), xr.DataTree())


def test_the_compressors_files_hold_the_images():
    """What is counted is what a file has that opens to the same image."""
    data = a_task("compress", dataset=some_images((5, 7)))
    image = data.dataset.test[0].reshape(5, 7).astype(bool)
    content = compression.png(image)
    with Image.open(io.BytesIO(content)) as read:
        assert read.mode == "1" and np.array_equal(np.array(read), image)

    packed, dictionary = np.packbits(image).tobytes(), np.packbits(data.dataset.train.astype(bool), axis=1).tobytes()
    unpacked = zlib.decompressobj(zdict=dictionary).decompress(compression.with_dictionary(packed, dictionary))
    assert unpacked == packed
    rows = compression.compressors(data)
    one_by_one = [
        8 * len(zlib.compress(np.packbits(image.astype(bool)).tobytes(), 9)) / 35 for image in data.dataset.test
    ]
    assert rows["zlib, one by one"]["bits"]["value"] == pytest.approx(np.mean(one_by_one))
    assert rows["zlib, all together"]["bits"]["value"] < rows["zlib, one by one"]["bits"]["value"]
    assert rows["zlib, all together"]["bits"]["sampling"] is None
    guess = independent(data.dataset.train).means[0]
    by_hand = -np.log2(np.where(data.dataset.test == 1, guess, 1 - guess)).mean()
    assert rows["independent pixels"]["bits"]["value"] == pytest.approx(by_hand)
