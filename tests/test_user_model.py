"""Models of a user's own, through the file, the module and the Python call: each a result or one clear line."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from conftest import LIBRARIES
from matplotlib.figure import Figure
from scipy import stats

import models
from compare import compare, registry, user_model
from compare.cli.main import main
from compare.user_model.source import is_model_spec, library_of
from compare.user_model.tracing import report
from tests.eight_schools import LOG_EVIDENCE

HERE = Path(__file__).parent / "user_models"
QUICK = {"guides": ["mean_field"], "nuts": False, "reference_ess": 400.0, "reference_warmup": 150}
"""One guide, and a reference of one block of draws: enough for numbers, not for a verdict."""


def written(name: str, library: str):
    """A module of models in one library, which is set to float64 first as the command does."""
    import_module(f"compare.user_model.in_{library}")
    return import_module(f"tests.user_models.{name}_{library}")


def from_the_command(capsys, tmp_path, *arguments: str) -> dict:
    """The summary that the command prints."""
    assert main([*arguments, "--format", "json", "--out", str(tmp_path)]) == 0
    return json.loads(capsys.readouterr().out)


def agree(fit: dict, other: dict, names: list[str], errors: float = 4.5) -> None:
    """The means and sds of two fits differ by less than ``errors`` of their standard errors."""
    for name in names:
        a, b = fit["variables"][name], other["variables"][name]
        for value, mcse in (("mean", "mcse_mean"), ("sd", "mcse_sd")):
            assert abs(a[value] - b[value]) < errors * np.hypot(a[mcse], b[mcse]), (name, value)


@pytest.fixture(scope="module")
def schools():
    """Eight schools, non-centred in NumPyro, with a reference to be trusted."""
    module = written("eight_schools", "numpyro")
    return compare(module.non_centred, module.data, guides=["full_rank"], reference_budget=4000.0)


def test_the_result_of_a_call(schools, tmp_path):
    """The reference takes the exact posterior's place and says so; theta, a deterministic site, is reported."""
    assert list(schools.verdict) == ["reference", "numpyro-full_rank", "numpyro-nuts"]
    assert schools.verdict["reference"].word == "agrees"
    assert "the reference, not exact" in schools.verdict["reference"].sentence.lower()
    known = schools.summary["log_evidence"]
    assert abs(known["value"] - LOG_EVIDENCE) < 4.5 * known["mcse"]
    assert {"mu", "tau", "eta[7]", "theta[0]"} <= set(schools.summary["fits"]["reference"]["variables"])
    table = schools.table
    assert isinstance(table, pd.DataFrame) and list(dict.fromkeys(table["fit"])) == list(schools.verdict)
    assert not table.duplicated(["fit", "quantity"]).any() and table["mcse_mean"].dtype == float
    assert schools.best.fit == "reference" and schools.best.posterior["theta"].dims[:2] == ("chain", "draw")
    assert isinstance(schools.plot_ledger(), Figure)
    assert "Every fit against the reference" in str(schools) and "<table" in schools._repr_html_()
    posterior = schools.tree["numpyro-nuts/posterior"]
    assert posterior["theta"].dims[:2] == ("chain", "draw")
    expected = posterior["mu"] + posterior["tau"] * posterior["eta"]
    assert np.allclose(expected.values, posterior["theta"].values)
    assert isinstance(schools.plot_posterior(), Figure)
    assert [path.name for path in schools.write(tmp_path)][-1] == "report.html"
    assert "numpyro-nuts" in xr.open_datatree(tmp_path / "draws.nc").children


@pytest.mark.parametrize("way", [pytest.param("file", marks=pytest.mark.slow), "module"])
def test_the_file_and_the_module_give_what_the_call_gives(way, schools, capsys, tmp_path, monkeypatch):
    """The same model and seed: the same reference, whichever way it is asked for."""
    options = ("--guides", "full_rank", "--no-nuts", "--reference-budget", "4000")
    values = {name: value.tolist() for name, value in written("eight_schools", "numpyro").data.items()}
    (tmp_path / "data.json").write_text(json.dumps(values))
    where = {
        "file": [str(HERE / "eight_schools_numpyro.py:non_centred")],
        "module": ["tests.user_models.eight_schools_numpyro:non_centred", "--data", str(tmp_path / "data.json")],
    }
    summary = from_the_command(capsys, tmp_path, *where[way], *options)
    assert summary["data"]["y"] == values["y"]
    agree(summary["fits"]["reference"], schools.summary["fits"]["reference"], ["mu", "tau", "theta[0]"], 1e-6)


