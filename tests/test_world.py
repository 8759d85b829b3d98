"""Faults of the world: a disk that fills, a folder that vanishes, a worker that is killed, files that are cut in half.

Each ends in a line that says what is wrong, or in the same numbers by another way; it leaves nothing half-written, and
the next run simply works.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import io
import json
import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure
from test_properties import RESULT, outcome
from test_report import a_comparison
from test_workers import numbers

import compare.pipeline
from compare import report
from compare.cache.store import VARIABLE
from compare.cli.main import main
from compare.comparison import Fit, Job
from compare.fit import run
from compare.report import pictures
from models.decoder import Decoder

resource = pytest.importorskip("resource", reason="limits of a process are a matter of POSIX")

ROOT = Path(__file__).parents[1]
SMALL = ("coin", "--libraries", "numpyro", "--guides", "conjugate", "--no-nuts")
FULL = os.strerror(errno.ENOSPC)


class Ran:
    """The command, run in this process: its status and what it printed."""

    def __init__(self, *arguments: str, stdout: Any = None) -> None:
        out, err = stdout or io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            self.status = main(list(arguments))
        self.out, self.err = None if stdout else out.getvalue(), err.getvalue()


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def works(folder: Path, *arguments: str) -> Ran:
    """Run the command again: it says nothing of any trouble, and leaves whole files and no others."""
    ran = Ran(*arguments, "--out", str(folder))
    assert (ran.status, ran.err) == (0, "")
    assert {"summary.json", "draws.nc", "report.html", "posterior.png"} <= set(content(folder))
    assert not list(folder.glob(".*"))
    json.loads((folder / "summary.json").read_text())
    with xr.open_datatree(folder / "draws.nc", engine="h5netcdf") as tree:
        assert set(tree.children) == {"exact", "numpyro-conjugate"}
    return ran


@pytest.fixture(autouse=True)
def one_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each comparison one picture is drawn: how it ends does not depend on their number."""
    every = pictures.applicable
    monkeypatch.setattr(
        pictures, "applicable", lambda comparison: [d for d in every(comparison) if d.name == "posterior"]
    )


@pytest.fixture
def cache_folder() -> Path:
    """The folder of cached fits and reports."""
    return Path(os.environ[VARIABLE])


# A disk that fills


