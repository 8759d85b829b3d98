"""The forms that users have models, data and priors in: each gives what it should, or one line that says what to do."""

from __future__ import annotations

import inspect
import json
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from conftest import LIBRARIES
from scipy import integrate, special, stats

from compare import compare, user_model
from compare.cache.keys import canonical
from compare.cli.main import main
from compare.comparison import Job, Request
from compare.fit.density import log_densities
from compare.fit.reference.solve import checked, with_posterior
from compare.options import Options
from compare.user_model import simulation
from compare.user_model.arguments import Fixed, signature_of
from compare.user_model.drawing import DRAWN, NOTE
from compare.user_model.guides import find as find_guide
from compare.user_model.handlers import name_of
from compare.user_model.minimise import minimise
from compare.user_model.needed import fix_needed
from compare.user_model.source import libraries_used, locate

GROUPS = np.repeat(np.arange(6), 2)
TIED = {"x": np.array([-2.0, -1.5, -1.0, 0.0, 0.0, 0.7, 1.0, 2.0]), "y": np.array([0.0, 0, 0, 0, 1, 1, 1, 1])}


def written(library: str):
    """The module of models in one library, which is set to float64 first as the command does."""
    import_module(f"compare.user_model.in_{library}")
    return import_module(f"tests.user_models.forms_{library}")


def as_tensor(library: str, values: np.ndarray):
    """The library's own array."""
    module = import_module("torch" if library == "pyro" else "jax.numpy")
    return module.asarray(values)


def layout_of(library: str, model: object, data: object):
    mine = user_model.register(getattr(written(library), model) if isinstance(model, str) else model, library)
    return user_model.data_of(mine, data).layout


def posterior(library: str, name: str, data: object):
    """The posterior by quadrature, whatever time that takes."""
    mine = user_model.register(getattr(written(library), name), library)
    patient = Options(reference_budget=1000.0)
    given = with_posterior(Request(mine.model, user_model.data_of(mine, data), (library,), options=patient))
    assert given.posterior is not None, given.layout.notes
    return mine.model.truth(given)


VALUES = written("numpyro").VALUES
X = written("numpyro").X
SEEN = written("numpyro").SEEN


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_form_of_the_data_gives_the_same_model(library):
    """The same log joints at the same latents, whatever the data come in."""
    module = written(library)
    expected = layout_of(library, "normal", {"values": VALUES}).log_joints
    frame = pd.DataFrame({"values": VALUES})
    forms = {
        "options": {"values": VALUES, "prior": {"scale": 2.0, "kind": "wide"}, "verbose": False},
        "positional": (VALUES, 2.0),
        "grouped": ((VALUES, np.ones(12)),),
        "held": None,
        "method": None,
    }
    for name, data in forms.items():
        assert layout_of(library, name, data).log_joints == pytest.approx(expected, rel=1e-12), name
    for data in (
        lambda: {"values": list(VALUES)},
        frame,
        xr.Dataset({"values": ("row", VALUES)}),
        frame.to_dict("list"),
    ):
        assert layout_of(library, "normal", data).log_joints == pytest.approx(expected, rel=1e-12)
    alone = layout_of(library, "flat", {"values": VALUES}).log_joints
    for data in (VALUES, list(VALUES), frame["values"], xr.DataArray(VALUES), as_tensor(library, VALUES)):
        assert layout_of(library, "flat", data).log_joints == pytest.approx(alone, rel=1e-12)
    assert layout_of(library, module.closure(VALUES), {}).log_joints == pytest.approx(expected, rel=1e-12)
    given = user_model.data_of(user_model.register(module.options, library), forms["options"]).arguments()
    assert canonical(given) == canonical(dict(given)), "data in a dict can be hashed for the cache"
    if library == "pyro":
        assert layout_of(library, "module", (VALUES,)).log_joints == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("data", [VALUES, [VALUES, VALUES]])