def test_the_centred_form_is_not_to_be_trusted(capsys, tmp_path):
    """NUTS diverges in the neck of the funnel: nothing can be held against it."""
    options = ("--guides", "mean_field", "--no-nuts", "--reference-budget", "5", "--budget", "120")
    summary = from_the_command(capsys, tmp_path, str(HERE / "eight_schools_numpyro.py"), *options)
    words = [summary["fits"][name]["verdict"]["word"] for name in ("reference", "numpyro-mean_field")]
    assert words in (["unreliable", "unreliable"], ["failed", "undecided"])  # failed: it had no time at all


IN_PYRO = """
import json, sys
from compare import compare
from tests.user_models import awkward_pyro as awkward, eight_schools_pyro as schools

quick = {"nuts": False, "reference_ess": 400.0, "reference_warmup": 150, "reference_budget": 4000.0}
results = {
    "schools": compare(schools.non_centred, schools.data, guides=["full_rank"], **quick),
    "simplex": compare(awkward.simplex, {"counts": awkward.COUNTS}, guides=["mean_field"], **quick),
    "subsampled": compare(awkward.subsampled, {"values": awkward.VALUES}, guides=["mean_field"], **quick),
    "deterministic": compare(awkward.deterministic, {"values": awkward.VALUES}, guides=["mean_field"], **quick),
}
print(json.dumps({name: result.summary for name, result in results.items()}))
"""


