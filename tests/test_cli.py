"""The command line from outside: what is refused and how, what is printed, what is left when it is interrupted."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import pytest
import xarray as xr

import models
from compare.cli import main as command_line
from compare.cli.main import main
from compare.messages import one_line
from compare.options import option_fields

ROOT = Path(__file__).parents[1]
SCHEMA = json.loads((ROOT / "compare/report/summary.schema.json").read_text(encoding="utf-8"))
SMALL = ("--libraries", "numpyro", "--guides", "mean_field", "--no-nuts")


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory that must be empty at the end."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert list(tmp_path.rglob("*")) == []


def refused(capsys: pytest.CaptureFixture, *arguments: str) -> str:
    """The one line with which the arguments are refused."""
    assert main(list(arguments)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("compare: ") and err.endswith("\n") and err.count("\n") == 1
    assert "Traceback" not in err
    return err


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("coin --heads 11", "11 heads in 10 tosses"),
        ("coin --heads 1 --tosses 0", "1 heads in 0 tosses"),
        ("coin --heads -1", "heads is -1"),
        ("coin --heads 0 --tosses -3", "tosses is -3"),
        ("coin --heads 6.5", "6.5 is not a whole number"),
        ("coin --tosses 10.5", "10.5 is not a whole number"),
        ("coin --heads six", "'six' is not a number"),
        ("coin --heads nan", "nan is not a whole number"),
        ("coin --tosses inf", "inf is not a whole number"),
        ("coin --heads 1e400", "not a whole number"),
        ("coin --alpha 0", "alpha is 0"),
        ("coin --beta -1", "beta is -1"),
        ("coin --alpha 1e-9", "alpha is 1e-09: give a number from 0.01"),
        ("coin --beta 1e10", "beta is 1e+10: give a number from 0.01"),
        ("coin --alpha nan", "alpha is nan"),
        ("coin --beta inf", "beta is inf"),
        ("coin --alpha two", "'two' is not a number"),
        ("coim", "did you mean 'coin'?"),
        ("nothing-like-it", "choose from coin, "),
        ("coin --guides mean_feild", "did you mean 'mean_field'?"),
        ("coin --guides mean_field,full_rnak", "did you mean 'full_rank'?"),
        ("chain --guides conjugate", "chain has no conjugate guide"),
        ("coin --libraries numpyroo", "did you mean 'numpyro'?"),
        ("coin --libraries tensorflow", "choose from numpyro, pyro"),
        ("coin --haeds 3", "did you mean '--heads'?"),
        ("coin --head 3", "did you mean '--heads'?"),
        ("coin --no-nut", "did you mean '--no-nuts'?"),
        ("coin 7", "no option '7'"),
        ("coin --heads", "--heads: expected one argument"),
        ("coin --seed", "--seed: expected one argument"),
        ("coin --heads=--", "--heads: expected one argument"),
        ("coin --seed=--", "--seed: expected one argument"),
        ("coin --workers 1001", "give at most 1,000"),
        (f"coin --out {'x' * 300}", "cannot be written (File name too long)"),
        (f"{'x' * 300}.py", "cannot be read (File name too long)"),
        (f"coin --heads {'x' * 5000}", "xxx ... xxx"),
        ("coin --out \udcff", "is not text in UTF-8"),
        ("coin --seed 1.5", "'1.5' is not a whole number"),
        ("coin --seed -1", "-1 is negative"),
        ("coin --tolerance 0", "not a finite number above 0"),
        ("coin --budget nan", "not a finite number above 0"),
        ("coin --steps 0", "give 1 or more"),
        ("coin --format xml", "invalid choice: 'xml'"),
        ("coin --libraries=", "give at least one name"),
        ("coin --guides ,", "give at least one name"),
        ("--heads 3", "give a model first"),
        ("chain --length 0", "length is 0"),
        ("chain --length -2", "length is -2"),
        ("chain --length 1e9", "length is 1000000000: give at most 1,000,000"),
        ("chain --x 1e200", "x[0] is 1e+200: give numbers from -1e+100 to 1e+100"),
        ("chain --length 1.5", "1.5 is not a whole number"),
        ("chain --length 3 --observe all --x 1,2", "x has 2 numbers for 3 nodes"),
        ("chain --x 1,2", "x has 2: give one"),
        ("chain --x nan", "x[0] is nan"),
        ("chain --length 3 --observe all --x -1,2", "x has 2 numbers for 3 nodes"),
        ("chain --no-nuts -1,2", "ignored explicit argument '-1,2'"),
        ("bandit --arms -0.1,0.5", "arms is -0.1,0.5: give two chances from 0 to 1"),
        ("bandit --arms -1e-3,0.5", "arms is -0.001,0.5: give two chances from 0 to 1"),
        ("chain --length 2 --observe all --x 1,inf", "x[1] is inf"),
        ("chain --x missing.txt", "'missing.txt' is neither a number nor a file"),
        ("chain --observe first", "invalid choice: 'first'"),
        ("bnn --data gpa", "did you mean 'gap'?"),
        ("bnn --hidden 0", "hidden is 0: give 1 or more"),
        ("bnn --hidden 2.5", "2.5 is not a whole number"),
        ("bnn --hidden 1e6", "give fewer"),
        ("bnn --noise 0", "noise is 0"),
        ("bnn --noise loud", "'loud' is not a number"),
        ("bnn --data moons --noise 0.2", "which have none"),
        ("bnn --activation sine", "invalid choice: 'sine'"),
        ("bnn --target y", "target"),
        ("bnn --split -1", "split is -1"),
        ("bnn --reference-ess 0", "not a finite number above 0"),
    ],
)
def test_bad_input_is_refused_in_one_line(line, expected, empty, capsys):
    assert expected in refused(capsys, *line.split())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1\ntwo\n", "'two' in line 2"),
        ("", "holds no numbers"),
        ("# nothing but a comment\n", "holds no numbers"),
        ("1 nan", "x[1] is nan"),
        ("1 2 3", "x has 3 numbers for 2 nodes"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(text, expected, empty, capsys, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "x.txt"
    path.write_text(text)
    assert expected in refused(capsys, "chain", "--observe", "all", "--x", str(path))


def test_a_file_that_is_no_text_is_refused_in_one_line(empty, capsys, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "x.bin"
    path.write_bytes(b"\xff\xfe\x00\x80")
    assert "cannot be read" in refused(capsys, "chain", "--x", str(path))


@pytest.mark.parametrize("below", ["", "sub", "sub/sub"])
def test_a_folder_that_cannot_be_written_is_refused_in_one_line(below, empty, capsys, tmp_path_factory):
    file = tmp_path_factory.mktemp("taken") / "file"
    file.write_text("mine")
    assert "cannot be written" in refused(capsys, "coin", *SMALL, "--out", str(file / below))
    assert [path.name for path in file.parent.iterdir()] == ["file"] and file.read_text() == "mine"


@pytest.mark.skipif(importlib.util.find_spec("compare.bench") is None, reason="there is no benchmark here")
def test_the_benchmark_refuses_an_unknown_model(empty, capsys):
    assert "did you mean 'coin'?" in refused(capsys, "bench", "coim")


def test_the_catalogue_has_a_line_for_every_model(empty, capsys):
    assert main([]) == 0
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()] == list(models.CATALOGUE)
    assert all(says in line for says, line in zip(models.CATALOGUE.values(), out.splitlines(), strict=True))
    assert err == ""


@pytest.mark.parametrize("name", [None, *models.CATALOGUE])
def test_help_names_every_option(name, empty, capsys):
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"] if name else ["--help"])
    assert ended.value.code == 0
    out, err = capsys.readouterr()
    assert err == ""
    if name:
        options = [field.name for field in option_fields(models.load(name).data)]
        assert all(f"--{option.replace('_', '-')}" in out for option in (*options, "guides", "no-nuts", "seed", "out"))
    else:
        assert all(known in out for known in models.CATALOGUE)


def test_an_interrupt_that_a_callback_swallows_comes_again(capsys, monkeypatch):
    """jax has a callback at every garbage collection, in which a KeyboardInterrupt is printed and lost."""

    class Swallows:
        def __del__(self) -> None:
            raise KeyboardInterrupt

    def work() -> int:
        Swallows()
        time.sleep(10)
        return 0

    monkeypatch.setattr(command_line, "show_catalogue", work)
    heeded = signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever shell started the tests
    start = time.monotonic()
    try:
        assert main([]) == 130
    finally:
        signal.signal(signal.SIGINT, heeded)
    assert time.monotonic() - start < 5
    assert capsys.readouterr().err == "compare: interrupted; nothing half-written is left\n"


class Run(NamedTuple):
    status: int
    out: str
    err: str
    folder: Path

    def summary(self) -> dict[str, Any]:
        return json.loads((self.folder / "summary.json").read_text(encoding="utf-8"))


def run(folder: Path, *arguments: str) -> Run:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main([*arguments, "--out", str(folder)])
    return Run(status, out.getvalue(), err.getvalue(), folder)


def run_apart(folder: Path, *arguments: str) -> Run:
    """In an interpreter of its own, printed into a pipe."""
    command = [sys.executable, "-m", "compare", *arguments, "--out", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return Run(done.returncode, done.stdout, done.stderr, folder)


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> Run:
    return run_apart(tmp_path_factory.mktemp("out") / "first", "coin", *SMALL, "--format", "json")


@pytest.fixture(scope="module")
def again(tmp_path_factory) -> Run:
    return run_apart(tmp_path_factory.mktemp("out") / "again", "coin", *SMALL, "--fresh")


def test_json_is_the_summary_and_all_there_is(first):
    assert (first.status, first.err) == (0, "")
    assert first.out == (first.folder / "summary.json").read_text(encoding="utf-8")
    assert list(json.loads(first.out)["fits"]) == ["exact", "numpyro-mean_field"]


def test_the_summary_follows_the_schema(first):
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    validator = jsonschema.Draft202012Validator(SCHEMA)
    validator.validate(first.summary())
    for broken in (
        {"schema": 99},
        {"fits": {}},
        {"log_evidence": {"value": "-2.1", "mcse": 0.0, "method": "closed form"}},
        {"surprise": 1},
    ):
        assert not validator.is_valid(first.summary() | broken)
    fit = first.summary()["fits"]["exact"]
    for broken in ({"verdict": {"word": "fine", "sentence": "."}}, {"status": "perhaps"}, {"ledger": {}}):
        assert not validator.is_valid(first.summary() | {"fits": {"exact": fit | broken}})


def test_the_draws_open(first):
    with xr.open_datatree(first.folder / "draws.nc", engine="h5netcdf") as tree:
        assert set(tree.children) == {"exact", "numpyro-mean_field"}
        for fit in tree.children.values():
            assert fit["posterior"]["theta"].dims == ("chain", "draw")
            assert {"log_joint", "log_guide"} <= set(fit["sample_stats"].data_vars)


def test_nothing_but_whole_files_is_left(first):
    names = {path.name for path in first.folder.iterdir()}
    assert {"summary.json", "draws.nc", "report.html"} <= names
    assert not [name for name in names if name.startswith(".")]


def without_seconds(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_seconds(item) for key, item in value.items() if key != "seconds"}
    return [without_seconds(item) for item in value] if isinstance(value, list) else value


def test_the_same_seed_gives_the_same_summary(first, again):
    assert without_seconds(first.summary()) == without_seconds(again.summary())


def test_another_seed_gives_another_summary(first, tmp_path):
    other = run(tmp_path / "other", "coin", *SMALL, "--seed", "1", "--format", "json")
    assert other.status == 0 and other.summary()["seed"] == 1
    for name in ("exact", "numpyro-mean_field"):
        data_fit, other_data_fit = (
            result.summary()["fits"][name]["ledger"]["data_fit"]["value"] for result in (first, other)
        )
        assert data_fit != other_data_fit


def test_a_pipe_gets_plain_text_and_no_progress(again):
    assert (again.status, again.err) == (0, "")
    assert all(letter == "\n" or letter.isprintable() for letter in again.out)
    assert "numpyro-mean_field" in again.out and "summary.json" in again.out


def test_no_tosses_are_fine(tmp_path):
    result = run(tmp_path / "prior", "coin", "--heads", "0", "--tosses", "0", *SMALL)
    assert (result.status, result.err) == (0, "")
    summary = result.summary()
    assert summary["log_evidence"]["value"] == 0.0
    assert summary["fits"]["exact"]["variables"]["theta"]["mean"] == 0.5
    assert summary["fits"]["numpyro-mean_field"]["verdict"]["word"] == "agrees"


def broken_model(monkeypatch: pytest.MonkeyPatch, name: str, twin: Any) -> None:
    """List a model whose NumPyro twin has these functions; all else is the coin's."""
    here, there = types.ModuleType(f"models.{name}"), types.ModuleType(f"models.{name}.in_numpyro")
    here.MODEL = dataclasses.replace(models.load("coin"), name=name)
    for function in twin:
        function.__module__ = there.__name__
        setattr(there, function.__name__, function)
    monkeypatch.setitem(sys.modules, here.__name__, here)
    monkeypatch.setitem(sys.modules, there.__name__, there)
    monkeypatch.setitem(models.CATALOGUE, name, "a coin that cannot be tossed")