@contextlib.contextmanager
def room(size: int) -> Iterator[None]:
    """No file can grow beyond this size: the system's error is as real as that of a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def halves(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The disk is full when half of a file of that name is written, or of the temporary one in its place."""

    def meant(path: Any) -> bool:
        return re.sub(r"^\.(.+)\.\d+(\.\w+)$", r"\1\2", Path(path).name) == name

    def full(path: Any) -> OSError:
        return OSError(errno.ENOSPC, FULL, str(path))

    def half(original: Callable[..., Any]) -> Callable[..., Any]:
        def write(self: Path, value: Any, *more: Any, **options: Any) -> Any:
            if not meant(self):
                return original(self, value, *more, **options)
            original(self, value[: len(value) // 2], *more, **options)
            raise full(self)

        return write

    def drawn(original: Callable[..., Any]) -> Callable[..., Any]:
        def save(self: Figure, path: Any, *more: Any, **options: Any) -> None:
            original(self, path, *more, **options)
            if meant(path):
                os.truncate(path, Path(path).stat().st_size // 2)
                raise full(path)

        return save

    monkeypatch.setattr(Path, "write_text", half(Path.write_text))
    monkeypatch.setattr(Path, "write_bytes", half(Path.write_bytes))
    monkeypatch.setattr(Figure, "savefig", drawn(Figure.savefig))


@pytest.fixture
def sketched(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Any]:
    """Comparisons by seed, of which one network was learnt."""
    monkeypatch.setattr(report, "weights", lambda fit: {})

    def build(seed: int) -> Any:
        comparison = a_comparison(nuts=False)
        comparison.model.amortization = SimpleNamespace(
            with_decoder=lambda data, weights: data, save=lambda data, path: path.write_bytes(b"weights" * (seed + 2))
        )
        request, trainings = replace(comparison.request, seed=seed), {"numpyro-flow": comparison.fits["exact"]}
        return replace(comparison, request=request, trainings=trainings)

    return build


@pytest.mark.parametrize(
    "file", ["draws.nc", "posterior.png", "network-numpyro-flow.npz", "summary.json", "report.html"]
)
def test_a_report_is_written_as_a_whole_or_not_at_all(file, sketched, monkeypatch, tmp_path):
    """Whichever file finds the disk full: what an earlier run left is as it was, and the next run writes all of it."""
    folder = tmp_path / "new" / "out"
    with monkeypatch.context() as patch:
        halves(patch, file)
        with pytest.raises(OSError, match=FULL):
            report.write(sketched(0), folder)
    assert list(tmp_path.iterdir()) == []
    _, written = report.write(sketched(0), folder)
    before = content(folder)
    assert file in before and {path.name for path in written} == set(before)
    with monkeypatch.context() as patch:
        halves(patch, file)
        with pytest.raises(OSError, match=FULL):
            report.write(sketched(1), folder)
    assert content(folder) == before
    report.write(sketched(1), folder)
    after = content(folder)
    assert set(after) == set(before) and json.loads(after["summary.json"])["seed"] == 1
    assert after["network-numpyro-flow.npz"] != before["network-numpyro-flow.npz"]


@pytest.mark.parametrize("size", [0, 20_000])
def test_a_full_disk_is_a_line_and_the_next_run_works(size, tmp_path, cache_folder):
    """Real limits: neither the cache nor the report finds room. HDF5 once ended the process here."""
    with room(size):
        ran = Ran(*SMALL, "--out", str(tmp_path / "out"))
    assert ran.status == 1 and ran.out == ""
    warning, line = ran.err.splitlines()
    assert warning.startswith("compare: warning: nothing can be cached in ") and VARIABLE in warning
    assert line.startswith(f"compare: {tmp_path / 'out'} cannot be written (") and "name another folder" in line
    assert list(tmp_path.iterdir()) == [] and content(cache_folder) == {}
    works(tmp_path / "out", *SMALL)


def test_what_found_room_is_cached_for_the_next_run(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        halves(patch, "report.html")
        ran = Ran(*SMALL, "--out", str(tmp_path / "out"))
    remedy = "make room there, or name another folder with --out"
    assert (ran.status, ran.out) == (1, "")
    assert ran.err == f"compare: {tmp_path / 'out'} cannot be written ({FULL}); {remedy}\n"
    assert "2 of 2 fits were cached" in works(tmp_path / "out", *SMALL).out
    with monkeypatch.context() as patch:  # and when a whole report is restored
        halves(patch, "draws.nc")
        ran = Ran(*SMALL, "--out", str(tmp_path / "again"))
    assert (ran.status, ran.err.count("\n")) == (1, 1) and not (tmp_path / "again").exists()
    works(tmp_path / "again", *SMALL)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("form", ["text", "json"])
def test_output_that_cannot_be_written_is_a_line(form, tmp_path):
    with open("/dev/full", "w") as full:
        ran = Ran(*SMALL, "--format", form, "--out", str(tmp_path / "out"), stdout=full)
        with contextlib.suppress(OSError):
            full.close()
    assert ran.status == 1
    assert ran.err == f"compare: standard output cannot be written ({FULL}); the files are in {tmp_path / 'out'}\n"
    works(tmp_path / "out", *SMALL)


def test_a_network_is_saved_whole_or_not_at_all(tmp_path):
    rng = np.random.default_rng(0)
    decoder = Decoder({"output_weights": rng.normal(size=(2, 2000)), "output_biases": np.zeros(2000)})
    with room(10_000), pytest.raises(OSError):
        decoder.save(tmp_path / "network-numpyro-flow.npz")
    assert list(tmp_path.iterdir()) == []
    assert Decoder.load(decoder.save(tmp_path / "network-numpyro-flow.npz")) == decoder


def test_a_full_disk_stops_one_model_and_is_remembered(tmp_path, monkeypatch):
    """The whole zoo goes on with the other models, though not even the failure can be noted."""
    models, out = (
        ("all", "--models", "coin,chain", *SMALL[1:3], "--no-nuts", "--guides", "mean_field"),
        tmp_path / "zoo",
    )
    with monkeypatch.context() as patch:
        halves(patch, "failure.json")
        original = report.write

        def write(comparison: Any, folder: Path, *more: Any) -> tuple[Any, list[Path]]:
            if comparison.model.name == "coin":
                raise OSError(errno.ENOSPC, FULL)
            return original(comparison, folder, *more)

        patch.setattr(report, "write", write)
        ran = Ran(*models, "--out", str(out))
    assert ran.status == 1 and ran.err.count("\n") == 1
    assert "coin could not be compared" in ran.err and FULL in ran.err
    assert "chain: " in ran.out and content(out / "coin") == {}
    ran = Ran(*models, "--out", str(out))
    assert (ran.status, ran.err) == (0, "") and (out / "coin" / "summary.json").exists()


# A folder that vanishes


def meanwhile(monkeypatch: pytest.MonkeyPatch, work: Callable[[], Any]) -> None:
    """Have something happen while the fits are made."""

    def run_after_work(job: Job) -> Fit:
        work()
        return run(job)

    monkeypatch.setattr(compare.pipeline, "run", run_after_work)


def test_folders_that_vanish_while_fits_are_made_come_back(tmp_path, monkeypatch, cache_folder):
    works(tmp_path / "out", *SMALL)

    def vanish() -> None:
        for folder in (tmp_path / "out", cache_folder):
            shutil.rmtree(folder, ignore_errors=True)

    with monkeypatch.context() as patch:
        meanwhile(patch, vanish)
        works(tmp_path / "out", *SMALL, "--fresh")
    assert "fits were cached" in works(tmp_path / "out", *SMALL).out


def test_a_folder_that_vanishes_while_it_is_written_to_is_a_line(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        original = report.save_draws

        def vanish(*arguments: Any) -> Path:
            path = original(*arguments)
            shutil.rmtree(tmp_path / "out")
            return path

        patch.setattr(report, "save_draws", vanish)
        ran = Ran(*SMALL, "--out", str(tmp_path / "out"))
    assert (ran.status, ran.out, ran.err.count("\n")) == (1, "", 1)
    assert ran.err.startswith(f"compare: {tmp_path / 'out'} cannot be written (No such file or directory)")
    assert list(tmp_path.iterdir()) == []
    works(tmp_path / "out", *SMALL)


def test_a_file_in_the_place_of_a_folder_is_left_alone(tmp_path, monkeypatch, cache_folder):
    """The folders for the report and for the cache become files while the fits are made."""

    def replaced() -> None:
        for folder in (tmp_path / "out", cache_folder):
            if not folder.is_file():
                shutil.rmtree(folder, ignore_errors=True)
                folder.write_text("mine")

    with monkeypatch.context() as patch:
        meanwhile(patch, replaced)
        ran = Ran(*SMALL, "--out", str(tmp_path / "out"))
    assert ran.status == 1 and ran.out == ""
    warning, line = ran.err.splitlines()
    assert "nothing can be cached" in warning and line.startswith(f"compare: {tmp_path / 'out'} cannot be written (")
    assert content(tmp_path) == {"out": b"mine"} and cache_folder.read_text() == "mine"
    for folder in (tmp_path / "out", cache_folder):
        folder.unlink()
    works(tmp_path / "out", *SMALL)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no folder here that nobody can write")
@pytest.mark.parametrize("below", ["zoo", "self/zoo/zoo"])
def test_a_folder_that_nobody_can_write_is_refused_before_any_fit(below):
    ran = Ran(*SMALL, "--out", f"/proc/{below}")
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert ran.err.startswith(f"compare: --out /proc/{below}: cannot be written (")


# A worker that is killed


MINE = """
import multiprocessing, os, signal
import numpy as np, numpyro, numpyro.distributions as dist
from scipy import stats

data = {{"x": np.array([0.5, 1.5])}}


class exact:
    method, tolerance = "closed form", 0.0
    sd_of, mean_of = (1 / 3) ** 0.5, 2 / 3

    def __init__(self, x):
        self.log_evidence = float(stats.multivariate_normal(np.zeros(2), np.eye(2) + 1).logpdf(x))
        self.x = x

    def draw(self, rng, count): return {{"z": rng.normal(self.mean_of, self.sd_of, count)}}
    def log_prior(self, latents): return stats.norm.logpdf(latents["z"])
    def log_likelihood(self, latents): return stats.norm.logpdf(self.x, latents["z"][:, None]).sum(axis=1)
    def log_posterior(self, latents): return stats.norm.logpdf(latents["z"], self.mean_of, self.sd_of)
    def mean(self): return {{"z": np.asarray(self.mean_of)}}
    def sd(self): return {{"z": np.asarray(self.sd_of)}}
    def quantile(self, p): return {{"z": np.asarray(stats.norm.ppf(p, self.mean_of, self.sd_of))}}
    def density(self, site, index, grid): return stats.norm.pdf(grid, self.mean_of, self.sd_of)
    def correlations(self): return {{}}
    def facts(self): return {{}}


def model(x):
    if multiprocessing.parent_process() is not None and len(os.listdir({place!r})) < {times}:
        open(os.path.join({place!r}, str(os.getpid())), "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    z = numpyro.sample("z", dist.Normal(0.0, 1.0))
    numpyro.sample("x", dist.Normal(z, 1.0).expand([2]).to_event(1), obs=x)
"""
"""A model that kills the helper process it is fitted in, a given number of times."""


def killed(tmp_path: Path, times: int) -> subprocess.CompletedProcess:
    """The command on a model that is killed so often; it leaves a file for each time."""
    (tmp_path / "times").mkdir(exist_ok=True)
    (tmp_path / "mine.py").write_text(MINE.format(place=str(tmp_path / "times"), times=times))
    options = [
        "--guides",
        "mean_field",
        "--no-nuts",
        "--workers",
        "2",
        "--format",
        "json",
        "--out",
        str(tmp_path / "out"),
    ]
    command = [sys.executable, "-m", "compare", str(tmp_path / "mine.py"), *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_nothing_but_time(tmp_path):
    done = killed(tmp_path, 1)
    assert (done.returncode, done.stderr, len(list((tmp_path / "times").iterdir()))) == (0, "", 1)
    (tmp_path / "again").mkdir()
    undisturbed = killed(tmp_path / "again", 0)
    results, expected = (numbers(json.loads(process.stdout)["fits"]) for process in (done, undisturbed))
    assert results == expected and '"numpyro-mean_field"' in results
    assert not list((tmp_path / "out").glob(".*"))


@pytest.mark.slow
def test_a_worker_that_is_always_killed_is_a_failed_fit_that_the_next_run_makes(tmp_path):
    done = killed(tmp_path, 100)
    fits = json.loads(done.stdout)["fits"]
    assert (done.returncode, done.stderr) == (0, "")
    assert fits["exact"]["status"] == "done" and fits["numpyro-mean_field"]["status"] == "failed"
    assert fits["numpyro-mean_field"]["reason"] == "its process ended unexpectedly, 3 times"
    again = json.loads(killed(tmp_path, 0).stdout)["fits"]
    assert again["numpyro-mean_field"]["verdict"]["word"] == "agrees"


@pytest.mark.skipif(sys.platform != "linux", reason="chains have processes of their own on Linux only")
def test_a_chain_that_is_killed_is_an_error_and_no_endless_wait():
    """Before the block that is waited for, and while it is made."""
    pytest.importorskip("pyro")
    code = """
import os, signal, sys
from compare.comparison import Job
from compare.fit.mcmc import nuts_pyro
from compare.options import Options
from models.coin import Coin

original = nuts_pyro.Chains.__enter__
nuts_pyro.Chains.__enter__ = lambda chains: (os.kill(chains.processes[2].pid, signal.SIGKILL), original(chains))[1]
from compare.fit import run
fit = run(Job("pyro-nuts", "coin", Coin(), "nuts", "pyro", None, 0, Options(warmup=10)))
print(fit.status, fit.reason)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("failed a chain's process ended unexpectedly\n", "")


# Files that are cut in half


@pytest.fixture
def refused(tmp_path, monkeypatch) -> Callable[..., list[str]]:
    """What the command says of a file that is cut off at each of some places, an empty line where it takes it."""
    monkeypatch.chdir(tmp_path)

    def cut(name: str, intact: bytes, arguments: list[str], step: int = 1) -> list[str]:
        path = tmp_path / name
        path.write_bytes(intact)
        assert outcome(arguments) == RESULT
        messages = []
        for end in range(0, len(intact), step):
            path.write_bytes(intact[:end])
            messages.append(outcome(arguments))
        path.write_bytes(intact)
        assert outcome(arguments) == RESULT  # and nothing of the cut file is remembered
        return messages

    return cut


def test_a_table_that_is_cut_off(refused):
    """Within a row it is refused; behind one, or within a number, nothing tells it from a shorter table."""
    intact = b'x,y,"z"\n' + b"".join(b'%d,%d.25,"%d.5"\n' % (row, row**2, row % 3) for row in range(9))
    messages = refused("table.csv", intact, ["bnn", "--data", "table.csv", "--target", "y"])
    lines = [intact[:end].rpartition(b"\n")[2] for end in range(len(intact))]
    for line, message in zip(lines, messages, strict=True):
        if message == RESULT:
            assert line == b"" or (line.count(b",") == 2 and line.count(b'"') != 1)
        else:
            assert "table.csv" in message
    assert sum(message == RESULT for message in messages) < len(messages) // 2


IMAGES = np.random.default_rng(0).integers(0, 256, (25, 2, 3), dtype=np.uint8)
IDX = bytes([0, 0, 8, 3]) + struct.pack(">3I", *IMAGES.shape) + IMAGES.tobytes()


def archive(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "intact", "step"),
    [
        ("images.idx", IDX, 1),
        ("images.idx.gz", gzip.compress(IDX, mtime=0), 1),
        ("images.npz", archive(images=IMAGES), 3),
    ],
)
def test_images_that_are_cut_off_are_refused(name, intact, step, refused):
    messages = refused(name, intact, ["vae", "--data", name, "--batch", "20", "--images", "2"], step)
    assert RESULT not in messages and all(name in message for message in messages)


def test_a_decoder_that_is_cut_off_is_refused(refused):
    intact = archive(output_weights=np.ones((2, 64)), output_biases=np.zeros(64))
    messages = refused("decoder.npz", intact, ["vae", "--decoder", "decoder.npz"], 5)
    assert RESULT not in messages and all("decoder.npz" in message for message in messages)


def test_the_data_of_a_users_model_that_are_cut_off_are_refused(refused, tmp_path):
    (tmp_path / "mine.py").write_text(MINE.format(place=".", times=0))
    messages = refused("data.json", b'{"x": [0.5, 1.5]}', ["mine.py", "--data", "data.json"])
    assert RESULT not in messages and all("data.json" in message and "is not JSON" in message for message in messages)


def test_a_users_model_that_is_cut_off_is_refused_or_a_shorter_program(refused, monkeypatch):
    """Cut behind a line it may be one: without its last sites it is another model, which no one can tell."""
    intact = MINE.format(place=".", times=0).encode()
    messages = refused("mine.py", intact, ["mine.py"], 61)
    assert all("mine.py" in message or "the model" in message for message in messages if message != RESULT)
    assert len(set(messages)) > 5 and messages.count(RESULT) <= 2


# What an earlier run left, cut off


def cut_all(folder: Path) -> None:
    """Cut every file below a folder in half."""
    for path in folder.rglob("*"):
        if path.is_file():
            os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("also", ["the report's files", "the cache"])
def test_files_that_are_cut_off_are_made_whole_by_the_next_run(also, tmp_path, cache_folder):
    """From the cache, to the last byte; where that is cut off too, by fitting again, with the same numbers."""
    folder = tmp_path / "out"
    works(folder, *SMALL)
    before = content(folder)
    cut_all(folder)
    if also == "the cache":
        cut_all(cache_folder)
    again = works(folder, *SMALL)
    assert ("2 of 2 fits were cached" in again.out) == (also != "the cache")
    after = content(folder)
    if also != "the cache":
        assert after == before
    results, expected = (numbers(json.loads(files["summary.json"])) for files in (after, before))
    assert results == expected


def test_cached_fits_that_are_cut_off_are_made_again(tmp_path, cache_folder):
    works(tmp_path / "out", *SMALL)
    shutil.rmtree(cache_folder / "reports")
    cut_all(cache_folder / "fits")
    assert "were cached" not in works(tmp_path / "out", *SMALL).out
    shutil.rmtree(cache_folder / "reports")
    assert "2 of 2 fits were cached" in works(tmp_path / "out", *SMALL).out


def test_a_summary_that_is_cut_off_is_said_to_be(tmp_path):
    """By the page of the whole zoo, which is made all the same; and the model's next run mends it."""
    works(tmp_path / "coin", *SMALL)
    cut_all(tmp_path / "coin")
    ran = Ran("all", "--page-only", "--out", str(tmp_path))
    line = "coin: failed: its summary.json is cut off or damaged; make the comparison anew"
    assert (ran.status, ran.err, ran.out.splitlines()[0]) == (1, "", line)
    assert "cut off or damaged" in (tmp_path / "index.html").read_text()
    works(tmp_path / "coin", *SMALL)
    ran = Ran("all", "--page-only", "--out", str(tmp_path))
    assert (ran.status, ran.err) == (0, "") and ran.out.startswith("coin: 1 exact")
