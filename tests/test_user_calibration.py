"""Calibration of a user's own model: what is drawn from its joint, what the ranks say, and what is refused."""

from __future__ import annotations

import itertools
import json
import math
from importlib import import_module
from types import SimpleNamespace

import arviz_plots
import numpy as np
import pytest
import xarray as xr
from scipy import stats

from compare import calibrate, user_model
from compare.cli.main import main
from compare.user_model.observations import labels_of, places_of
from compare.user_model.process import undisturbed

BOTH = ["pyro", pytest.param("numpyro", marks=pytest.mark.slow)]
"""NumPyro compiles for seconds what it then draws by the same statements."""

Y = {"y": np.array([0.3, 1.1, -0.2])}


def written(library: str):
    import_module(f"compare.user_model.in_{library}")
    return import_module(f"tests.user_models.simulated_{library}")


def simulated(library: str, name: str, data: dict, count: int = 2000, seed: int = 1):
    """Draws from the joint distribution of one of the models."""
    with undisturbed(library):
        user = user_model.register(getattr(written(library), name), library)
        return user.model.simulate(user_model.data_of(user, data), np.random.default_rng(seed), count)


def column(simulation, argument: str) -> np.ndarray:
    return np.array([data.values[argument] for data in simulation.data], float)


def assert_covariance(columns: np.ndarray, expected: np.ndarray) -> None:
    """The sample covariance, within 5 standard errors of normals."""
    error = np.sqrt((expected**2 + np.outer(np.diag(expected), np.diag(expected))) / len(columns))
    assert np.all(np.abs(np.cov(columns.T) - expected) < 5 * error)


def test_latents_and_data_have_the_covariance_of_the_joint(library):
    simulation = simulated(library, "model", Y)
    columns = np.column_stack([simulation.latents["a"], simulation.latents["b"], column(simulation, "y")])
    inner = np.full((3, 3), 2.0) + 0.25 * np.eye(3)
    assert_covariance(columns, np.block([[np.eye(2), np.ones((2, 3))], [np.ones((3, 2)), inner]]))
    assert simulation.data[0].layout.observed["y"].tolist() == simulation.data[0].values["y"].tolist()


@pytest.mark.parametrize("library", BOTH)
def test_counts_follow_their_closed_form(library):
    """Counts of a gamma rate are negative binomial, with whatever exposure: chi-square, 1 in 1,000."""
    exposure = np.array([0.5, 2.0])
    simulation = simulated(library, "counts", {"y": np.array([1, 3]), "exposure": exposure})
    for place, each in enumerate(exposure):
        y = column(simulation, "y")[:, place]
        edges = [*range(5), np.inf]
        law = stats.nbinom(2, 1 / (1 + each))
        expected = np.diff([0.0, *law.cdf(edges)])
        observed = [np.sum(y == k) for k in range(5)] + [np.sum(y >= 5)]
        assert stats.chisquare(observed, len(y) * expected).pvalue > 1e-3
    assert all(np.array_equal(data.values["exposure"], exposure) for data in simulation.data)
    assert simulation.data[0].values["y"].dtype.kind == "i"


@pytest.mark.parametrize("library", BOTH)
def test_a_count_that_is_observed_is_replaced(library):
    heads = 3 if library == "numpyro" else np.int64(3)  # a plain number too, where the library takes it
    simulation = simulated(library, "coin", {"heads": heads, "tosses": np.int64(6)})
    expected = len(simulation.data) * stats.betabinom.pmf(np.arange(7), 6, 2.0, 3.0)
    counts = np.bincount(column(simulation, "heads").astype(int), minlength=7)
    assert stats.chisquare(counts, expected).pvalue > 1e-3
    assert all(data.values["tosses"] == 6 for data in simulation.data)


