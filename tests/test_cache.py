"""What is cached, under which key, and what happens when an entry is damaged, in the way, or cannot be written."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from conftest import with_network
from test_walls import loads
from test_walls import sources as everything

import compare.pipeline
import models
from compare import user_model
from compare.atomic import atomic_file, find_leftovers
from compare.cache import keys, store
from compare.cache.fit_cache import FitCache
from compare.cache.keys import Uncacheable, canonical, digest, fit_document, fit_sources
from compare.cache.store import Store
from compare.cli.main import main
from compare.comparison import Fit, Job, Request
from compare.fit import WAYS, run
from compare.options import Options
from compare.plan import plan, trainings
from compare.registry import fitting_library
from models.coin import Coin

ROOT = Path(__file__).parents[1]
SMALL = ("coin", "--libraries", "numpyro", "--guides", "mean_field", "--no-nuts")
JOB = Job("numpyro-mean_field", "coin", Coin(), "svi", "numpyro", "mean_field", 0, Options())


def key(job: Job) -> str:
    return digest(fit_document(job, job.library, fit_sources(job.model, job.library, job.guide)))


class Ran:
    """The command, run in this process: its status, what it printed, and its summary."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            self.status = main([*arguments, "--out", str(folder)])
        self.out, self.err = out.getvalue(), err.getvalue()
        self.summary = json.loads((folder / "summary.json").read_text()) if self.status == 0 else None


# The content of a value


DIFFERENT = [
    None, True, 1, 1.0, "1", 0.0, -0.0, float("nan"), float(np.nextafter(1.0, 2)), b"1", Path("1"), [], {}, (1, 2),
    [2, 1], {"a": 1}, {"a": 2}, {"b": 1}, {1}, np.float64(1), np.float32(1), np.int64(1), np.array(1.0), np.ones(1),
    np.array([[1.0]]), np.array([1]), np.array(["1"]), np.array([None, 1], dtype=object), Coin(),
    Coin(heads=5), Options(),
    np.zeros(2), np.zeros(2, int), np.zeros((2, 1)), np.zeros((1, 2)), np.zeros(4, np.float32),  # all of the same bytes
    xr.DataTree.from_dict({"/a": xr.Dataset({"x": 1.0})}), xr.DataTree.from_dict({"/a": xr.Dataset({"x": 2.0})}),
]  # fmt: skip


def test_different_values_have_different_content():
    contents = [json.dumps(canonical(value), sort_keys=True) for value in DIFFERENT]
    same = {json.dumps(canonical(value)) for value in (np.float64(1), np.array(1.0))}
    assert len(same) == 1  # one number is one number
    assert len(set(contents)) == len(DIFFERENT) - 1


