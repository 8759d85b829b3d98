"""Posteriors that others made: their moments, as `foreign.csv` has them, and what a comparison says of fits to them."""

from __future__ import annotations

import bz2
import csv
import io
import warnings
import zipfile
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from compare import compare
from tests.experiments import foreign as experiment
from tests.foreign import foreign_posterior

BUDGETS = {"budget": 300.0, "reference_budget": 1200.0}
"""So long that time does not decide on a busy machine."""

N_DRAWS = 10_000
"""Draws of the posterior that the moments in `foreign.csv` are of."""


def read_truth(task: str, number: int) -> np.ndarray:
    """Observed values, posterior means and sds, a row each."""
    with (Path(__file__).parent / "foreign.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if (row["task"], row["number"]) == (task, str(number))]
    return np.array([[float(row[name]) for row in rows] for name in ("observed", "mean", "sd")])


@pytest.mark.parametrize(
    ("library", "task", "word"),
    [
        pytest.param("numpyro", "two_moons", "not converged", marks=pytest.mark.slow),
        ("pyro", "gaussian_mixture", "off"),
        pytest.param("numpyro", "gaussian_mixture", "off", marks=pytest.mark.slow),
        pytest.param("pyro", "two_moons", "not converged", marks=pytest.mark.slow),
    ],
)
def test_the_truth_is_the_one_of_others_and_wrong_fits_are_not_called_right(library, task, word):
    """Half of the mass in a spike on a wide component; two half rings that the prior's box and x cut off.

    A Gaussian draws where two moons have no density: the fit says so, and NumPy warns of nothing.
    """
    observed, mean, sd = read_truth(task, 1)
    model = getattr(import_module(f"tests.user_models.foreign_{library}"), task)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        result = compare(model, {"x": observed}, library=library, guides=["mean_field"], quick=True, **BUDGETS)
    exact = result.comparison.summaries["exact"].judged
    for i in range(2):
        value = exact[f"theta[{i}]"]
        assert abs(value.mean - mean[i]) < 4 * sd[i] / N_DRAWS**0.5
        assert abs(value.sd / sd[i] - 1) < 4 * (2 / N_DRAWS) ** 0.5  # the error where the kurtosis is 9, here below 6
    assert result.verdict[f"{library}-mean_field"].word == word
    if task == "two_moons":  # two points of the plane for each x, under the density 1/4
        assert result.comparison.log_evidence.value == pytest.approx(np.log(0.5), abs=1e-3)
    assert "log_likelihood" in result.tree[f"{library}-mean_field"]


def test_what_the_wheel_holds_is_read(tmp_path):
    """A file of the wheel's form: the observation, the draws, and their cells."""
    draws = np.random.default_rng(0).standard_normal((2000, 2))
    text = io.StringIO()
    np.savetxt(text, draws, delimiter=",", header="parameter_1,parameter_2", comments="")
    folder = "sbibm/tasks/two_moons/files/num_observation_3"
    with zipfile.ZipFile(tmp_path / "wheel.whl", "w") as archive:
        archive.writestr(f"{folder}/observation.csv", "data_1,data_2\n-0.5,0.25\n")
        archive.writestr(f"{folder}/reference_posterior_samples.csv.bz2", bz2.compress(text.getvalue().encode()))
    posterior = foreign_posterior(tmp_path / "wheel.whl", "two_moons", 3)
    assert posterior.data["x"].tolist() == [-0.5, 0.25] and posterior.draws == pytest.approx(draws)
    assert posterior.missed(draws) == 0
    half = draws[draws[:, 0] > 0]
    assert posterior.missed(half) == pytest.approx(0.5, abs=0.1)
    again = np.random.default_rng(1).standard_normal((2000, 2))
    assert posterior.missed(again) < posterior.noise(2000) < 0.1


def test_a_calm_word_over_a_wrong_fit_is_printed():
    """The table counts it, with and without the truth, and a line names it."""
    wrong = {"word": "agrees", "sentence": "S.", "mean_off": 0.0, "sd_off": 0.5, "missed": 0.0, "noise": 0.01}
    row = {"library": "pyro", "seed": 0, "kind": "slcp", "index": 4, "dimension": 5, "seconds": 2.0}
    text = experiment.table([row | {"fits": {"pyro-flow": wrong | {"alone": "agrees", "seconds": 1.0}}}])
    assert "| slcp | 1 | 1 | 1 | 0 | 0 | 0 | 1 | 0 | 2 |" in text
    assert "SILENT: pyro 4 (slcp, d = 5, seed 0): pyro-flow agrees" in text
    assert "SILENT without the truth: pyro slcp 4: pyro-flow agrees" in text