@pytest.mark.parametrize("library", BOTH)
def test_sites_that_observe_elements_of_one_argument_each_get_their_own(library):
    simulation = simulated(library, "one_by_one", {"y": np.array([1, 0, 1])})
    observed = np.array([[data.layout.observed[f"y_{row}"] for row in range(3)] for data in simulation.data])
    assert np.array_equal(observed, column(simulation, "y"))
    fairness = simulation.latents["fairness"]
    for row in range(3):  # E y = E theta = 2/5, E y theta = E theta^2 = 1/5
        product = observed[:, row] * fairness
        assert abs(product.mean() - 0.2) < 5 * product.std() / math.sqrt(len(product))


def test_what_is_missing_stays_missing(library):
    simulation = simulated(library, "with_gaps", {"y": np.array([0.4, np.nan, 1.0])})
    y = column(simulation, "y")
    assert simulation.data[0].layout.reported_elements == (("mean", ()), ("residual", (0,)), ("residual", (2,)))
    assert np.isnan(y[:, 1]).all() and np.isfinite(y[:, [0, 2]]).all()
    assert_covariance(
        np.column_stack([simulation.latents["mean"], y[:, 0], y[:, 2]]), np.ones((3, 3)) + np.diag([0, 1, 1.0])
    )


@pytest.mark.parametrize("library", BOTH)
def test_a_site_that_depends_on_what_another_observes_is_drawn_given_that(library):
    """y = slope x + noise with x drawn too: the noise has sd 1/2 about the drawn x, and x has mean 1."""
    simulation = simulated(library, "chained", {"x": np.array([1.0, 2.0]), "y": np.array([0.5, 1.0])}, count=4000)
    x, y, slope = column(simulation, "x"), column(simulation, "y"), simulation.latents["slope"][:, None]
    assert abs((y - slope * x).std() - 0.5) < 5 * 0.5 / math.sqrt(2 * y.size)
    assert abs(x.mean() - 1) < 5 * 2 / math.sqrt(x.size)


def test_discrete_latents_are_drawn_too(library):
    """A mixture of 0 and 5 with weights 0.7 and 0.3: the mean and the variance of y - mean."""
    simulation = simulated(library, "assigned", {"y": np.array([0.0, 5.0, 5.1])})
    assert set(simulation.latents) == {"mean"}
    residual = column(simulation, "y") - simulation.latents["mean"][:, None]
    variance = 0.25 + 25 * 0.3 * 0.7
    assert abs(residual.mean() - 1.5) < 5 * math.sqrt(variance / residual.size)
    assert abs(np.mean(residual > 2.5) - 0.3) < 5 * math.sqrt(0.3 * 0.7 / residual.size)


