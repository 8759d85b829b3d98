"""What is computed once is computed anew for whatever it depends on: each of these varied alone, and put back."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import models
from compare.fit import groups
from compare.fit.amortized import local_posteriors
from compare.user_model.surroundings import surroundings
from models.decoder import Decoder
from models.dlgm.exact import nested
from models.dlgm.layers import Layers
from models.image_posteriors import posteriors

X, Y = np.array([0, 1, 2, 3, 5, 8, 11, 13, 17, 20, 22, 29]), np.array([0, 0, 1, 0, 1, 1, 0, 0, 1, 1, 0, 1])
REGRESSION, WORDS = {"x": X, "y": Y}, {"bank": np.array([2, 1, 0]), "river": np.array([1, 0, 3])}

FILES: dict[str, tuple[str, str, dict[str, Any], dict[str, np.ndarray]]] = {
    "linear": ("models.linear.noise", "MixedRegression", {"target": "y", "prior": "uniform"}, REGRESSION),
    "logistic": ("models.logits", "QuadraturePosterior", {"target": "y"}, REGRESSION),
    "gp": (
        "models.gp.hyperparameters",
        "UnknownHyperparameters",
        {"target": "y", "hyperparameters": "unknown"},
        REGRESSION,
    ),
    "bnn": (
        "models.bnn.exact",
        "QuadraturePosterior",
        {"target": "y", "task": "regression", "hidden": 1, "noise": 0.5},
        REGRESSION,
    ),
    "lda": ("models.lda.exact", "CountTables", {}, WORDS),
    "mixture": ("models.mixture", "EnumeratedMixture", {"column": "x"}, {"x": X[:6]}),
}
"""The models whose data may be a file: what makes the posterior, the options, and the file's columns."""


def write(path: Path, columns: dict[str, np.ndarray]) -> None:
    rows = zip(*columns.values(), strict=True)
    path.write_text("\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)]), encoding="utf-8")


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_which_one_column_changed_has_another_posterior(name, tmp_path, monkeypatch):
    """Though its name, and so the data's fields, are the same; as it was, it has the one that it had."""
    module, posterior_class, options, columns = FILES[name]
    stub = {"tolerance": 0.0, "is_resolved": True}
    monkeypatch.setattr(import_module(module), posterior_class, lambda data: SimpleNamespace(**stub))
    path = tmp_path / "table.csv"

    def data() -> Any:
        return models.load(name).data(data=str(path), **options)

    write(path, columns)
    before, model = data(), models.load(name)
    first = model.truth(before)
    assert vars(first) == stub, "no other way to the posterior is taken"
    for column, values in columns.items():
        write(path, columns | {column: values[::-1]})
        assert data() == before and model.truth(data()) is not first, column
    write(path, columns)
    assert model.truth(data()) is first


def test_draws_from_the_prior_are_one_comparisons(monkeypatch):
    """The same for its fits in a library; others for another model, library, seed or other data."""
    monkeypatch.setattr(groups, "_priors", {})
    monkeypatch.setattr(groups, "drawn_prior", lambda job, library, latents: object())
    given = {"model": "coin", "seed": 0, "data": object()}

    def drawn(library: str = "numpyro", **other: Any) -> Any:
        return groups.prior_of(SimpleNamespace(name=object(), **given | other), library, {})

    first = drawn()
    assert drawn() is first
    others = [drawn("pyro"), drawn(model="chain"), drawn(seed=1), drawn(data=object())]
    assert len({id(each) for each in (first, *others)}) == 5


def test_the_best_posteriors_of_observations_are_one_decoders(monkeypatch):
    """The same for every fit of a family; others for another library or family, other observations or weights."""
    monkeypatch.setattr(local_posteriors, "_best", {})
    monkeypatch.setattr(local_posteriors, "search", lambda *given: object())
    test, decoder = np.arange(6.0).reshape(2, 3), {"noise": np.array(1.0), "weights": np.arange(3.0)}

    def best(library: Any = np, family: str = "flow", **other: Any) -> Any:
        training = SimpleNamespace(**{"test": test.copy(), "decoder": dict(decoder)} | other)
        return local_posteriors.best(library, "vae", family, training)

    first = best()
    assert best() is first
    others = [best(pytest), best(family="mixture"), best(test=test + 1)]
    others += [best(decoder=decoder | {name: value + 1}) for name, value in decoder.items()]
    assert len({id(each) for each in (first, *others)}) == 6


@pytest.mark.parametrize("part", ["upper", "lower", "images", "order", "count"])
def test_the_integrals_of_a_deep_posterior_are_those_of_its_layers_and_images(part):
    """The same for equal content; another where a network, an image, their order or their count differs."""
    rng = np.random.default_rng(5)
    hidden = {"hidden_weights": rng.normal(size=(1, 2)), "hidden_biases": rng.normal(size=2)}
    lower = hidden | {"output_weights": rng.normal(size=(2, 3)), "output_biases": rng.normal(size=3)}
    upper = hidden | {"output_weights": rng.normal(size=(2, 1)), "output_biases": np.ones(1), "noise": np.array(0.5)}
    images = np.array([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]])

    def evidences(upper=upper, lower=lower, images=images):
        layers, places = Layers(Decoder(upper), Decoder(lower)), images.copy()
        return nested(layers, places).log_evidences, posteriors(layers, places).log_evidences

    def grown(weights):
        return weights | {"output_weights": weights["output_weights"] + 1}

    first = evidences()
    assert all(left is right for left, right in zip(first, evidences(), strict=True))
    changed = {
        "upper": {"upper": grown(upper)}, "lower": {"lower": grown(lower)}, "images": {"images": 1 - images},
        "order": {"images": images[::-1]}, "count": {"images": images[:1]},
    }[part]  # fmt: skip
    for before, after in zip(first, evidences(**changed), strict=True):
        assert before.shape != after.shape or not np.allclose(before, after)
    assert evidences()[0] is first[0]


FACTOR = {0: 1.0}


def scaled(value):
    return FACTOR[0] * value


class Scaled:
    """A model that is an object, or a method of one."""

    def __init__(self) -> None:
        self.scale = {0: 1.0}

    def __call__(self, y):
        return self.scale[0] * y

    def method(self, y):
        return self.scale[0] * y


def readers():
    """Functions with what they read: a global, one by another function, one within, what encloses them, an object."""
    enclosing, called = {0: 1.0}, Scaled()

    def within(y):
        return [scaled(value) for value in y]

    yield lambda y: FACTOR[0] * y, FACTOR
    yield lambda y: scaled(y), FACTOR
    yield within, FACTOR
    yield lambda y: enclosing[0] * y, enclosing
    yield called, called.scale
    yield called.method, called.scale


@pytest.mark.parametrize(("function", "read"), list(readers()))
def test_what_a_model_reads_beside_its_arguments_is_seen(function, read, monkeypatch):
    before = surroundings(function)
    assert surroundings(function) == before
    monkeypatch.setitem(read, 0, 2.0)
    assert surroundings(function) != before


def test_a_variable_that_is_not_assigned_yet_is_nothing_that_a_model_reads():
    seen = surroundings(lambda y: later * y)
    later = 1.0
    assert seen == {} and later