def test_the_same_content_is_the_same():
    for value, other in [
        (Coin(), Coin(heads=6)),
        (np.arange(3.0), np.array([0.0, 1, 2])),
        ((1, 2), [1, 2]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ]:
        assert canonical(value) == canonical(other)


@pytest.mark.parametrize("value", [print, lambda: 0, Coin, object(), {"a": [print]}, np.array([print])])
def test_a_value_that_cannot_be_hashed_is_refused(value):
    with pytest.raises(Uncacheable):
        canonical(value)


# The key of a fit


OTHERWISE = {
    "seed": replace(JOB, seed=1),
    "data": replace(JOB, data=Coin(heads=5)),
    "an option": replace(JOB, options=Options(tolerance=0.02)),
    "budget": replace(JOB, options=Options(budget=61)),
    "name": replace(JOB, name="numpyro-mean_field-2"),
    "library": replace(JOB, library="pyro"),
    "guide": replace(JOB, guide="full_rank"),
    "method": replace(JOB, method="nuts"),
}


@pytest.mark.parametrize("what", OTHERWISE)
def test_another_fit_has_another_key(what):
    assert key(OTHERWISE[what]) != key(JOB) == key(replace(JOB, data=Coin()))


@pytest.fixture
def house(tmp_path, monkeypatch) -> Path:
    """A copy of the source, to be changed."""
    for name in ("models", "guides", "compare"):
        shutil.copytree(keys.ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(keys, "ROOT", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("path", "changes"),
    [
        ("models/coin/in_numpyro.py", True),
        ("models/coin/__init__.py", True),
        ("models/coin/table.csv", True),
        ("models/contract.py", True),
        ("guides/mean_field/in_numpyro.py", True),
        ("guides/contract.py", True),
        ("compare/fit/svi/svi.py", True),
        ("compare/fit/svi/objective_numpyro.py", True),
        ("compare/registry.py", True),
        ("models/coin/in_pyro.py", False),
        ("models/coin/posterior.png", False),
        ("models/chain/in_numpyro.py", False),
        ("guides/full_rank/in_numpyro.py", False),
        ("compare/fit/svi/objective_pyro.py", False),
        ("compare/report/plots/posteriors.py", False),
        ("compare/__main__.py", False),
    ],
)
def test_the_key_follows_the_source_that_decides_the_numbers(path, changes, house):
    before = key(JOB)
    with open(house / path, "a") as file:
        file.write("# changed\n")
    assert (key(JOB) != before) == changes


def test_a_report_follows_all_source_but_that_of_other_models(house):
    request = Request(models.load("coin"), Coin())
    digests = [digest(keys.report_document(request))]
    for path in (
        "models/chain/in_numpyro.py",
        "compare/report/plots/posteriors.py",
        "compare/report/html/report.html.jinja",
    ):
        with open(house / path, "a") as file:
            file.write("\n")
        digests.append(digest(keys.report_document(request)))
    assert digests[0] == digests[1] != digests[2] != digests[3]


def test_the_key_follows_versions_and_the_environment(monkeypatch):
    before = key(JOB)
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
    assert key(JOB) != before
    monkeypatch.undo()
    assert key(JOB) == before
    monkeypatch.setattr(keys, "version", lambda package: "0")
    keys.versions.cache_clear()
    try:
        assert key(JOB) != before
    finally:
        keys.versions.cache_clear()


@pytest.mark.parametrize("name", models.CATALOGUE)
def test_the_key_sees_every_file_that_a_fit_loads(name):
    """By a walk through the imports: a file that is loaded but not in the key could change without being noticed."""
    source = everything()
    model = models.load(name)
    data = model.data()
    unseen = {"models.__init__", "guides.__init__", "compare.__init__", "models", "guides", "compare"}
    for job in [*trainings(Request(model, data)), *plan(Request(model, with_network(model, data)))]:
        library, (way, side) = fitting_library(job), WAYS[job.method]
        starts = [f"models.{name}.__init__", f"models.{name}.in_{library}", f"compare.fit.{way}"]
        starts += [f"compare.fit.{side}_{library}" if side else f"compare.user_model.density_{library}"]
        starts += [f"guides.{job.guide}.__init__", f"guides.{job.guide}.in_{library}"] if job.guide else []
        loaded = set(starts)
        assert loaded <= set(source)
        for start in loaded.copy():
            loaded |= {module for module in loads(start, source) if module in source or f"{module}.__init__" in source}
        files = {module if module in source else f"{module}.__init__" for module in loaded} - unseen
        zoo_files = {
            f"{module.replace('.', '/')}.py" for module in files if not module.startswith("compare.user_model")
        }
        assert zoo_files - set(keys.fit_sources(name, library, job.guide)) == set(), job.name


@pytest.mark.parametrize("name", models.CATALOGUE)
def test_every_fit_of_the_zoo_can_be_cached(name, tmp_path):
    """For a model whose network is trained first, the fits that use that network too."""
    model = models.load(name)
    data, cache = model.data(), FitCache(Store(tmp_path))
    planned = [*trainings(Request(model, data)), *plan(Request(model, with_network(model, data)))]
    fit_keys = [cache.key(job) for job in planned]
    assert None not in fit_keys and len(set(fit_keys)) == len(fit_keys)


class Called:
    def __init__(self, weight: float) -> None:
        self.weight = weight

    def __call__(self) -> float:
        return self.weight


def test_an_object_that_can_be_called_has_the_content_that_it_holds():
    assert canonical(Called(1.0)) == canonical(Called(1.0)) != canonical(Called(2.0))


# The store


def test_what_is_written_is_read(tmp_path):
    cache = Store(tmp_path)
    assert cache.read("fits", "a") is None
    cache.write("fits", "a", {"one": b"1", "two": b""})
    assert cache.read("fits", "a") == {"one": b"1", "two": b""}
    assert cache.read("fits", "b") is cache.read("reports", "a") is None
    assert Store(tmp_path, fresh=True).read("fits", "a") is None
    Store(tmp_path, fresh=True).write("fits", "a", {"one": b"2"})
    assert cache.read("fits", "a") == {"one": b"2"}


def damaged(content: bytes) -> list[bytes]:
    """The content cut off in five places, with one bit changed, and replaced by zeros."""
    place = content.index(b"payload")
    flipped = content[: place + 2] + bytes([content[place + 2] ^ 1]) + content[place + 3 :]
    return [content[:end] for end in (0, 1, 30, len(content) // 2, len(content) - 1)] + [flipped, b"\0" * len(content)]


@pytest.mark.parametrize("number", range(7))
def test_a_damaged_entry_is_noticed_and_removed(number, tmp_path):
    cache = Store(tmp_path)
    cache.write("fits", "a", {"one": b"payload" * 100})
    path = cache.entry("fits", "a")
    path.write_bytes(damaged(path.read_bytes())[number])
    assert cache.read("fits", "a") is None
    assert not path.exists()


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_disk_that_takes_nothing_is_a_warning_once(error, tmp_path, monkeypatch, capsys):
    def refuse(*arguments):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "replace", refuse)
    cache = Store(tmp_path)
    for _ in range(2):
        cache.write("fits", "a", {"one": b"1"})
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert os.strerror(error) in err and store.VARIABLE in err
    assert cache.read("fits", "a") is None
    assert list((tmp_path / "fits").iterdir()) == []


def test_a_run_whose_folder_cannot_be_written_is_made_all_the_same(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv(store.VARIABLE, str(tmp_path / "file" / "below"))
    ran = Ran(tmp_path / "out", *SMALL)
    assert (
        ran.status == 0 and ran.err.startswith("compare: warning: nothing can be cached") and ran.err.count("\n") == 1
    )
    assert ran.summary["fits"]["exact"]["status"] == "done"
    assert (tmp_path / "file").read_text() == "mine"


def test_the_least_recently_used_is_removed_first(tmp_path):
    cache = Store(tmp_path, limit=10_000)
    for number, name in enumerate("abc"):
        cache.write("fits", name, {"one": bytes(3000)})
        os.utime(cache.entry("fits", name), (1000 + number, 1000 + number))
    assert cache.read("fits", "a")  # now the last that was used
    cache.write("fits", "d", {"one": bytes(3000)})
    assert [name for name in "abcd" if cache.entry("fits", name).exists()] == ["a", "c", "d"]


def test_an_unfinished_entry_is_removed_after_a_day(tmp_path):
    cache = Store(tmp_path)
    (tmp_path / "fits").mkdir()
    for name, age in ((".a.1.zip", 2 * store.DAY), (".b.1.zip", 0)):
        (tmp_path / "fits" / name).write_bytes(b"half")
        os.utime(tmp_path / "fits" / name, (time.time() - age,) * 2)
    cache.prune(tmp_path)
    assert [path.name for path in (tmp_path / "fits").iterdir()] == [".b.1.zip"]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"POSTERIOR_ZOO_CACHE": "/a/b", "XDG_CACHE_HOME": "/c"}, "/a/b"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/posterior-zoo"),
        ({"XDG_CACHE_HOME": "relative"}, "/home/me/.cache/posterior-zoo"),
        ({}, "/home/me/.cache/posterior-zoo"),
    ],
)
def test_the_folder(variables, expected, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("POSTERIOR_ZOO_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/me", **variables}.items():
        monkeypatch.setenv(name, value)
    assert store.cache_folder() == Path(expected)


def test_leftovers_of_processes_that_are_gone(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for name in (f".draws.{gone.pid}.nc", f".draws.{os.getpid()}.nc", ".hidden", "draws.nc"):
        (tmp_path / name).touch()
    assert [path.name for path in find_leftovers(tmp_path)] == [f".draws.{gone.pid}.nc"]
    with pytest.raises(ValueError), atomic_file(tmp_path / "new") as temporary:
        temporary.write_text("half")
        raise ValueError
    assert not list(tmp_path.glob("*new*"))


# Fits


@pytest.fixture(scope="module")
def fitted() -> list[Fit]:
    """Fits of the chain: by a guide, NUTS, coordinate ascent and from the exact posterior."""
    chain = models.load("chain")
    names = ("exact", "coordinate_ascent", "numpyro-mean_field", "numpyro-nuts")
    return [run(job) for job in plan(Request(chain, chain.data())) if job.name in names]


def test_a_fit_comes_back_as_it_was(fitted, tmp_path):
    """Bit by bit: every group, attribute and type, its seconds and its number of gradients."""
    cache = FitCache(Store(tmp_path))
    for fit in fitted:
        assert cache.load(fit.job) is None
        cache.save(fit)
        loaded = cache.load(fit.job)
        assert loaded.tree.identical(fit.tree) and loaded.cached and not fit.cached
        for node in fit.tree.subtree:
            for name, values in node.to_dataset().variables.items():
                assert loaded.tree[node.path].to_dataset().variables[name].dtype == values.dtype
        assert (loaded.job, loaded.status, loaded.seconds, loaded.gradients) == (
            fit.job,
            "done",
            fit.seconds,
            fit.gradients,
        )
        assert cache.load(replace(fit.job, seed=1)) is None


@pytest.mark.parametrize("change", [{"status": "failed", "tree": None}, {"status": "skipped", "tree": None}])
def test_a_fit_that_failed_or_was_skipped_is_not_cached(change, fitted, tmp_path):
    cache = FitCache(Store(tmp_path))
    cache.save(replace(fitted[0], **change))
    assert cache.load(fitted[0].job) is None


def test_an_intact_entry_that_holds_no_fit_is_removed(fitted, tmp_path):
    cache = FitCache(Store(tmp_path))
    cache.store.write("fits", cache.key(fitted[0].job), {"cost.json": b"{}", "tree.nc": b"no"})
    assert cache.load(fitted[0].job) is None
    assert not cache.store.entry("fits", cache.key(fitted[0].job)).exists()


# The command


@pytest.fixture
def forbid_fits(monkeypatch):
    """A function after whose call any fit that is made fails the test."""

    def stop() -> None:
        monkeypatch.setattr(compare.pipeline, "run", lambda job: pytest.fail(f"{job.name} was made"))

    return stop


def test_a_second_run_makes_nothing_and_leaves_the_same(tmp_path, forbid_fits):
    folder = tmp_path / "out"
    first = Ran(folder, *SMALL)
    (folder / "rank.png").write_bytes(b"of another run, with chains")
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "rank.png"}
    forbid_fits()
    (folder / "report.html").write_text("changed")
    (folder / "draws.nc").unlink()
    second = Ran(folder, *SMALL)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert second.out == first.out + "2 of 2 fits were cached by an earlier run; --fresh repeats them\n"
    assert second.summary == first.summary and "cached" not in first.out
    as_json = Ran(tmp_path / "elsewhere", *SMALL, "--format", "json")
    assert (as_json.out, as_json.err) == ((folder / "summary.json").read_text(), "")


def test_cached_fits_serve_another_comparison(tmp_path):
    """With the seconds that they took when they were made; the other fits are made."""
    first = Ran(tmp_path / "first", *SMALL)
    more = Ran(tmp_path / "more", "coin", "--libraries", "numpyro", "--guides", "mean_field,conjugate", "--no-nuts")
    assert "2 of 3 fits were cached by an earlier run" in more.out
    fits = ("exact", "numpyro-mean_field")
    assert [more.summary["fits"][name] for name in fits] == [first.summary["fits"][name] for name in fits]


def test_fresh_makes_anew_and_replaces(tmp_path):
    first, fresh, third = (Ran(tmp_path / "out", *SMALL, *more) for more in ((), ("--fresh",), ()))
    assert "cached" not in fresh.out
    taken = [ran.summary["fits"]["numpyro-mean_field"]["seconds"] for ran in (first, fresh, third)]
    assert taken[0] != taken[1] == taken[2]


def test_a_fit_that_failed_is_tried_again(tmp_path, monkeypatch):
    def fails(job: Job) -> Fit:
        return Fit(job, "failed", "out of luck", 0.0) if job.library else run(job)

    monkeypatch.setattr(compare.pipeline, "run", fails)
    first = Ran(tmp_path / "out", *SMALL)
    monkeypatch.setattr(compare.pipeline, "run", run)
    second = Ran(tmp_path / "out", *SMALL)
    assert [ran.summary["fits"]["numpyro-mean_field"]["status"] for ran in (first, second)] == ["failed", "done"]
    assert "1 of 2 fits were cached" in second.out


def test_a_cached_report_needs_no_library(tmp_path):
    Ran(tmp_path / "out", *SMALL)
    code = f"""
import sys
from compare.cli.main import main
assert main({[*SMALL, "--out", str(tmp_path / "again")]!r}) == 0
print("loaded", *sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    text, _, loaded = done.stdout.rpartition("loaded")
    assert "2 of 2 fits were cached" in text
    heavy = {"jax", "numpyro", "torch", "pyro", "arviz_base", "arviz_stats", "arviz_plots", "matplotlib", "distributed"}
    assert heavy & set(loaded.split()) == set()


def test_two_at_once_do_not_spoil_each_other(tmp_path):
    command = [sys.executable, "-m", "compare", *SMALL, "--out", str(tmp_path / "out"), "--format", "json"]
    both = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    outputs = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0] and [err for _, err in outputs] == [b"", b""]
    third = Ran(tmp_path / "out", *SMALL)
    assert "2 of 2 fits were cached" in third.out
    assert third.out and not list((tmp_path / "out").glob(".*"))


def test_a_run_that_was_killed_goes_on_where_it_was(tmp_path):
    """Killed as soon as a fit is cached; the next run does not repeat that fit, and ends as an undisturbed run does."""
    folder = Path(os.environ[store.VARIABLE]) / "fits"
    command = [
        sys.executable,
        "-m",
        "compare",
        "chain",
        "--libraries",
        "numpyro",
        "--guides",
        "mean_field",
        "--no-nuts",
    ]
    with subprocess.Popen([*command, "--out", str(tmp_path / "out")], cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not list(folder.glob("[!.]*.zip")) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()
    entries = list(folder.glob("[!.]*.zip"))
    assert process.returncode == -9 and not (tmp_path / "out" / "summary.json").exists()
    seconds = set()
    for path in entries:
        with zipfile.ZipFile(path) as archive:
            seconds.add(json.loads(archive.read("cost.json"))["seconds"])
    ran = Ran(tmp_path / "out", *command[3:])
    assert f"{len(entries)} of 4 fits were cached" in ran.out
    assert seconds <= {fit["seconds"] for fit in ran.summary["fits"].values()}
    assert not list((tmp_path / "out").glob(".*"))


# A user's model


WRITTEN = """
import numpy as np
import numpyro
import numpyro.distributions as dist
from {beside} import SCALE

SHIFT = float(open({shift!r}).read())
data = {{"x": np.array([0.5, 1.5])}}


def model(x):
    z = numpyro.sample("z", dist.Normal(SHIFT, SCALE))
    numpyro.sample("x", dist.Normal(z, 1.0), obs=x.sum())
"""


def test_a_users_fit_follows_the_file_its_neighbours_and_what_they_read(tmp_path, monkeypatch):
    """Each version is read as a new process would read it."""

    def fit_key(beside: str = "SCALE = 2.0\n", shift: str = "0.5", more: str = "", data: float = 0.5) -> str:
        fit_key.calls += 1
        folder = tmp_path / str(fit_key.calls)
        folder.mkdir()
        (folder / "beside_mine.py").write_text(beside)
        (folder / "shift.txt").write_text(shift)
        text = WRITTEN.format(beside="beside_mine", shift=str(folder / "shift.txt"))
        (folder / "mine.py").write_text(text.replace(str(folder), "").replace("'/shift.txt'", "'shift.txt'") + more)
        monkeypatch.chdir(folder)
        monkeypatch.setattr(user_model, "_known", {})
        monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
        sys.modules.pop("beside_mine", None)
        mine, _ = user_model.read("mine.py")
        given = user_model.data_of(mine, {"x": np.array([data, 1.5])})
        job = Job("numpyro-mean_field", "mine.py", given, "svi", "numpyro", "mean_field", 0, Options())
        return FitCache(Store(tmp_path / "cache")).key(job)

    fit_key.calls = 0
    fit_keys = [
        fit_key(),
        fit_key(),
        fit_key(beside="SCALE = 2.5\n"),
        fit_key(beside="SCALE = 2.0  # \n"),
        fit_key(shift="0.6"),
        fit_key(more="# more\n"),
        fit_key(data=0.6),
    ]
    assert None not in fit_keys and fit_keys[0] == fit_keys[1] and len(set(fit_keys)) == len(fit_keys) - 1


def test_options_that_cannot_be_hashed_are_not_cached(tmp_path):
    class Odd:
        def __init__(self) -> None:
            self.function = lambda: 0

    assert FitCache(Store(tmp_path)).key(replace(JOB, options=Odd())) is None