REFUSED = {
    "improper": "prior of site 'mean' is improper",
    "with_factor": "site 'penalty' is a factor",
    "with_density_on_a_point": "site 'penalty' is a factor",
    "with_far_penalty": "density of site 'penalty' is scaled by",
    "scaled": "density of site 'y' is scaled by 10",
    "moving_mask": "masked out depends on other sites",
    "moving_mask_under_another": "masked out depends on other sites",
    "moving_mask_inside": "masked out depends on other sites",
    "assigned_with_gaps": "site 'z' is discrete and has its prior masked out, of some elements or all",
    "too_wide": "draws of site 'rate' are not finite",
    "nothing_observed": "observes nothing",
    "logged": "site 'y' observes no argument of the model as it is",
    "autoregressive": "depends on 'y' other than by what it observes",
    "of_the_data": "depends on 'y' other than by what it observes",
    "observed_twice": "elements of 'y' are observed more than once",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_drawn_is_refused_in_one_line(library, name):
    data = {"y": np.array([0.4, np.nan, 1.0])} if "gaps" in name else Y
    with pytest.raises(ValueError, match=REFUSED[name]) as refused:
        simulated(library, name, data, count=50)
    assert "\n" not in str(refused.value)


def test_a_latent_point_with_a_density_is_refused():
    """Pyro takes one, NumPyro cannot run it."""
    with pytest.raises(ValueError, match="site 'penalty' is a factor"):
        simulated("pyro", "with_density_on_a_latent_point", Y, count=50)


def test_two_arguments_in_one_site_are_refused(library):
    with pytest.raises(ValueError, match="site 'both' observes elements of both 'x' and 'y'"):
        simulated(library, "observed_together", {"x": np.array([1.0, 2.0]), "y": np.array([0.5, 1.0])}, count=50)


def test_a_prior_that_the_data_shift_a_little_is_refused_however_many_they_are(library):
    """It changes the log joint by 1e-7 of what 40,000 observations make of it."""
    with pytest.raises(ValueError, match=r"depends on 'y' other than by what it observes: .* of site 'mean'"):
        simulated(library, "slightly_of_the_data", {"y": np.random.default_rng(0).standard_normal(40_000)}, count=10)


def test_a_slow_model_is_calibrated(monkeypatch):
    """Of which a comparison refuses to run all points, one by one, only to replicate data."""
    sitewise = import_module("compare.user_model.sitewise_pyro")
    hours = SimpleNamespace(perf_counter=itertools.count(0.0, 3600.0).__next__)
    monkeypatch.setattr(sitewise, "time", hours)
    simulation = simulated("pyro", "branching", Y, count=400)
    sd = np.where(simulation.latents["mean"] > 0, 1.0, 2.0)
    noise = (column(simulation, "y") - simulation.latents["mean"][:, None]) / sd[:, None]
    assert abs(noise.std() - 1) < 5 / math.sqrt(2 * noise.size)
    with undisturbed("pyro"), pytest.raises(ValueError, match="can only be run point by point"):
        user = user_model.register(written("pyro").branching, "pyro")
        sitewise.program(user.name, user_model.data_of(user, Y).values).run({"mean": np.zeros(20)}, {}, 0)


def test_labels_tell_all_elements_apart():
    for value in (np.zeros((3, 5)), np.ones(1), np.zeros(9, bool), np.ones((), int), np.zeros(200, np.int64)):
        labels = labels_of(value)
        assert np.array_equal(places_of(labels, labels), np.arange(value.size).reshape(value.shape))
        unmoved = [np.zeros(value.shape)] * len(labels)
        assert np.all(places_of(unmoved, labels) == -1)
    assert np.isnan(labels_of(np.array([1.0, np.nan]))[0][1])


@pytest.fixture(scope="module")
def sums():
    """Guides, one with half of the right sds, and the exact posterior of two latents of which the sum is observed."""
    module = written("numpyro")
    guides = ["mean_field", "full_rank", module.halved]
    return calibrate(module.model, module.data, np.int64(100), guides=guides, exact=module.exact, budget=600.0)


def test_right_posteriors_pass_and_wrong_ones_fail_as_they_must(sums):
    words = {name: verdict.word for name, verdict in sums.verdict.items()}
    assert words == {
        "exact": "agrees",
        "numpyro-mean_field": "narrow",
        "numpyro-full_rank": "agrees",
        "numpyro-halved": "narrow",
    }
    assert sums.summary["quantities"] == ["a", "b", "log likelihood"]


@pytest.mark.parametrize("fit", ["numpyro-mean_field", "numpyro-halved"])
def test_wrong_sds_cover_as_little_as_theory_says(sums, fit):
    """An interval whose sd is r of the truth's holds 2 Phi(r u) - 1: within 4 standard errors. Mean field has the
    posterior's conditional sd, sqrt(1 / 13), where the marginal one is sqrt(13 / 25)."""
    ratio = 0.5 if fit == "numpyro-halved" else math.sqrt(25 / 13 / 13)
    for name in ("a", "b"):
        for level, coverage in sums.summary["fits"][fit]["quantities"][name]["coverage"].items():
            theory = 2 * stats.norm.cdf(ratio * stats.norm.ppf((1 + float(level) / 100) / 2)) - 1
            assert abs(coverage["value"] - theory) < 4 * math.sqrt(theory * (1 - theory) / 100)
            assert abs(coverage["given_truth"]["value"] - theory) < 4 * coverage["given_truth"]["mcse"]


def test_arviz_draws_the_ranks(sums, tmp_path):
    tree = sums.tree["numpyro-mean_field"]
    ranks = sums.calibration.ranks["numpyro-mean_field"].pit
    assert tree["prior_sbc"].sizes == {"chain": 1, "draw": 100}
    assert np.array_equal(tree["prior_sbc"]["b"].values[0], ranks[:, 1])
    paths = sums.write(tmp_path)
    stored = xr.open_datatree(tmp_path / "ranks.nc")
    assert {path.name for path in paths} == {
        *("calibration.json", "ranks.nc", "ranks.png", "coverage.png", "calibration.html"),
    }
    for known in (tree, stored["numpyro-mean_field"]):
        drawn = arviz_plots.plot_ecdf_pit(known, var_names=["b"], stats={"ecdf_pit": {"n_simulations": 50}})
        line = drawn.viz["ecdf_lines"]["b"].item()
        height = np.searchsorted(np.sort(ranks[:, 1]), line.get_xdata(), side="right") / 100 - line.get_xdata()
        assert np.allclose(line.get_ydata(), height, atol=1 / 100 + 1e-9)


def test_the_result_prints_and_draws(sums):
    assert "numpyro-halved: narrow" in str(sums) and "±" in str(sums)
    assert sums.plot_ranks().axes[0].get_title(loc="left") == "a" and sums.plot_coverage().axes


@pytest.mark.slow
def test_a_guide_of_pyro_with_half_of_the_right_sds_is_narrow():
    module = written("pyro")
    result = calibrate(module.model, module.data, 60, guides=[module.halved], budget=600.0)
    assert result.verdict["pyro-halved"].word == "narrow"


@pytest.mark.slow
def test_nuts_passes(library):
    module = written(library)
    result = calibrate(module.model, module.data, 50, guides=[], nuts=True, budget=600.0)
    assert result.verdict[f"{library}-nuts"].word == "agrees"


def test_the_command_calibrates_a_file_of_pyro(tmp_path, capsys):
    arguments = ["tests/user_models/simulated_pyro.py", "--no-nuts", "--budget", "600", "--calibrate", "60"]
    assert main([*arguments, "--format", "json", "--out", str(tmp_path)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert {name: fit["verdict"]["word"] for name, fit in printed["fits"].items()} == {
        "exact": "agrees",
        "pyro-mean_field": "narrow",
        "pyro-full_rank": "agrees",
    }
    assert (tmp_path / "calibration" / "ranks.nc").exists()


def test_the_command_refuses_in_one_line(tmp_path, capsys):
    file = tmp_path / "autoregressive.py"
    file.write_text(
        "import numpy as np\nfrom tests.user_models.simulated_numpyro import autoregressive as model\n"
        "data = {'y': np.array([0.3, 1.1, -0.2])}\n"
    )
    assert main([str(file), "--library", "numpyro", "--calibrate", "50", "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert "other than by what it observes" in message and message.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_params_of_one_posterior_are_refused_for_others():
    """A guide whose params were found on one data set is fitted to the others only without them."""
    from compare.user_model import guides

    module = written("numpyro")
    with undisturbed("numpyro"):
        user = user_model.register(module.model, "numpyro")
        name = guides.add(user.name, module.halved, {"loc": np.zeros(2)})
        data = user_model.data_of(user, Y)
        from compare.calibration import calibrate as calibrate_request
        from compare.comparison import Request

        request = Request(user.model, data, ("numpyro",), (name,), nuts=False)
        fit = calibrate_request(request, 50).summary["fits"]["numpyro-halved"]
    assert fit["status"] == "failed" and "leave the params out" in fit["reason"]