def test_what_is_not_the_only_argument_is_refused(data):
    """Not even where the others have defaults: they may be what is observed."""
    mine = user_model.register(written("numpyro").normal, "numpyro")
    with pytest.raises(ValueError, match="the model has the arguments values, scale: give a dict of them"):
        user_model.data_of(mine, data)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_column_of_words_can_be_looked_up(library):
    frame = pd.DataFrame({"values": VALUES, "group": list("ab") * 6})
    half = layout_of(library, "normal", {"values": VALUES[::2]}).log_joints
    assert layout_of(library, "labelled", frame).log_joints == pytest.approx(half, rel=1e-12)


def test_arguments_are_described_as_they_were_given():
    mine = user_model.register(written("pyro").options, "pyro")
    given = user_model.data_of(mine, {"values": VALUES[:2], "prior": {"scale": 2.0, "of": ["a", "b"]}, "verbose": True})
    described = given.describe()
    assert described["prior"] == {"scale": 2.0, "of": ["a", "b"]} and described["verbose"] is True
    assert json.loads(json.dumps(described))["values"] == pytest.approx(VALUES[:2])


FILE = """
import numpy as np, numpyro, numpyro.distributions as dist

def model(y=None):
    mean = numpyro.sample("mean", dist.Normal(0, 2))
    numpyro.sample("y", dist.Normal(mean, 1.0).expand([3]).to_event(1), obs=y)

"""


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ("", "has no data: define data"),
        ('if __name__ == "__main__":\n    data = {"y": np.ones(3)}\n', "stand under if __name__"),
        ("data = {1.0, 2.0}\n", 'data is a set: give a dict of the model\'s arguments, such as {"y": ...}'),
        ("data = 'y.csv'\n", 'data is a str: give a dict of the model\'s arguments, such as {"y": ...}'),
        ("data = (np.ones(3), 2.0)\n", "too many positional arguments"),
        ('data = {"y": ["a", "b", "c"]}\n', "'y' holds 'a' and other words"),
    ],
)
def test_a_file_without_usable_data_is_refused_in_one_line(data, line, tmp_path, capsys):
    (tmp_path / "mine.py").write_text(FILE + data)
    assert main([str(tmp_path / "mine.py")]) == 2
    error = capsys.readouterr().err
    assert line in error and error.count("\n") == 1


def test_positional_arguments_beside_the_model(tmp_path):
    (tmp_path / "placed.py").write_text(FILE + "args = [np.ones(3)]\nkwargs = {}\n")
    mine, data = user_model.read(str(tmp_path / "placed.py"))
    assert user_model.data_of(mine, data).values["y"].tolist() == [1.0, 1.0, 1.0]


SHIFTED = """
import {library}, {library}.distributions as dist
from beside_shifted import SHIFT

data = {{"y": 1.0}}

def model(y):
    z = {library}.sample("z", dist.Normal(SHIFT, {scale}))
    {library}.sample("y", dist.Normal(z, 1.0), obs=y)
"""


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_file_is_read_as_it_now_is(library, tmp_path, monkeypatch):
    """By the same relative path: in another folder, and after it or its neighbour changed; a guide goes with it."""
    for folder, shift, scale in (("one", 0.5, 1.0), ("other", -0.25, 1.0), ("other", 2.0, 1.0), ("other", 2.0, 3.0)):
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        (place / "beside_shifted.py").write_text(f"SHIFT = {shift}  # {scale}, and so of another size\n")
        guide = "def guide(y):\n    pass\n" if folder == "one" else ""
        (place / "shifted.py").write_text(SHIFTED.format(library=library, scale=scale) + guide)
        monkeypatch.chdir(place)
        mine, data = user_model.read("shifted.py")
        given = user_model.data_of(mine, data)
        job = Job("exact", "shifted.py", given, "exact", library, layout=given.layout)
        prior, likelihood = log_densities(job, {"z": np.array([0.3, -1.0])})
        np.testing.assert_allclose(prior, stats.norm(shift, scale).logpdf([0.3, -1.0]), rtol=1e-10)
        np.testing.assert_allclose(likelihood, stats.norm.logpdf(1.0, [0.3, -1.0], 1.0), rtol=1e-10)
        assert (find_guide("shifted.py", "guide") is not None) == (folder == "one")
        assert user_model.find("shifted.py") is mine


