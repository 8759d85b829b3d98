"""The printed programs: clean, without the zoo, and with the zoo's results."""

from __future__ import annotations

import ast
import importlib.util
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import layout

import models
from compare.cli.main import main
from compare.comparison import Job, Request
from compare.export import program, programs
from compare.options import Options
from models.contract import Best

LIBRARIES = ("numpyro", "pyro")
OURS = {"models", "guides", "compare"}
SMALL = [("coin", "pyro"), ("chain", "numpyro"), pytest.param("coin", "numpyro", marks=pytest.mark.slow)]
"""A model with a bounded latent and one with a vector, each library once by default."""


def job(name: str, library: str) -> Job:
    """The mean-field fit of a model's default data."""
    return Job(f"{library}-mean_field", name, models.load(name).data(), "svi", library, "mean_field", 0, Options())


def imported(text: str) -> set[str]:
    """The packages that a program imports."""
    packages = set()
    for node in ast.walk(ast.parse(text)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        packages |= {name.split(".")[0] for name in names}
    return packages


def output(text: str, folder: Path, name: str) -> str:
    """What the program prints, run isolated: it sees neither this folder nor the zoo in the environment."""
    path = folder / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    done = subprocess.run([sys.executable, "-I", path], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_program_is_clean_and_knows_nothing_of_the_zoo(tmp_path: Path) -> None:
    shown = set()
    for name in models.CATALOGUE:
        model = models.load(name)
        for library in LIBRARIES:
            for family in model.guides:
                try:
                    text = programs(Request(model, model.data(), (library,), (family,)))
                except ValueError as error:  # no plain program: said in one line, and rare
                    assert "\n" not in str(error)
                    continue
                shown.add(name)
                assert "models" in imported(text) or not OURS & imported(text)
                assert ("models" in imported(text)) == ("too many to print" in text)
                (tmp_path / f"{name}_{library}_{family}.py").write_text(text, encoding="utf-8")
    rules = ["--select", "E,F,I", "--line-length", "120", "--isolated", "--no-cache"]
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", *rules, tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert shown >= {"coin", "chain", "bnn"}


@pytest.mark.parametrize(("name", "library"), SMALL)
def test_a_program_gives_the_zoos_result(name: str, library: str, tmp_path: Path) -> None:
    """The best member's ELBO and moments, within 4 Monte Carlo errors and what 0.01 nats, the zoo's tolerance, allow.

    A Gaussian that is 0.01 nats away is off by at most sqrt(0.02) sd in its mean, and by about 0.1 in its sd.
    """
    if not importlib.util.find_spec(library):
        pytest.skip(f"{library} is not installed")
    model = models.load(name)
    printed = output(program(model, job(name, library)), tmp_path, f"{name}_{library}")
    best = model.best_member(model.data(), "mean_field")
    tolerance = Options().tolerance
    elbo, error = (float(text) for text in re.search(r"ELBO (\S+) ± (\S+) nats", printed).groups())
    assert 0 < error < 0.05
    assert abs(elbo - best.elbo) <= 4 * error + tolerance
    number = r"\[?([^\]]*)\]?"
    sites = re.findall(rf"^(\w+): mean {number} ± .*, sd {number}$", printed, re.MULTILINE)
    assert [site for site, _, _ in sites] == list(layout(model.data()).latents)
    for _, mean, sd in sites:
        values = [np.array([float(part) for part in text.split()]) for text in (mean, sd)]
        true_mean, true_sd = moments(best, len(values[0]))
        draws = 2000 if library == "pyro" else 4000
        assert np.all(np.abs(values[0] - true_mean) <= true_sd * (math.sqrt(2 * tolerance) + 4 / math.sqrt(draws)))
        assert np.all(np.abs(values[1] / true_sd - 1) <= math.sqrt(tolerance) + 4 / math.sqrt(2 * draws))


def moments(best: Best, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Means and sds of the best member: of the chain's own scale, or of the coin's probability through its logit."""
    location, scale = best.parameters["location"], best.parameters["scale"]
    if size > 1:
        return location, scale
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    theta, weights = 1 / (1 + np.exp(-(location + scale * nodes))), weights / weights.sum()
    mean = weights @ theta
    return np.array([mean]), np.array([math.sqrt(weights @ (theta - mean) ** 2)])


def test_the_command_prints_the_data_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["coin", "--heads", "7", "--tosses", "20", "--seed", "3", "--show"]) == 0
    out = capsys.readouterr().out
    assert '"heads": 7.0, "tosses": 20.0' in out and "jax.random.key(3)" in out and "AutoDiagonalNormal(model)" in out
    assert imported(out) == {"jax", "numpyro"}
    assert list(tmp_path.iterdir()) == []


def test_the_command_prints_a_program_for_each_choice(capsys: pytest.CaptureFixture) -> None:
    chosen = "--libraries numpyro,pyro --guides conjugate,full_rank --optimiser adam --steps 123 --learning-rate 0.5"
    assert main(["coin", "--show", *chosen.split()]) == 0
    out = capsys.readouterr().out
    assert re.findall(r"^# coin in (\w+), fitted with the guide (\w+)$", out, re.MULTILINE) == [
        (library, guide) for library in ("NumPyro", "Pyro") for guide in ("conjugate", "full_rank")
    ]
    assert out.count("steps = 123") == 4 and "numpyro.optim.Adam(0.5)" in out and 'Adam({"lr": 0.5})' in out
    assert out.count("guide = conjugate") == 2
    ast.parse(out)


def test_long_data_are_loaded_and_said_to_be(capsys: pytest.CaptureFixture) -> None:
    assert main(["bnn", "--data", "diabetes", "--show", "--libraries", "pyro"]) == 0
    out = capsys.readouterr().out
    assert "are too many to print" in out and 'load("bnn").data(data="diabetes").arguments()' in out


def test_a_model_of_ones_own_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    pytest.importorskip("pyro")
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(
        "import pyro\nimport pyro.distributions as dist\nimport torch\n\n"
        "WIDE = 10.0  # of the prior\nUNUSED = torch.zeros(3)\ndata = {'y': [1.0, float('nan')]}\n\n\n"
        "def other(y):\n    # as wide as can be\n    mu = pyro.sample('mu', dist.Normal(0.0, WIDE))\n"
        "    pyro.sample('y', dist.Normal(mu, 1.0).mask(~torch.isnan(y)), obs=torch.nan_to_num(y))\n"
    )
    assert main(["mine.py:other", "--show"]) == 0
    out = capsys.readouterr().out
    assert 'torch.tensor([1.0, float("nan")])' in out and "AutoDiagonalNormal(other)" in out
    assert "# as wide as can be" in out and "WIDE = 10.0" in out and "UNUSED" not in out
    Path("mine.py").rename("long.py")
    Path("long.py").write_text(Path("long.py").read_text() + "\ndata = {'y': torch.zeros(1000)}\n")
    assert main(["long.py:other", "--show"]) == 2
    assert "hold 1000 numbers, too many to print" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from .near import model\n", "import it absolutely"),
        ("import models.coin\n\ndef model(): return models.coin\n", "cannot be written out"),
        ("def model(): return guide\nguide = 1\n", "another meaning"),
    ],
)
def test_what_cannot_be_one_program_is_said_in_one_line(text: str, expected: str, tmp_path: Path) -> None:
    from compare.export.source import Program

    path = tmp_path / "mine.py"
    path.write_text(text)
    built = Program(origins={"guide": "the other file's"})
    with pytest.raises(ValueError, match=expected):
        built.add(path, ["model"])


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_model_with_discrete_latents_is_not_written_as_a_program_that_fails(library: str, capsys) -> None:
    arguments = ["mixture", "--libraries", library, "--show"]
    assert main(arguments) == 0 and "MixtureSameFamily" in capsys.readouterr().out
    assert main([*arguments, "--assignments", "kept"]) == 2
    assert "mixture has discrete latents (assignments), which the program's ELBO does not sum out" in (
        capsys.readouterr().err
    )


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_network_runs_too(library: str, tmp_path: Path) -> None:
    model = models.load("bnn")
    printed = output(program(model, job("bnn", library)), tmp_path, f"bnn_{library}")
    assert math.isfinite(float(re.search(r"ELBO (\S+) ±", printed).group(1)))