def raises() -> list[Any]:
    def model(tosses, alpha, beta, heads=None):
        raise RuntimeError("the coin\nrolled away")

    return [model]


def never_finite() -> list[Any]:
    import numpyro
    import numpyro.distributions as dist

    def model(tosses, alpha, beta, heads=None):
        theta = numpyro.sample("theta", dist.Beta(alpha, beta))
        numpyro.factor("nan", theta * float("nan"))
        numpyro.sample("heads", dist.Binomial(tosses, theta), obs=heads)

    return [model]


@pytest.mark.parametrize(("twin", "nuts", "says"), [(raises, True, "the coin rolled away"), (never_finite, False, "")])
def test_a_fit_that_fails_is_reported_and_the_others_go_on(twin, nuts, says, tmp_path, monkeypatch):
    broken_model(monkeypatch, twin.__name__, twin())
    options = ("--libraries", "numpyro", "--guides", "mean_field", *(() if nuts else ("--no-nuts",)))
    result = run(tmp_path / "out", twin.__name__, *options, "--format", "json")
    assert (result.status, result.err) == (0, "")
    summary = json.loads(result.out)
    jsonschema.Draft202012Validator(SCHEMA).validate(summary)
    assert summary["fits"]["exact"]["verdict"]["word"] == "exact"
    for name in ("numpyro-mean_field", "numpyro-nuts")[: 1 + nuts]:
        fit = summary["fits"][name]
        assert fit["status"] == fit["verdict"]["word"] == "failed"
        assert fit["reason"] and says in fit["reason"] and "\n" not in fit["reason"]
        assert set(fit["variables"]["theta"].values()) == set(fit["ledger"].values()) == {None}
    with xr.open_datatree(result.folder / "draws.nc", engine="h5netcdf") as tree:
        assert set(tree.children) == {"exact"}