@pytest.mark.parametrize("library", LIBRARIES)
def test_priors_that_cannot_be_drawn_from_or_overflow(library):
    """The model is looked at near the origin, and no draw from the prior is needed."""
    assert layout_of(library, "steep", {"x": X, "values": VALUES}).latents == {"slope": ()}
    if library == "numpyro":  # Pyro has no truncated distributions
        known = posterior(library, "truncated", {"values": VALUES})

        def weight(x, power):
            return x**power * np.exp(stats.t(3).logpdf(x) + stats.norm.logpdf(VALUES, x, 1.0).sum() + 18.0)

        mass, first = (integrate.quad(weight, 0, 5, args=(power,), epsabs=1e-14)[0] for power in (0, 1))
        assert known.log_evidence == pytest.approx(np.log(2 * mass) - 18.0, abs=1e-7)
        assert known.mean()["mean"] == pytest.approx(first / mass, abs=1e-6)


@pytest.mark.parametrize("form", ["inputs", "prior", "identity", "layer"])
def test_what_a_pyro_model_holds_in_float32_meets_float64(form):
    """Products of matrices of both types, which torch refuses, are taken in float64."""
    module, site = written("pyro"), "layer.weight" if form == "layer" else "weights"
    inputs = module.SINGLE.double().numpy()
    known = posterior(
        "pyro", f"{form}_in_float32", {"values": VALUES} | ({} if form == "inputs" else {"inputs": inputs})
    )
    covariance = np.linalg.inv(np.eye(2) + inputs.T @ inputs)
    np.testing.assert_allclose(known.mean()[site].ravel(), covariance @ inputs.T @ VALUES, atol=1e-6)
    evidence = stats.multivariate_normal.logpdf(VALUES, np.zeros(12), np.eye(12) + inputs @ inputs.T)
    assert known.log_evidence == pytest.approx(evidence, abs=1e-6)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_line_under_a_flat_prior_is_least_squares(library):
    known, design = posterior(library, "flat_line", {"x": X, "values": VALUES}), np.stack([np.ones(12), X], axis=1)
    np.testing.assert_allclose(known.mean()["beta"], np.linalg.lstsq(design, VALUES)[0], atol=1e-6)
    np.testing.assert_allclose(known.sd()["beta"], np.sqrt(np.diag(np.linalg.inv(design.T @ design))), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_mean_and_a_log_scale_under_flat_priors_have_a_student_t(library):
    known, squares = posterior(library, "masked_flat", {"values": VALUES}), VALUES.var() * 12
    assert known.mean()["mean"] == pytest.approx(VALUES.mean(), abs=1e-6)
    assert known.sd()["mean"] == pytest.approx(np.sqrt(squares / (12 * 9)), abs=1e-6)
    assert known.mean()["log_scale"] == pytest.approx((np.log(squares / 2) - special.digamma(5.5)) / 2, abs=1e-6)
    assert known.sd()["log_scale"] == pytest.approx(np.sqrt(special.polygamma(1, 5.5)) / 2, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
def test_ordered_means_under_a_flat_prior_are_a_truncated_normal(library):
    known = posterior(library, "flat_order", {"values": VALUES})
    low, high = VALUES[:6].mean() - 1, VALUES[6:].mean() + 1
    gap = stats.truncnorm(-(high - low) * 3**0.5, np.inf, loc=high - low, scale=3**-0.5).mean()
    np.testing.assert_allclose(known.mean()["cuts"], (low + high + np.array([-gap, gap])) / 2, atol=1e-6)


@pytest.mark.parametrize("library", LIBRARIES)
def test_under_an_improper_prior_gaps_are_defined_and_the_evidence_is_not(library):
    summary = compare(written(library).flat, {"values": VALUES}, library, ["mean_field"], False).summary
    assert summary["log_evidence"] == {"value": None, "mcse": None, "method": "not defined: improper prior on mean"}
    assert any("the prior on mean is improper" in note for note in summary["notes"])
    fit = summary["fits"][f"{library}-mean_field"]
    assert fit["verdict"]["word"] == "agrees" and fit["without_truth"]["evidence"] is None
    assert fit["ledger"]["complexity"] is None and fit["ledger"]["evidence_gap"]["value"] == pytest.approx(0, abs=1e-4)
    flat = np.sum((VALUES - VALUES.mean()) ** 2) / -2 - 5.5 * np.log(2 * np.pi) - np.log(12) / 2
    assert fit["ledger"]["elbo"]["value"] == pytest.approx(flat, abs=1e-4)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    ("name", "data", "direction"),
    [
        ("two_intercepts", {"values": VALUES}, r"[+]0.71 a, -0.71 b"),
        ("separated", {"x": X}, r"[+]1.00 beta\[1\]"),
        ("flat_log_scale", {"values": VALUES, "group": GROUPS}, "-1.00 log_scale"),
        ("loose_component", {"values": VALUES}, "1.00 where"),
        ("nearly_separated", TIED, "[+]1.00 b"),
        ("one_over_scale", {"values": VALUES, "group": GROUPS}, "-1.00 scale"),
        ("unwrapped", {"values": VALUES}, r"[+]1.00 angle_unwrapped; .*leave out CircularReparam"),
    ],
)
def test_improper_posteriors_are_caught(library, name, data, direction):
    with pytest.raises(ValueError, match=f"the posterior is improper: .* direction .*{direction}") as caught:
        posterior(library, name, data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_density_without_bound_is_not_called_proper(library):
    """1 / scale, centred: the posterior is improper, which is not seen there; the report says not to trust it."""
    mine = user_model.register(written(library).centred_one_over_scale, library)
    given = user_model.data_of(mine, {"values": VALUES, "group": GROUPS})
    request = Request(mine.model, given, (library,), options=Options(reference_budget=1000.0))
    try:
        notes = checked(request, given).layout.notes
    except ValueError as error:
        assert str(error).startswith("the posterior is improper")
    else:
        assert any("whether the posterior is proper is not known" in note for note in notes), notes


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_flat_prior_on_the_scale_of_six_groups_is_proper(library):
    """Gelman (2006), Prior distributions for variance parameters: three groups suffice; at a scale of 0 the joint
    density has no bound, and yet the posterior is proper."""
    module, data = written(library), {"values": VALUES + 2.0 * GROUPS, "group": GROUPS}
    mine = user_model.register(module.flat_scale, library)
    given = with_posterior(Request(mine.model, user_model.data_of(mine, data), (library,)))
    assert given.layout.improper == ("mean", "scale")


@pytest.mark.parametrize("library", LIBRARIES)
def test_missing_values_that_are_latents_are_drawn_with_the_rest(library):
    """The mean given what is there; each missing value has its sd and the noise. NumPyro's asks NumPy for them."""
    values = np.where(np.arange(12) % 6 == 1, np.nan, VALUES)
    known, seen = posterior(library, "imputed", {"values": values}), values[~np.isnan(values)]
    variance = 1 / (len(seen) + 1 / 4)
    assert known.mean()["mean"] == pytest.approx(variance * seen.sum(), abs=1e-5)
    np.testing.assert_allclose(known.mean()["filled"], variance * seen.sum(), atol=1e-5)
    np.testing.assert_allclose(known.sd()["filled"], np.sqrt(1 + variance), atol=1e-5)


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_decides_shapes_by_its_values_is_held_and_the_rest_are_data(library):
    """By its values: groups in a dict, whose sites have four elements; only they are held, and only in NumPyro."""
    group = np.arange(12) % 4
    data = {"values": VALUES, "options": {"group": group, "scale": 0.5}}
    mine = user_model.register(written(library).counted, library)
    given = user_model.data_of(mine, data)
    assert given.layout.latents == {"mean": (), "effect": (4,)}
    assert [name for name, value in given.values.items() if isinstance(value, Fixed)] == (
        ["options.group"] if library == "numpyro" else []
    )
    canonical(given.values)
    rng = np.random.default_rng(3)
    latents = {"mean": rng.normal(size=5), "effect": rng.normal(size=(5, 4))}
    job = Job("exact", mine.name, given, "exact", library, layout=given.layout)
    log_prior, log_likelihood = log_densities(job, latents)
    prior = stats.norm.logpdf(latents["mean"], 0, 2) + stats.norm.logpdf(latents["effect"].T, latents["mean"]).sum(0)
    np.testing.assert_allclose(log_prior, prior, rtol=1e-10)
    likelihood = stats.norm.logpdf(VALUES, latents["effect"][:, group], 0.5).sum(1)
    np.testing.assert_allclose(log_likelihood, likelihood, rtol=1e-10)


def test_no_argument_is_held_that_need_not_be():
    """Of two covariates both, which the model may write into; what it observes is drawn anew."""
    x, weights = np.abs(X) * 2, np.linspace(0.5, 2.0, 12)
    mine = user_model.register(written("numpyro").trimmed, "numpyro")
    given = user_model.data_of(mine, {"values": VALUES, "x": x, "weights": weights})
    assert [name for name, value in given.values.items() if isinstance(value, Fixed)] == ["x", "weights"]
    mean = np.array([-0.3, 0.2, 1.0])
    log_prior, log_likelihood = log_densities(
        Job("exact", mine.name, given, "exact", "numpyro", layout=given.layout), {"mean": mean}
    )
    np.testing.assert_allclose(log_prior, stats.norm.logpdf(mean, 0, 2), rtol=1e-10)
    sd = np.where(weights < np.median(weights), 1.0, weights)
    likelihood = stats.norm.logpdf(VALUES, mean[:, None] * np.minimum(x, 1), sd).sum(1)
    np.testing.assert_allclose(log_likelihood, likelihood, rtol=1e-10)
    drawn = simulation.simulate(mine, given, np.random.default_rng(0), 3)
    assert all(np.ptp(np.asarray(dataset.values["values"]) - VALUES) > 0.1 for dataset in drawn.data)


def test_what_is_observed_and_held_is_no_place_for_missing_values_or_other_data():
    mine = user_model.register(written("numpyro").signed, "numpyro")
    given = user_model.data_of(mine, {"values": VALUES})
    with pytest.raises(ValueError, match="site 'values' observes the argument 'values', which is held fixed because"):
        simulation.simulate(mine, given, np.random.default_rng(0), 3)
    with pytest.raises(ValueError, match="'values' has missing values"):
        user_model.data_of(mine, {"values": np.where(np.arange(12) == 3, np.nan, VALUES)})


def test_nothing_is_held_where_that_does_not_help():
    """The error is another one then, and as it is without."""
    mine = user_model.register(written("numpyro").broken, "numpyro")
    assert not any(isinstance(value, Fixed) for value in fix_needed(mine, {"values": VALUES}).values())
    with pytest.raises(ValueError, match="could not be run on its data"):
        user_model.data_of(mine, {"values": VALUES})


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", ["padded", "padded_vector"])
def test_what_is_masked_out_has_its_prior_and_is_not_reported(library, name):
    """log p(x, z) is the sum over what is there, and over the priors of the rest, whose mass is one."""
    module = written(library)
    mine = user_model.register(getattr(module, name), library)
    layout = user_model.data_of(mine, {"values": VALUES, "there": SEEN}).layout
    assert "site 'effect': 4 elements are masked out" in layout.notes[0]
    assert {index for site, index in layout.reported_elements if site == "effect"} == {
        (i,) for i in np.flatnonzero(SEEN)
    }
    side = import_module(f"compare.user_model.in_{library}")
    mean, effect = 0.3, np.linspace(-1, 1, 12)
    (point,) = side.points_of({"mean": np.array([mean]), "effect": effect[None]})
    (joint,), _ = side.log_joints(mine, {"values": VALUES, "there": SEEN}, [point], jit=False)
    prior = stats.norm(0, 2).logpdf(mean) + stats.norm.logpdf(effect).sum()
    assert joint == pytest.approx(prior + stats.norm.logpdf(VALUES, mean + effect, 1.0)[SEEN].sum(), rel=1e-10)


@pytest.mark.parametrize("library", LIBRARIES)
def test_holes_in_the_data_are_latents(library):
    """The holes alone are: the elements that are observed are none."""
    layout = layout_of(library, "holes", {"values": VALUES, "seen": SEEN})
    reported_elements = [index for site, index in layout.reported_elements if site == "full_unobserved"]
    assert reported_elements == [(int(i),) for i in np.flatnonzero(~SEEN)]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    ("name", "data", "line"),
    [
        ("half_masked", {"values": VALUES, "there": SEEN}, "site 'effect' has elements that are masked out"),
        ("own_batch", {"values": VALUES, "size": 5}, "two runs of the model on the same latents .* subsample_size"),
    ],
)
def test_what_is_no_one_model_is_refused(library, name, data, line):
    with pytest.raises(ValueError, match=line):
        layout_of(library, name, data)


@pytest.mark.parametrize("library", LIBRARIES)
def test_params_are_estimated_once_and_held(library):
    """By empirical Bayes: a shift of all values beside a mean near 0 is their mean; of torch a module's own stays."""
    module = written(library)
    mine = user_model.register(module.estimated_shift, library)
    given = user_model.data_of(mine, {"values": 3 * VALUES})
    held = {name: value for name, value in given.values.items() if name.startswith("param:")}
    (value,) = (value for value in held.values() if isinstance(value, np.ndarray | np.generic))
    assert np.ravel(value)[0] == pytest.approx(3 * VALUES.mean(), abs=1e-3)
    (note,) = given.layout.notes
    assert "is estimated once, by maximising the ELBO of a full-rank guide" in note
    assert "the posterior is given it" in note
    assert list(given.layout.latents) == ["mean"]
    if library == "pyro":
        assert float(module.estimated_shift.bias.detach()) == 0.0
    again = user_model.data_of(mine, {"values": 3 * VALUES})
    assert again.layout.log_joints == given.layout.log_joints


def test_estimated_params_have_six_digits():
    """So that noise of the last digits does not make other chains in each run."""
    best = np.array([0.0, 1.23456789, -3.3e-7, 4.4444444e5])
    lowest = minimise(lambda x: (((x - best) ** 2).sum(), 2 * (x - best)), np.zeros(4))
    assert [f"{value:.12g}" for value in lowest] == ["0", "1.23457", "-3.3e-07", "444444"]


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
def test_the_mean_and_the_scale_around_effects_are_estimated(library):
    """The evidence is normal: its variance, that of the effects and of the noise, is the values' own."""
    mine = user_model.register(written(library).estimated_mean, library)
    given = user_model.data_of(mine, {"values": 3 * VALUES})
    assert given.values["param:mean"] == pytest.approx(3 * VALUES.mean(), abs=1e-3)
    assert given.values["param:scale"] == pytest.approx(np.sqrt(9 * VALUES.var() - 1), abs=1e-3)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_param_that_nothing_depends_on_is_left_where_it_starts(library):
    layout = layout_of(library, "unused_param", {"values": VALUES})
    assert layout.notes == () and list(layout.latents) == ["mean"]


def test_the_weights_of_a_plain_torch_module_are_refused():
    with pytest.raises(ValueError, match=r"a weight of a torch module, .* make it a PyroParam"):
        layout_of("pyro", "weighted", {"values": VALUES})


def test_the_library_is_told_by_what_a_model_imports_or_closes_over():
    def of_closure():
        import numpyro as library

        return lambda: library.sample("z", None)

    def inside():
        import pyro

        return pyro.sample("z", None)

    assert libraries_used(of_closure()) == {"numpyro"} and libraries_used(inside) == {"pyro"}


@pytest.mark.parametrize(("library", "handlers"), [("numpyro", "numpyro.handlers"), ("pyro", "pyro.poutine")])
def test_a_model_under_a_handler_is_of_the_handlers_library(library, handlers):
    conditioned = import_module(handlers).condition(written(library).normal, data={"mean": as_tensor(library, 0.5)})
    scaled = import_module(handlers).scale(written(library).normal, 2.0)
    assert libraries_used(conditioned) == libraries_used(scaled) == {library}
    twice = layout_of(library, scaled, {"values": VALUES}).log_joints
    assert twice == pytest.approx([2 * value for value in layout_of(library, "normal", {"values": VALUES}).log_joints])


@pytest.mark.parametrize(("library", "handlers"), [("numpyro", "numpyro.handlers"), ("pyro", "pyro.poutine")])
def test_a_model_under_a_handler_keeps_its_name_and_parameters(library, handlers):
    """Also where the handler is a decorator, which has neither; and under two of them, and with arguments bound."""
    reparam, normal = import_module(handlers).reparam, written(library).normal
    decorate, called = reparam(config={}), reparam(normal, {})
    for model in (decorate(normal), called, import_module(handlers).scale(called, 1.0)):
        assert name_of(model) == "normal" and signature_of(model) == inspect.signature(normal)
        assert libraries_used(model) == {library}
    assert name_of(partial(called, values=0)) == "normal"


MODEL = """
import numpy as np
{imports}
import {library}
import {library}.distributions as dist

def model(y):
    mean = {library}.sample("mean", dist.Normal(0.0, 1.0))
    {library}.sample("y", dist.Normal(mean, 1.0).expand([30]).to_event(1), obs=y)

{statements}
data = {{"y": {y}}}
"""
IMPORTS = {
    "numpyro": "import jax\nimport jax.numpy as jnp\nfrom jax import random\nfrom jax.random import normal",
    "pyro": "import torch\nfrom torch import randn",
}
START = {"numpyro": "key = jax.random.key(0)", "pyro": "pyro.set_rng_seed(0)"}
SCRIPT = "@torch.jit.script\ndef noise(n: int):\n    return torch.randn(n)"
DRAWN_IN_FLOAT64 = [
    ("numpyro", "", "normal(key, (30,))"),
    ("numpyro", "", "random.bernoulli(key, 0.4, (30,)) + 0.0"),
    ("numpyro", "", "jax.jit(lambda key: jax.random.randint(key, (30,), 0, 9))(key)"),
    ("numpyro", "", "dist.Laplace(0.0, 1.0).sample(key, (30,))"),
    ("pyro", "", "randn(30)"),
    ("pyro", "", "torch.empty(30).uniform_()"),
    ("pyro", "", "torch.nn.Linear(30, 1).weight[0]"),
    ("pyro", "", "dist.Laplace(0.0, 1.0).sample((30,))"),
    ("pyro", SCRIPT, "noise(30)"),
]
SAME = [
    ("numpyro", "", "normal(key, (30,), jnp.float32)"),
    ("numpyro", "", "random.normal(key, dtype='float32', shape=(30,))"),
    ("numpyro", "", "jax.random.poisson(key, 3.0, (30,))"),
    ("numpyro", "", "np.random.default_rng(0).normal(size=30)"),
    ("pyro", "", "np.random.default_rng(0).normal(size=30)"),
]


def drawing_file(folder: Path, library: str, statements: str, y: str) -> str:
    statements = f"{START[library]}\n{statements}"
    path = folder / "drawn.py"
    text = MODEL.format(library=library, imports=IMPORTS[library], statements=statements, y=y)
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("library", "statements", "y", "is_noted"),
    [(*case, True) for case in DRAWN_IN_FLOAT64] + [(*case, False) for case in SAME],
)
def test_what_a_file_draws_in_float64_is_noticed(library, statements, y, is_noted, tmp_path):
    """Twice, for the second reading starts where the first ends. The functions are as before, by whatever name."""
    package = import_module("torch" if library == "pyro" else "jax.random")
    before = {name: entry for name, entry in vars(package).items() if inspect.isroutine(entry)}
    for _ in range(2):
        _, beside, _ = locate(drawing_file(tmp_path, library, statements, y))
        assert beside[DRAWN] is is_noted
    assert all(vars(package)[name] is entry for name, entry in before.items())
    name = "randn" if library == "pyro" else "normal"
    assert beside[name] is before[name]


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_note_on_what_a_file_draws_is_true(library, tmp_path):
    """What it draws is other than in float32."""
    typed = ", jnp.float32" if library == "numpyro" else ", dtype=torch.float32"
    draw = "normal(key, (30,){})" if library == "numpyro" else "randn(30{})"
    data = {}
    for number, part in enumerate(("", typed)):
        mine, given = user_model.read(drawing_file(tmp_path, library, "", draw.format(part)))
        known = user_model.data_of(mine, given)
        assert (NOTE in known.layout.notes) is (library == "pyro" or not number)
        data[number] = np.asarray(known.values["y"])
    assert np.max(np.abs(data[0] - data[1])) > 0.1
