"""The decoder in NumPy: its likelihood, the slope of that, and the file that its weights are saved to."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from models.decoder import Decoder, softplus


def make_decoder(latent=2, hidden=7, pixels=5, noise=None, seed=0):
    rng = np.random.default_rng(seed)
    weights = {"output_weights": rng.normal(size=(hidden or latent, pixels)), "output_biases": rng.normal(size=pixels)}
    if hidden:
        weights |= {"hidden_weights": rng.normal(size=(latent, hidden)), "hidden_biases": rng.normal(size=hidden)}
    return Decoder(weights if noise is None else weights | {"noise": np.array(noise)})


KINDS = [
    pytest.param({"hidden": hidden, "noise": noise}, id=f"{'linear' if hidden == 0 else 'softplus'}-{noise}")
    for hidden in (0, 7)
    for noise in (None, 0.3)
]


def observed(decoder, count, seed=1):
    rng = np.random.default_rng(seed)
    return rng.random((count, decoder.pixels)) if decoder.grey else rng.integers(0, 2, (count, decoder.pixels)) * 1.0


def test_softplus_is_log_one_plus_exp():
    values = np.concatenate([np.linspace(-50, 50, 1001), [-1e3, 1e3, 1e308, -1e308]])
    np.testing.assert_allclose(softplus(values), np.logaddexp(0, values), rtol=1e-15, atol=1e-16)


@pytest.mark.parametrize("kind", KINDS)
def test_the_likelihood_is_that_of_the_pixels(kind):
    decoder = make_decoder(**kind)
    z, images = np.random.default_rng(2).normal(size=(11, 2)), observed(decoder, 4)
    w = decoder.weights
    units = np.logaddexp(0, z @ w["hidden_weights"] + w["hidden_biases"]) if decoder.hidden else z
    outputs = units @ w["output_weights"] + w["output_biases"]
    np.testing.assert_allclose(decoder(z), outputs, atol=1e-13)
    if decoder.grey:
        pixelwise = stats.norm.logpdf(images[:, None], outputs, 0.3)
    else:
        pixelwise = stats.bernoulli.logpmf(images[:, None], special.expit(outputs))
    np.testing.assert_allclose(decoder.log_likelihood(images, z), pixelwise.sum(axis=2), atol=1e-10)
    assert (decoder.log_likelihood(images, z) <= decoder.ceilings(images)[:, None] + 1e-12).all()
    hidden = np.random.default_rng(3).random(images.shape) < 0.4
    partial = np.where(hidden, np.nan, images)
    expected = np.where(hidden[:, None], 0.0, pixelwise).sum(axis=2)
    np.testing.assert_allclose(decoder.log_likelihood(partial, z), expected, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("partial", [False, True])
def test_the_slope_is_the_derivative(kind, partial):
    decoder = make_decoder(**kind)
    images, z = observed(decoder, 4), np.random.default_rng(2).normal(size=(3, 4, 2))
    if partial:
        images[np.random.default_rng(3).random(images.shape) < 0.4] = np.nan
    value, slope = decoder.at(images, z)
    for chain in range(3):
        np.testing.assert_allclose(value[chain], np.diag(decoder.log_likelihood(images, z[chain])), atol=1e-10)
    for axis in range(2):
        move = 1e-5 * np.eye(2)[axis]
        numeric = (decoder.at(images, z + move)[0] - decoder.at(images, z - move)[0]) / 2e-5
        np.testing.assert_allclose(slope[..., axis], numeric, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(decoder.at(images, z[0])[1], slope[0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_decoder_is_saved_and_loaded(tmp_path, kind):
    decoder = make_decoder(**kind)
    path = decoder.save(tmp_path / "decoder.npz")
    loaded = Decoder.load(path)
    assert set(loaded.weights) == set(decoder.weights)
    assert all(np.array_equal(loaded.weights[name], value) for name, value in decoder.weights.items())
    assert (loaded.latent, loaded.hidden, loaded.pixels, loaded.grey) == (
        2,
        kind["hidden"],
        5,
        kind["noise"] is not None,
    )
    assert [entry.name for entry in tmp_path.iterdir()] == ["decoder.npz"]


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path, monkeypatch):
    def fails(file, **arrays):
        file.write(b"half")
        raise OSError("no space")

    monkeypatch.setattr(np, "savez", fails)
    with pytest.raises(OSError, match="no space"):
        make_decoder().save(tmp_path / "decoder.npz")
    assert not list(tmp_path.iterdir())


def test_weights_of_float32_become_float64():
    decoder = Decoder({name: value.astype(np.float32) for name, value in make_decoder().weights.items()})
    assert {value.dtype for value in decoder.weights.values()} == {np.dtype(np.float64)}


def without(name):
    return {key: value for key, value in make_decoder().weights.items() if key != name}


BAD = {
    "missing": (without("output_biases"), "needs the array 'output_biases'"),
    "half a layer": (without("hidden_biases"), "needs the array 'hidden_biases'"),
    "unknown": (dict(make_decoder().weights) | {"encoder": np.ones(1)}, "has no array 'encoder'"),
    "empty": ({}, "needs the array 'output_weights'; it has none"),
    "misshapen": (dict(make_decoder().weights) | {"output_biases": np.ones(4)}, "5 columns and output_biases 4"),
    "layers differ": (
        dict(make_decoder().weights) | {"output_weights": np.ones((6, 5))},
        "7 units and output_weights 6 rows",
    ),
    "dimensions": (dict(make_decoder().weights) | {"output_biases": np.ones((5, 1))}, r"has shape \(5, 1\)"),
    "no pixels": (dict(make_decoder(hidden=0).weights) | {"output_biases": np.ones(0)}, r"has shape \(0,\)"),
    "nan": (dict(make_decoder().weights) | {"output_biases": np.full(5, np.nan)}, "not finite"),
    "text": (dict(make_decoder().weights) | {"output_biases": np.full(5, "a")}, "has no numbers"),
    "noise": (dict(make_decoder().weights) | {"noise": np.array(0.0)}, "noise of a decoder is 0; give 1e-12 or more"),
    "huge": (
        dict(make_decoder().weights) | {"output_biases": np.full(5, -1e200)},
        "'output_biases' has a value beyond",
    ),
}


@pytest.mark.parametrize(("weights", "message"), BAD.values(), ids=BAD)
def test_what_is_no_decoder_is_refused_by_file_too(tmp_path, weights, message):
    with pytest.raises(ValueError, match=message):
        Decoder(weights)
    path = tmp_path / "decoder.npz"
    np.savez(path, **weights)
    with pytest.raises(ValueError, match=message) as caught:
        Decoder.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_file_of_weights_is_refused(tmp_path):
    path = make_decoder().save(tmp_path / "decoder.npz")
    valid = path.read_bytes()
    for content in (b"", b"rubbish", b"PK", valid[:40], valid[: len(valid) // 2], valid[:-1]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"give a \.npz that a decoder was saved to") as caught:
            Decoder.load(path)
        assert "\n" not in str(caught.value)
    np.save(tmp_path / "array.npy", np.ones(3))
    with pytest.raises(ValueError, match="not the weights of a decoder"):
        Decoder.load(tmp_path / "array.npy")
    np.savez(path, output_weights=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="not the weights of a decoder"):
        Decoder.load(path)
    for missing in (tmp_path / "nothing.npz", path / "inside.npz"):
        with pytest.raises(ValueError, match=r"there is no file|cannot be read"):
            Decoder.load(missing)
    with pytest.raises(ValueError, match="cannot be read"):
        Decoder.load(tmp_path)