def group(leader: int) -> set[int]:
    """The processes of a process group that have not ended."""
    processes = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, process_group = path.read_text().rpartition(")")[2].split()[:3]
            if int(process_group) == leader and state != "Z":
                processes.add(int(path.parent.name))
    return processes


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def heed_interrupts() -> None:
    """A shell starts what it runs in the background with interrupts ignored; a user's terminal does not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize(
    ("options", "processes"),
    [
        pytest.param((), 2, id="two libraries at work", marks=pytest.mark.slow),
        pytest.param(("--guides", "conjugate"), 6, id="chains below a worker"),
        pytest.param(
            ("--guides", "conjugate", "--libraries", "pyro"), 5, id="chains below the command", marks=pytest.mark.slow
        ),
    ],
)
def test_an_interrupt_ends_everything_and_leaves_nothing(options, processes, tmp_path):
    folder = tmp_path / "out"
    command = [sys.executable, "-m", "compare", "coin", *options, "--out", str(folder)]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed_interrupts,
    ) as process:
        try:
            deadline = time.monotonic() + 300
            while len(group(process.pid)) < processes and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            assert process.poll() is None and len(group(process.pid)) >= processes
            time.sleep(0.5)
            os.killpg(process.pid, signal.SIGINT)
            out, err = process.communicate(timeout=30)
            for _ in range(50):
                if not group(process.pid):
                    break
                time.sleep(0.1)
            assert group(process.pid) == set()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert (process.returncode, out) == (130, "")
    assert err == "compare: interrupted; nothing half-written is left\n"
    assert list(tmp_path.rglob("*")) == []


def test_a_cluster_needs_its_extra(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "dask.distributed", None)
    status = main(["coin", "--scheduler", "tcp://127.0.0.1:1", "--out", str(tmp_path / "out")])
    assert status == 2
    assert "posterior-zoo[cluster]" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\n  two\tthree\x1b"), "one two three"),
        (ValueError("a" * 200 + "b" * 200), "a" * 150 + " ... " + "b" * 150),
    ],
)
def test_an_errors_message_is_one_line(error, line):
    """With its kind in front unless it is bare, and its kind alone where it has no message: nothing ends in nothing."""
    assert (one_line(error, bare=True), one_line(error)) == (line, f"ValueError: {line}")
    assert one_line(AssertionError(), bare=True) == one_line(AssertionError()) == "AssertionError"
