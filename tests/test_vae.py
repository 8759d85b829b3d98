"""The autoencoder: members of families against each other, encoders against the exact posterior, what is refused."""

from __future__ import annotations

import math
from functools import cache
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from conftest import LIBRARIES

import guides
from compare.cli.main import main
from compare.comparison import Fit, Job, Request
from compare.fit import run
from compare.fit.amortized.encoder import local_posterior
from compare.measure.held_out import ledger, weights
from compare.measure.measures import measure
from compare.options import Options
from compare.plan import plan, trainings
from compare.summary import to_json
from models.contract import UnknownName
from models.decoder import Decoder
from models.image_posteriors import posteriors
from models.linear_decoder import most_likely
from models.vae import MODEL, Autoencoder

FAMILIES = MODEL.guides
CONTAINED = [(small, large) for large in FAMILIES for small in local_posterior(large).contains]
LONG = {("pyro", "mixture"), ("pyro", "flow"), ("numpyro", "mixture"), ("numpyro", "flow")}
"""Encoders that take long to learn, of families whose members `test_a_member_has_one_density_three_times` has."""


def case_of(library: str, *families: str):
    """A case of these encoders, slow where one of them takes long."""
    is_slow = any((library, family) in LONG for family in families)
    return pytest.param(*families, library, id="-".join([library, *families]), marks=[pytest.mark.slow] * is_slow)


def some_rows(family: str, latent: int, count: int = 4, spread: float = 0.5) -> np.ndarray:
    """Rows about the family's start."""
    rows = local_posterior(family).size(latent)
    return local_posterior(family).start(latent) + spread * np.random.default_rng(latent).normal(size=(count, rows))


def plane(reach: float, points: int) -> tuple[np.ndarray, float]:
    """A grid, shape (points^2, 2), and the area of a cell."""
    line = np.linspace(-reach, reach, points)
    grid = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)
    return grid, (line[1] - line[0]) ** 2


@cache
def decoder() -> Decoder:
    """A small decoder of 64 pixels whose posteriors are narrow, bent and slanted."""
    rng = np.random.default_rng(8)
    return Decoder(
        {
            "hidden_weights": 1.5 * rng.normal(size=(2, 12)),
            "hidden_biases": rng.normal(size=12),
            "output_weights": rng.normal(0, 0.7, (12, 64)),
            "output_biases": rng.normal(size=64),
        }
    )


@cache
def data() -> Autoencoder:
    return Autoencoder(hidden=32, epochs=40, network=trained())


@cache
def trained() -> Decoder:
    """A decoder that was trained on the digits, not to the end."""
    learning = run(
        Job("numpyro-mean_field", "vae", Autoencoder(hidden=32, epochs=80), "training", "numpyro", "mean_field")
    )
    assert learning.status == "done", learning.reason
    return MODEL.amortization.with_decoder(Autoencoder(), weights(learning)).network


@cache
def fitted(library: str, family: str) -> Fit:
    """An encoder on that decoder."""
    fit = run(Job(f"{library}-{family}", "vae", data(), "amortised", library, family))
    assert fit.status == "done", fit.reason
    return fit


def library_of(name: str, family: str, latent: int):
    return import_module(f"compare.fit.amortized.amortised_{name}").networks("vae", family, latent)


