"""The newcomer's trial: the models that models/README.md adds are a folder and a line each, and all pick them up."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from battery import CHECKS, checks
from battery.known import density_misfits, evidence_varies, moments_differ, twins_differ
from conftest import LIBRARIES

import models
from compare import registry, user_model
from compare.cli.main import main

pytestmark = pytest.mark.usefixtures("quickly_compiled")

README = Path(models.__file__).parent / "README.md"
BLOCK = re.compile(r"<!-- file: models/(poisson/\w+\.py) -->\n```python\n(.*?)```", re.DOTALL)
LINE = re.compile(r'CATALOGUE\["(\w+)"\] = "(.*)"')
MOST = 100
"""Lines of Python that a simple model may take."""

REGRESSION, MOST_OF_IT = Path(__file__).parent / "newcomer" / "line", 150
"""Linear regression with known noise on one data set, and the lines of Python that it may take."""


@pytest.fixture(scope="module")
def poisson(tmp_path_factory: pytest.TempPathFactory) -> Iterator[models.contract.Model]:
    """The model of the page, in the catalogue while the tests of this file run.

    Another test's own model may have the name, and what was compiled for it is found by that name alone.
    """
    folder, text = tmp_path_factory.mktemp("models"), README.read_text(encoding="utf-8")
    for name, code in BLOCK.findall(text):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(code, encoding="utf-8")
    ((name, line),) = LINE.findall(text)
    with in_catalogue(folder, name, line) as model:
        yield model


@pytest.fixture(scope="module")
def regression() -> Iterator[models.contract.Model]:
    """The linear regression of tests/newcomer, in the catalogue while its tests run."""
    with in_catalogue(REGRESSION.parent, REGRESSION.name, "a line with a known noise") as model:
        yield model


@contextmanager
def in_catalogue(folder: Path, name: str, line: str) -> Iterator[models.contract.Model]:
    before = set(CHECKS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "__path__", [*models.__path__, str(folder)])
        patch.setitem(models.CATALOGUE, name, line)
        for table in (user_model._known, registry._added):
            patch.delitem(table, name, raising=False)
        importlib.invalidate_caches()
        forget_compiled()
        yield models.load(name)
    forget_compiled()
    for module in [module for module in sys.modules if f"{module}.".startswith(f"models.{name}.")]:
        del sys.modules[module]
    for check in set(CHECKS) - before:
        del CHECKS[check]


def forget_compiled() -> None:
    for cache in registry._caches:
        cache.cache_clear()


def test_it_is_one_short_folder() -> None:
    files = BLOCK.findall(README.read_text(encoding="utf-8"))
    assert {name for name, _ in files} == {
        f"poisson/{part}.py" for part in ("__init__", "data", "exact", "in_numpyro", "in_pyro")
    }
    lines = [line for _, code in files for line in code.splitlines() if line.strip()]
    assert len(lines) < MOST, len(lines)


def test_the_regression_is_a_short_folder() -> None:
    lines = [line for path in REGRESSION.glob("*.py") for line in path.read_text("utf-8").splitlines() if line.strip()]
    assert len(lines) < MOST_OF_IT, len(lines)
    assert f"{len(lines)} lines of Python without blank ones" in README.read_text(encoding="utf-8")


def battery(model: models.contract.Model) -> None:
    name = model.name
    for data in (model.data(), *model.test_cases):
        assert twins_differ(name, data, 1000, seed=3) is None
        assert moments_differ(name, data, 20_000, seed=2) is None
        assert density_misfits(name, data) is None
        for library in LIBRARIES:
            assert evidence_varies(name, data, library, 1000, seed=1) is None


def test_the_battery_passes(poisson: models.contract.Model) -> None:
    battery(poisson)


def test_the_regression_passes_and_its_guides_reach_their_best(
    regression: models.contract.Model, tmp_path: Path
) -> None:
    """The least squares of NumPy are its means under this wide prior; a guide ends within 0.01 nats of its best."""
    battery(regression)
    design, pounds, *_ = regression.data().arguments().values()
    squares = np.linalg.lstsq(design, pounds, rcond=None)[0]
    for library in LIBRARIES:  # each in this process: another one would not know the model
        assert main(["line", "--libraries", library, "--no-nuts", "--out", str(tmp_path)]) == 0
        fits = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))["fits"]
        means = [fits["exact"]["variables"][f"line[{j}]"]["mean"] for j in (0, 1)]
        assert means == pytest.approx(squares, rel=1e-3)
        for family, word in (("mean_field", "narrow"), ("full_rank", "agrees")):
            fit = fits[f"{library}-{family}"]
            assert fit["verdict"]["word"] == word
            gap = fit["ledger"]["optimisation_gap"]
            assert abs(gap["value"]) <= 0.01 + 4 * gap["mcse"]


def test_the_quick_battery_lists_its_checks(poisson: models.contract.Model) -> None:
    checks.of_model("poisson")
    for case in checks.fits("poisson"):
        if case.method != "nuts":
            checks.of_fit(case)
    listed = {name: check for name, check in CHECKS.items() if name.startswith("poisson")}
    assert {"poisson: twins", "poisson/pyro: evidence", "poisson/numpyro-mean_field: verdict"} <= set(listed)
    complaints = {name: check() for name, check in listed.items()}
    assert not {name: complaint for name, complaint in complaints.items() if complaint}


def test_the_command_reports_it(poisson: models.contract.Model, tmp_path: Path) -> None:
    """A whole comparison with its page; the guide's mean is the posterior's, (alpha + sum y) / (beta + n)."""
    options = ["--counts", "3,0,5", "--libraries", "numpyro", "--no-nuts", "--out", str(tmp_path)]
    assert main(["poisson", *options]) == 0
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert summary["data"] == {"counts": [3, 0, 5], "alpha": 2.0, "beta": 1.0}
    assert summary["fits"]["exact"]["variables"]["rate"]["mean"] == pytest.approx(10 / 4)
    assert summary["fits"]["numpyro-mean_field"]["verdict"]["word"] == "agrees"
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert poisson.title in page and (tmp_path / "posterior.png").exists()


def test_it_is_calibrated(poisson: models.contract.Model, tmp_path: Path) -> None:
    options = ["--calibrate", "50", "--libraries", "numpyro", "--no-nuts", "--out", str(tmp_path)]
    assert main(["poisson", *options]) == 0
    path = tmp_path / "calibration" / "calibration.json"
    calibration = json.loads(path.read_text(encoding="utf-8"))
    assert calibration["quantities"] == ["rate", "log likelihood"]
    assert calibration["fits"]["exact"]["data_sets"] == 50
    assert np.isfinite(calibration["seconds"])


def test_bad_counts_are_refused_in_one_line(poisson: models.contract.Model, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["poisson", "--counts", "3,x"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