@pytest.fixture(scope="module")
def in_pyro():
    """What Pyro makes of some models, in a process without jax, where its chains run side by side."""
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    done = subprocess.run([sys.executable, "-c", IN_PYRO], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_pyro_agrees_with_numpyro(schools, in_pyro):
    """The same posterior, and the same ELBO of the same family."""
    pyro, numpyro = in_pyro["schools"]["fits"], schools.summary["fits"]
    agree(pyro["reference"], numpyro["reference"], ["mu", "theta[0]", "theta[7]", "eta[3]"])
    a, b = pyro["pyro-full_rank"]["ledger"]["elbo"], numpyro["numpyro-full_rank"]["ledger"]["elbo"]
    assert abs(a["value"] - b["value"]) < 0.02 + 4 * np.hypot(a["mcse"], b["mcse"])


@pytest.mark.slow
def test_the_centred_form_in_pyro_through_the_file(capsys, tmp_path):
    """A reference that was not made is said so, and the guide's own numbers stand."""
    options = ("--guides", "mean_field", "--no-nuts", "--reference-budget", "2", "--budget", "120")
    summary = from_the_command(capsys, tmp_path, str(HERE / "eight_schools_pyro.py"), *options)
    assert summary["fits"]["reference"]["library"] == "pyro"
    assert summary["fits"]["pyro-mean_field"]["verdict"]["word"] in ("undecided", "unreliable")
    assert np.isfinite(summary["fits"]["pyro-mean_field"]["variables"]["mu"]["mean"])


def test_a_users_exact_posterior_through_the_file(capsys, tmp_path):
    summary = from_the_command(capsys, tmp_path, str(HERE / "normal_pyro.py"), "--no-nuts", "--guides", "mean_field")
    words = {name: fit["verdict"]["word"] for name, fit in summary["fits"].items()}
    assert words == {"exact": "exact", "pyro-mean_field": "agrees"}
    assert abs(summary["fits"]["pyro-mean_field"]["ledger"]["evidence_gap"]["value"]) < 1e-6


def test_an_exact_posterior_of_another_model_is_refused():
    module = written("normal", "pyro")
    other = module.exact(module.data["values"] + 0.1)
    with pytest.raises(ValueError, match="the exact posterior is not this model's"):
        compare(module.model, module.data, exact=other)


def awkward(library: str, name: str, data: object = None) -> object:
    """What the call makes of a model; of Pyro's only those that are refused, the others are `in_pyro`."""
    module = written("awkward", library)
    return compare(getattr(module, name), {"values": module.VALUES} if data is None else data, **QUICK)


def near(fit: dict, name: str, mean: float, sd: float) -> None:
    """The mean of an element is right to 5 standard errors; a guide's to a tenth of an sd more, the truth's to 1e-6."""
    variable = fit["variables"][name]
    slack = {"exact": 1e-6, "reference": 0.0}.get(fit["method"], 0.1)
    assert abs(variable["mean"] - mean) < 5 * variable["mcse_mean"] + slack * sd


@pytest.fixture
def summary_of(library, request):
    """The summary of a model on data, in either library."""

    def summarise(name: str, data: object = None) -> dict:
        if library == "pyro":
            return request.getfixturevalue("in_pyro")[name]
        return awkward(library, name, data).summary

    return summarise


def test_a_simplex(summary_of):
    """Dirichlet by conjugacy."""
    counts = written("awkward", "numpyro").COUNTS
    for fit in summary_of("simplex", {"counts": counts})["fits"].values():
        for place, alpha in enumerate(counts + 1):
            mean = alpha / 103
            near(fit, f"p[{place}]", mean, np.sqrt(mean * (1 - mean) / 104))


def test_a_subsampled_plate_sees_all_its_points(summary_of):
    """The posterior is that of all 30 points: Normal by conjugacy."""
    summary, values = summary_of("subsampled"), written("awkward", "numpyro").VALUES
    note = "plate 'points' is not subsampled: every fit sees all 30 of its points, not 5 at a time"
    assert summary["notes"] == [note]
    for fit in summary["fits"].values():
        near(fit, "mean", values.sum() / 30.01, 1 / np.sqrt(30.01))
        assert fit["variables"]["mean"]["sd"] == pytest.approx(1 / np.sqrt(30.01), rel=0.15)


def test_a_covariance_reports_what_is_free():
    """Not the zero above the diagonal of the Cholesky factor, nor the one on it."""
    points = written("awkward", "numpyro").POINTS
    fits = awkward("numpyro", "covariance", {"points": points}).summary["fits"]
    assert list(fits["exact"]["variables"]) == ["scale[0]", "scale[1]", "factor[1,0]", "factor[1,1]"]
    exact = fits["exact"]["variables"]["factor[1,0]"]
    near(fits["numpyro-mean_field"], "factor[1,0]", exact["mean"], exact["sd"])


def test_an_ordered_vector():
    for fit in awkward("numpyro", "ordered").summary["fits"].values():
        assert fit["variables"]["cuts[0]"]["mean"] < fit["variables"]["cuts[1]"]["mean"]


def test_a_deterministic_site_is_recorded(summary_of):
    """Increasing, so that its median is that of the latent, transformed."""
    for fit in summary_of("deterministic")["fits"].values():
        log_scale, scale = (fit["variables"][name] for name in ("log_scale", "scale"))
        assert list(fit["variables"]) == ["log_scale", "scale"]
        assert np.exp(log_scale["median"]) == pytest.approx(scale["median"], rel=1e-3)


def test_an_empty_site_beside_a_scalar_one():
    result = awkward("numpyro", "empty")
    assert result.summary["notes"] == ["site 'none' is empty (shape (0,)): there is nothing to infer"]
    near(result.summary["fits"]["exact"], "mean", written("awkward", "numpyro").VALUES.sum() / 30.01, 0.2)


def test_a_site_named_like_a_path_can_be_written(tmp_path):
    result = awkward("numpyro", "path")
    assert "site '../data/mean.csv' appears as '.._data_mean.csv'" in result.summary["notes"][0]
    result.write(tmp_path)
    assert ".._data_mean.csv" in xr.open_datatree(tmp_path / "draws.nc")["exact/posterior"]


def test_a_pandas_frame():
    """Conjugate: the slope's precision is 1 + x'x."""
    frame = pd.DataFrame({"x": [1, 2, 3], "y": [1.0, 2.5, 2.0]})
    near(awkward("numpyro", "frame", frame).summary["fits"]["exact"], "slope", 12 / 15, 15**-0.5)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("discrete", r"site 'values' has the batch shape \(30,\) outside of a plate"),
        ("coupled", "site 'which' is discrete and cannot be summed out .*its log joint is then"),
        ("branching", "site 'which' is discrete and cannot be summed out"),
        ("unbounded", "site 'number' is discrete .* no finite list of values"),
        ("together", "site 'which' is discrete .* its values cannot be listed"),
        ("only", "all latents of the model are discrete: .* log evidence -42.61382836 nats"),
        ("reused", "mean"),
        ("dynamic", "site 'mean' has a support that depends on other latents"),
        ("nothing", "there is nothing to infer"),
    ],
)
def test_what_cannot_be_handled_is_said_in_one_line(library, name, line):
    with pytest.raises(ValueError, match=line) as error:
        awkward(library, name)
    assert "\n" not in str(error.value)