@pytest.mark.usefixtures("quickly_compiled")
@pytest.mark.parametrize("latent", [1, 2, 5])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_member_has_one_density_three_times(family, latent, library):
    """The library's own distribution, what it makes of its draws without inverting them, and NumPy."""
    rows, kinds = some_rows(family, latent), local_posterior(family).strata
    rng = np.random.default_rng(1)
    weights = {"output_weights": rng.normal(size=(latent, 5)), "output_biases": rng.normal(size=5)}
    images = (rng.random((len(rows), 5)) < 0.5).astype(float)
    eps = rng.standard_normal((7, len(rows), kinds, latent))
    z, log_prior, log_likelihood, log_guide, shares = library_of(library, family, latent).weigh(
        rows, images, weights, eps
    )
    assert z.dtype == log_guide.dtype == np.float64
    for kind in range(kinds):
        points = z[:, :, kind].swapaxes(0, 1)
        assert np.allclose(
            local_posterior(family).log_density(rows, points).T, log_guide[:, :, kind], rtol=0, atol=1e-9
        )
    value = Decoder(weights).at(images, z.swapaxes(1, 2))[0].swapaxes(1, 2)
    assert np.allclose(value, log_likelihood, rtol=0, atol=1e-9)
    normal = -0.5 * (z**2).sum(-1) - 0.5 * latent * math.log(2 * math.pi)
    assert np.allclose(normal, log_prior, rtol=0, atol=1e-9)
    assert np.allclose(shares.sum(-1), 1)
    assert np.allclose(direct(library, family, latent, rows, z[0, :, 0]), log_guide[0, :, 0], rtol=0, atol=1e-9)


def direct(library: str, family: str, latent: int, rows: np.ndarray, z: np.ndarray) -> np.ndarray:
    """log q(z) as the library's distribution gives it for points that it did not draw."""
    distribution = guides.implementation(family, library).local_posterior
    if library == "numpyro":
        import jax

        return np.asarray(jax.vmap(lambda row, point: distribution(row, latent).log_prob(point))(rows, z))
    import torch

    torch.set_default_dtype(torch.float64)  # the transform's inverse makes numbers of its own
    return distribution(torch.tensor(rows), latent).log_prob(torch.tensor(z)).numpy()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_member_is_normalised(family):
    grid, area = plane(14.0, 701)
    density = np.exp(
        local_posterior(family).log_density(some_rows(family, 2, spread=0.3), np.repeat(grid[None], 4, axis=0))
    )
    assert np.allclose(density.sum(axis=1) * area, 1, atol=1e-5)


@pytest.mark.parametrize(("small", "large"), CONTAINED)
def test_a_larger_family_contains_the_smaller(small, large):
    """KL of a member of the smaller family from the member of the larger that it becomes, by quadrature."""
    rows = some_rows(small, 2)
    grid, area = plane(10.0, 401)
    points = np.repeat(grid[None], len(rows), axis=0)
    inner = local_posterior(small).log_density(rows, points)
    outer = local_posterior(large).log_density(local_posterior(large).contains[small](rows, 2), points)
    assert np.abs((np.exp(inner) * (inner - outer)).sum(axis=1) * area).max() < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_the_elbo_is_the_one_of_quadrature(family, library):
    """E_q[log p(x, z) - log q(z)] of some members, by draws and by a sum over the plane, within 4 standard errors."""
    rows, kinds = some_rows(family, 2, spread=0.3), local_posterior(family).strata
    images = (np.random.default_rng(2).random((len(rows), 64)) < 0.5).astype(float)
    eps = np.random.default_rng(3).standard_normal((2000, len(rows), kinds, 2))
    _, prior, likelihood, guide, shares = library_of(library, family, 2).weigh(rows, images, decoder().weights, eps)
    each = (shares * (prior + likelihood - guide)).sum(-1)
    grid, area = plane(12.0, 481)
    log_q = local_posterior(family).log_density(rows, np.repeat(grid[None], len(rows), axis=0))
    joint = decoder().log_likelihood(images, grid) - 0.5 * (grid**2).sum(1) - math.log(2 * math.pi)
    exact = (np.exp(log_q) * (joint - log_q)).sum(axis=1) * area
    assert np.abs((each.mean(axis=0) - exact) / (each.std(axis=0, ddof=1) / math.sqrt(len(each)))).max() < 4


