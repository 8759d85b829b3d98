"""The benchmark: what it can be asked, and one small run of it."""

from __future__ import annotations

import json
import math

import pytest

import models
from compare.bench import runner, tables, targets
from compare.cli.commands.bench import parse
from compare.cli.main import main

FIRST = next(iter(models.CATALOGUE))


def test_a_model_argument_names_its_data():
    model, data = targets.parse("chain:length=3,observe=all,x=0.5,-1,2")
    assert (model.name, data.length, data.observe, data.x) == ("chain", 3, "all", (0.5, -1.0, 2.0))
    assert targets.parse(FIRST)[1] == models.load(FIRST).data()


def test_a_model_with_encoders_is_refused():
    assert "vae" not in targets.offered() and "coin" in targets.offered()
    with pytest.raises(ValueError, match="vae: its guides have encoders"):
        targets.parse("vae")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("chian", "'chain'"),
        ("chain:lenght=3", "'length'"),
        ("chain:length", "OPTION=VALUE"),
        ("chain:length=six", "chain:length=six: length: 'six'"),
        ("chain:length=0", "give 1 or more"),
        ("chain:observe=some", "last, all"),
    ],
)
def test_a_bad_model_argument_is_refused_in_one_line(text, words):
    with pytest.raises(ValueError) as refused:
        targets.parse(text)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonesuch"],
        ["--libraries", "numpryo"],
        ["--libraries", ","],
        ["--guides", "mean_feild"],
        [FIRST, "--guides", "markov"],
        ["--repeats", "0"],
        ["--steps", "0"],
        ["--limit", "-1"],
        ["--seed", "x"],
        ["--format", "xml"],
        ["--repeat", "3"],
        ["--out", "/proc/nowhere"],
    ],
)
def test_a_bad_argument_ends_in_2_and_one_line(arguments, capsys):
    assert main(["bench", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("compare: ")
    assert err.count("\n") == 1


def test_the_default_is_every_model_without_encoders():
    plan, output = parse([])
    assert (plan.targets, plan.libraries, output.format) == (tuple(targets.offered()), ("numpyro", "pyro"), "text")
    assert {"coin", "chain", "bnn"} <= set(plan.targets) <= set(models.CATALOGUE)
    assert output.out.as_posix() == "out/bench"
    n_fits = sum(len(models.load(name).guides) + 1 for name in plan.targets)
    assert len(plan.tasks()) == 2 * n_fits
    plan, _ = parse([FIRST, "--guides", "mean_field", "--no-nuts", "--libraries", "pyro"])
    assert [(task["library"], task["guide"]) for task in plan.tasks()] == [("pyro", "mean_field")]


def test_medians_and_ratios():
    median = runner.medians(
        {"warm": [3.0, 1.0, 2.0], "converged": [True, False], "gap": [{"value": 1.0, "mcse": 0.1}], "cold": []}
    )
    assert median == {"warm": 2.0, "converged": 0.5, "gap": {"value": 1.0, "mcse": 0.1}, "cold": None}
    assert runner.ratio({"zoo": {"warm": 2.0}, "baseline": {"warm": 30.0}}, "warm") == 15
    assert runner.ratio({"zoo": {}, "baseline": {"warm": 30.0}}, "warm") is None
    assert runner.middle([1.0, math.nan]) is None


def test_a_row_that_fails_leaves_the_others(monkeypatch):
    def process(task, limit):
        if task["library"] == "pyro":
            raise RuntimeError("it broke")
        if task["way"] != "warm":
            return {}, 2.0, 100.0
        measured = {"warm": [1.0], "gradients": [10], "gap": [{"value": 0.0, "mcse": 0.0}]}
        return {"reference": "closed form", "zoo": measured | {"converged": [True]}, "baseline": measured}, 5.0, 100.0

    monkeypatch.setattr(runner, "process", process)
    plan, _ = parse([FIRST, "--guides", "mean_field", "--no-nuts"])
    fine, broken = runner.run_plan(plan)
    assert (fine["status"], fine["ratio"]["warm"], fine["median"]["zoo"]["memory"]) == ("done", 1, 100)
    assert (broken["status"], broken["reason"]) == ("failed", "it broke")
    assert [set(tables.cells(row)) for row in (fine, broken)] == [{c.key for c in tables.columns("svi")}] * 2
    assert tables.remarks([fine, broken]) == [f"{FIRST} pyro-mean_field failed: it broke"]


def test_a_process_that_ends_badly_says_why():
    with pytest.raises(RuntimeError, match="warm: no model named 'nonesuch'"):
        runner.process({"case": "nonesuch", "library": "numpyro", "guide": None, "way": "warm"}, 60.0)
    with pytest.raises(RuntimeError, match="stopped after 0"):
        runner.process({"case": FIRST, "library": "numpyro", "guide": None, "way": "warm"}, 0.01)


def test_a_small_run(tmp_path, capsys):
    """One guide in one library, with few steps of Adam: every number is there and finite, the gap within 0.01 nats."""
    small = ["--libraries", "numpyro", "--guides", "mean_field", "--no-nuts", "--repeats", "1", "--steps", "20"]
    assert main(["bench", FIRST, *small, "--out", str(tmp_path), "--format", "json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    result = json.loads(out)
    assert result == json.loads((tmp_path / "bench.json").read_text())
    assert {"schema", "machine", "versions", "settings", "rows"} == set(result)
    assert result["machine"]["cores"] >= 1
    assert result["machine"]["processor"]
    (row,) = result["rows"]
    assert (row["status"], row["reason"], row["model"], row["method"]) == ("done", None, FIRST, "svi")
    for way in ("zoo", "baseline"):
        for key in ("warm", "cold", "memory", "gradients"):
            assert len(row[way][key]) == 1
            assert row[way][key][0] > 0
            assert row["median"][way][key] == row[way][key][0]
        assert all(math.isfinite(number) for number in row[way]["gap"][0].values())
    assert row["zoo"]["converged"] == [True]
    assert abs(row["median"]["zoo"]["gap"]["value"]) <= 0.01
    assert row["median"]["baseline"]["gap"]["value"] > 0.01
    assert row["baseline"]["gradients"] == [20]
    assert row["ratio"]["warm"] == pytest.approx(row["baseline"]["warm"][0] / row["zoo"]["warm"][0])
    assert row["ratio"]["cold"] > 0
    lines = (tmp_path / "bench.md").read_text().splitlines()
    assert any(line.startswith(f"| {FIRST} | numpyro-mean_field |") for line in lines)
    assert {path.name for path in tmp_path.iterdir()} == {"bench.json", "bench.md"}
