"""The newcomer's trial: the model that models/README.md adds is one folder and one line, and all pick it up."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from battery import CHECKS, cases
from battery.known import density_misfits, evidence_varies, moments_differ, twins_differ
from conftest import LIBRARIES

import models
from compare import registry, user_model
from compare.cli.main import main

README = Path(models.__file__).parent / "README.md"
BLOCK = re.compile(r"<!-- file: models/(poisson/\w+\.py) -->\n```python\n(.*?)```", re.DOTALL)
LINE = re.compile(r'CATALOGUE\["(\w+)"\] = "(.*)"')
MOST = 100
"""Lines of Python that a simple model may take."""


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
    before = set(CHECKS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "__path__", [*models.__path__, str(folder)])
        patch.setitem(models.CATALOGUE, name, line)
        for named in (user_model._known, registry._added):
            patch.delitem(named, name, raising=False)
        importlib.invalidate_caches()
        forget_compiled()
        yield models.load(name)
    forget_compiled()
    for module in [module for module in sys.modules if module.startswith("models.poisson")]:
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


def test_the_battery_passes(poisson: models.contract.Model) -> None:
    for data in (poisson.data(), *poisson.test_cases):
        assert twins_differ("poisson", data, 1000, seed=3) is None
        assert moments_differ("poisson", data, 20_000, seed=2) is None
        assert density_misfits("poisson", data) is None
        for library in LIBRARIES:
            assert evidence_varies("poisson", data, library, 1000, seed=1) is None


def test_the_quick_battery_lists_its_checks(poisson: models.contract.Model) -> None:
    cases.of_model("poisson")
    for case in cases.fits("poisson"):
        if case.method != "nuts":
            cases.of_fit(case)
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