@pytest.mark.parametrize(
    ("family", "library"), [case_of(library, family) for library in LIBRARIES for family in FAMILIES]
)
def test_no_elbo_crosses_the_evidence_and_the_ledger_adds_up(family, library):
    """Image by image within 4 standard errors; nor is the encoder's better than the best member's."""
    fit, known = fitted(library, family), MODEL.amortization.held_out(data())
    group = fit.tree["test_set"].dataset
    assert (group["elbo"] <= known.values + 4 * group["elbo_mcse"] + 1e-9).all()
    assert (group["best_elbo"] <= known.values + 4 * group["best_elbo_mcse"] + 1e-9).all()
    error = np.hypot(group["elbo_mcse"], group["best_elbo_mcse"])
    assert (group["elbo"] <= group["best_elbo"] + 4 * error).all()
    terms = {name: term["value"] for name, term in to_json(ledger(fit, known)).items()}
    assert terms["elbo"] == pytest.approx(terms["data_fit"] - terms["complexity"], abs=1e-9)
    assert terms["evidence_gap"] == pytest.approx(terms["family_gap"] + terms["amortisation_gap"], abs=1e-9)
    assert terms["evidence_gap"] == pytest.approx(terms["log_evidence"] - terms["elbo"], abs=1e-9)
    shown = to_json(measure(fit, MODEL.exact(data()), None))["ledger"]
    parts = shown["family_gap"]["value"] + shown["amortisation_gap"]["value"]
    assert shown["evidence_gap"]["value"] == pytest.approx(parts, abs=1e-9)
    assert shown["optimisation_gap"] is None


@pytest.mark.parametrize(
    ("small", "large", "library"),
    [case_of(library, *pair) for library in LIBRARIES for pair in [*CONTAINED, ("full_rank", "flow")]],
)
def test_family_gaps_are_nested(small, large, library):
    """The mean over the test images, within 4 standard errors."""
    less, more = (fitted(library, family).tree["test_set"].dataset for family in (small, large))
    error = np.linalg.norm(np.hypot(less["best_elbo_mcse"], more["best_elbo_mcse"])) / less.sizes["observation"]
    assert float(less["best_elbo"].mean()) <= float(more["best_elbo"].mean()) + 4 * error


@pytest.mark.parametrize(
    "family", [pytest.param(name, marks=[pytest.mark.slow] * (("pyro", name) in LONG)) for name in FAMILIES]
)
def test_the_libraries_find_the_same_best_members(family):
    """Mean ELBO over the test images: 4 Monte Carlo errors, and 0.01 nats that Adam may leave."""
    first, other = (fitted(library, family).tree["test_set"].dataset for library in LIBRARIES)
    error = np.linalg.norm(np.hypot(first["best_elbo_mcse"], other["best_elbo_mcse"])) / first.sizes["observation"]
    assert abs(float(first["best_elbo"].mean() - other["best_elbo"].mean())) < 0.01 + 4 * error


@pytest.mark.parametrize("library", ["numpyro", pytest.param("pyro", marks=pytest.mark.slow)])
def test_nuts_agrees_with_quadrature(library):
    """Means and sds of z of ten images within 4 standard errors."""
    fit = run(Job(f"{library}-nuts", "vae", data(), "nuts", library, options=Options(ess=1000)))
    assert fit.status == "done", fit.reason
    summary = to_json(measure(fit, MODEL.exact(data()), None))
    assert summary["diagnostics"]["r_hat"] < 1.01
    for entry in summary["variables"].values():
        assert abs(entry["mean_error"]) < 4 * entry["mcse_mean_error"]
        assert abs(entry["sd_ratio"] - 1) < 4 * entry["mcse_sd_ratio"]


def test_training_is_the_same_again(library):
    """The same seed, the same networks."""
    small = Autoencoder(hidden=4, epochs=3, network=decoder())
    first, again = (
        run(Job("one", "vae", small, "amortised", library, "mean_field", options=Options(draws=64))) for _ in range(2)
    )
    assert first.status == again.status == "done", first.reason
    assert first.tree["encoder"].dataset.identical(again.tree["encoder"].dataset)
    assert first.tree["test_set"].dataset.identical(again.tree["test_set"].dataset)