def test_a_model_that_needs_the_values_of_its_latents_is_refused():
    with pytest.raises(ValueError, match="needs the values of its latents to run"):
        awkward("numpyro", "branches")


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ({}, "missing a required argument: 'values'"),
        ({"values": [1.0], "other": 2}, "unexpected keyword argument 'other'"),
        ({"values": ["a", "b"]}, "'values' holds 'a' and other words"),
        ({"values": [1.0, np.nan]}, "'values' has missing values"),
        (pd.DataFrame({"values": [1.0, 2.0], "name": ["a", "b"]}), "unexpected keyword argument 'name'"),
        (pd.DataFrame({"values": pd.to_datetime(["2020-01-01", "2020-01-02"])}), "'values' holds"),
        (pd.DataFrame({"values": [1.0, None]}), "'values' has missing values"),
        (3, "data is a int"),
    ],
)
def test_bad_data_are_refused(data, line):
    with pytest.raises(ValueError, match=line):
        awkward("numpyro", "empty", data)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"tolerence": 1}, "did you mean 'tolerance'"),
        ({"guides": "mean_field"}, "give a list"),
        ({"library": "stan"}, "no library"),
    ],
)
def test_bad_options_are_refused(options, line):
    module = written("awkward", "numpyro")
    with pytest.raises(ValueError, match=line):
        compare(module.empty, {"values": module.VALUES}, **options)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("nowhere.py", "no file 'nowhere.py'"),
        ("no.where:model", "no module 'no.where'"),
        ("{here}/eight_schools_numpyro.py:modle", "has no function 'modle'; did you mean 'model'?"),
        ("{here}/awkward_numpyro.py:empty", "has no data"),
        ("{here}/eight_schools_numpyro.py --data nowhere.json", "nowhere.json: No such file"),
        ("{here}/eight_schools_numpyro.py --gides mean_field", "did you mean '--guides'?"),
        ("{here}/broken.py", "ends in an error when it is read: ZeroDivisionError"),
    ],
)
def test_the_command_refuses_in_one_line(arguments, line, tmp_path, capsys):
    (tmp_path / "broken.py").write_text("import numpyro\n1 / 0\n")
    arguments = arguments.replace("{here}/broken", f"{tmp_path}/broken").replace("{here}", str(HERE))
    assert main(arguments.split()) == 2
    out, err = capsys.readouterr()
    assert out == "" and line in err and err.count("\n") == 1


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_library_is_found_out(library):
    assert library_of(written("awkward", library).simplex) == library


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_model_whose_global_has_changed_is_another(library):
    """As in a notebook: z ~ N(0, scale), y ~ N(z, 1), and y is N(0, scale^2 + 1)."""
    module = importlib.util.module_from_spec(importlib.machinery.ModuleSpec(f"globals_{library}", None))
    exec(
        f"from {library} import sample\nfrom {library}.distributions import Normal\n\nscale = [1.0]\n\n"
        "def prior():\n    return Normal(0.0, scale[0])\n\n"
        "def model(y):\n    sample('y', Normal(sample('z', prior()), 1.0), obs=y)\n",
        vars(module),
    )
    names = set()
    for scale in (1.0, 3.0, 3.0):
        module.scale[0] = scale
        result = compare(module.model, {"y": 1.0}, library=library, guides=[], nuts=False)
        evidence = stats.norm.logpdf(1.0, scale=np.hypot(scale, 1.0))
        assert result.comparison.log_evidence.value == pytest.approx(evidence, abs=1e-8)
        names.add(result.comparison.request.model.name)
    assert len(names) == 1


def test_a_model_named_as_one_of_the_catalogue_leaves_that_alone():
    def coin():
        """No model; its name is what counts."""

    user = user_model.register(coin, "numpyro")
    assert user.name == "coin-2" and user_model.register(coin, "numpyro") is user
    assert not user_model.knows("coin") and registry.load("coin") is models.load("coin")


def test_two_models_of_one_name_are_kept_apart():
    first = user_model.register(lambda: None, "numpyro")
    second = user_model.register(lambda: None, "numpyro")
    assert first.name != second.name and user_model.find(second.name) is second
    assert user_model.register(second.function, "numpyro") is second


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.py", True), ("b/a.py:f", True), ("a.b:f", True), ("a", False), (":f", False), ("a:", False)],
)
def test_a_reference_is_told_from_a_name(name, expected):
    assert is_model_spec(name) is expected


def test_many_elements_are_spread_evenly():
    """Scalars are all reported, and the rest from the first to the last."""
    shapes = {"a": (), "w": (100, 10)}
    reported_elements = report(shapes)
    assert len(reported_elements) == 20 and reported_elements[0] == ("a", ())
    assert reported_elements[1] == ("w", (0, 0)) and reported_elements[-1] == ("w", (99, 9))