@pytest.mark.parametrize("library", ["numpyro", pytest.param("pyro", marks=pytest.mark.slow)])
def test_a_linear_autoencoder_learns_principal_components(library):
    """Of grey pixels a linear decoder has its maximum in closed form (Tipping & Bishop 1999), and full rank holds the
    posterior: the trained decoder comes near it (0.001 nats an image when this was written; small steps of Adam with
    noisy gradients leave something), and the ELBO near the evidence (0.03)."""
    grey = Autoencoder(pixels="grey", hidden=0, epochs=300, batch=32, images=2)
    learning = run(Job("one", "vae", grey, "training", library, "full_rank"))
    assert learning.status == "done", learning.reason
    ours = MODEL.amortization.with_decoder(grey, weights(learning)).network
    best = most_likely(grey.dataset.train, 2)
    reached, highest = (posteriors(network, grey.dataset.train).log_evidences.mean() for network in (ours, best))
    assert reached <= highest + 1e-9
    assert reached > highest - 0.02
    group, known = (
        learning.tree["test_set"].dataset,
        MODEL.amortization.held_out(MODEL.amortization.with_decoder(grey, weights(learning))).values,
    )
    error = 4 * np.linalg.norm(group["elbo_mcse"]) / len(known)
    assert -error <= float((known - group["elbo"]).mean()) < 0.1 + error


def test_what_is_trained_is_what_is_not_given():
    assert trainings(Request(MODEL, data())) == []
    jobs = trainings(Request(MODEL, Autoencoder(), guides=("mean_field", "flow")))
    assert [job.name for job in jobs] == ["numpyro-mean_field", "numpyro-flow", "pyro-mean_field", "pyro-flow"]
    assert {job.method for job in plan(Request(MODEL, data())) if job.guide} == {"amortised"}
    with pytest.raises(UnknownName, match="vae has no markov guide; choose from mean_field"):
        plan(Request(MODEL, data(), guides=("markov",)))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--latent 0", "latent is 0: give a whole number, 1 or more"),
        ("--latent 2.5", "2.5 is not a whole number"),
        ("--latent 500", "latent is 500: give 50 or less"),
        ("--hidden -1", "hidden is -1: give a whole number, 0 or more"),
        ("--images 0", "images is 0"),
        ("--images 181", "images is 181, but 180 are held out; give at most as many"),
        ("--batch 5000", "batch is 5000, but there are 1437 images to train on"),
        ("--data nowhere.npz", "nowhere.npz"),
        ("--decoder nowhere.npz", "there is no file nowhere.npz"),
        ("--decoder README.md", "README.md is not the weights of a decoder"),
        ("--pixels blue", "invalid choice"),
        ("--task dream", "task is 'dream': give compare, reconstruct"),
        ("--task inpaint --pixels grey", "the task inpaint is one of binary pixels"),
    ],
)
def test_bad_input_is_one_line(line, expected, capsys, tmp_path):
    assert main(["vae", *line.split(), "--out", str(tmp_path / "out")]) == 2
    out, err = capsys.readouterr()
    assert out == "" and expected in err and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_decoder_of_another_shape_is_refused(capsys, tmp_path: Path):
    path = tmp_path / "other.npz"
    Decoder({"output_weights": np.ones((2, 9)), "output_biases": np.zeros(9)}).save(path)
    assert main(["vae", "--decoder", str(path), "--out", str(tmp_path / "out")]) == 2
    assert "gives 9 pixels, but the images have 64" in capsys.readouterr().err
    decoder().save(path)
    assert main(["vae", "--decoder", str(path), "--latent", "3", "--out", str(tmp_path / "out")]) == 2
    assert "latent is 3, but decoder" in capsys.readouterr().err
    assert main(["vae", "--decoder", str(path), "--pixels", "grey", "--out", str(tmp_path / "out")]) == 2
    assert "is for binary pixels; give --pixels binary" in capsys.readouterr().err


def test_the_decoder_file_says_how_large_it_is(tmp_path: Path):
    path = decoder().save(tmp_path / "decoder.npz")
    given = Autoencoder(decoder=str(path))
    assert (given.latent, given.hidden) == (2, 12)
    assert given.network == decoder()
