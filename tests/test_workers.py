"""One machine or many: the same numbers wherever the fits are made, and whoever dies on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compare import pipeline
from compare.cli.main import main
from compare.comparison import Fit, Job, Request
from compare.execute.dispatch import ATTEMPTS, SMALL, dispatch, make_batches
from compare.execute.processes import RestartingPool, Workers, share_processes, workers
from compare.fit.mcmc.nuts import Adaptation
from models.coin import MODEL, Coin

ROOT = Path(__file__).parents[1]
GUIDES = ["mean_field"]
"""With NUTS, and in both libraries, what a run of seconds can hold."""


def numbers(summary: dict[str, Any]) -> str:
    """A summary without what is another in each run: the seconds. To the last digit."""

    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without(item) for key, item in value.items() if key != "seconds"}
        return [without(item) for item in value] if isinstance(value, list) else value

    return json.dumps(without(summary), sort_keys=True)


def by_command(folder: Path, *options: str) -> str:
    """The numbers that the command finds in an interpreter of its own."""
    command = [sys.executable, "-m", "compare", "coin", "--guides", ",".join(GUIDES), "--format", "json", "--fresh"]
    done = subprocess.run([*command, "--out", str(folder), *options], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return numbers(json.loads(done.stdout))


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> str:
    """The numbers of one process that does everything."""
    return by_command(tmp_path_factory.mktemp("alone"), "--workers", "1")


def test_two_processes_find_what_one_does(alone, tmp_path):
    assert by_command(tmp_path) == alone


@contextmanager
def cluster(count: int) -> Iterator[tuple[Any, dict[str, subprocess.Popen]]]:
    """A scheduler in this process, and workers in processes of their own, by name."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=0, dashboard_address=":0", silence_logs=50) as here:
        command = [sys.executable, "-m", "distributed.cli.dask_worker", here.scheduler_address]
        options = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--name"]
        started = {
            str(number): subprocess.Popen([*command, *options, str(number)], cwd=ROOT, stderr=subprocess.DEVNULL)
            for number in range(count)
        }
        try:
            yield here.scheduler, started
        finally:
            for process in started.values():
                process.kill()
                process.wait()


def until(true: Any, seconds: float = 60.0) -> Any:
    """What it returns, once that is something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = true()
        if value:
            return value
        time.sleep(0.02)
    raise TimeoutError


@pytest.mark.slow
def test_a_cluster_that_loses_a_worker_finds_what_one_process_does(alone):
    """The first worker that is at work is killed there and then; the fit it was at is made by another."""
    with cluster(3) as (scheduler, started):
        until(lambda: len(scheduler.workers) == 3)
        killed: list[set[str]] = []

        def kill() -> None:
            at_work = until(lambda: next((worker for worker in scheduler.workers.values() if worker.processing), None))
            time.sleep(1.0)
            killed.append({task.key for task in at_work.processing})
            started[str(at_work.name)].kill()

        killer = threading.Thread(target=kill)
        killer.start()
        progress = []
        with workers(["numpyro", "pyro"], scheduler=scheduler.address) as helpers:
            comparison = pipeline.compare(
                Request(MODEL, Coin(), guides=GUIDES), helpers, lambda line, done=0, total=None: progress.append(done)
            )
        killer.join()
        assert killed[0] and len(scheduler.workers) == 2
    assert len(comparison.fits) == 5 and set(range(5)) <= set(progress)
    assert numbers(comparison.summary) == alone


def test_own_models_are_sent_to_the_cluster_by_value(tmp_path, monkeypatch, capsys):
    """The file, and the neighbour it imports, are nowhere that the worker looks."""
    (tmp_path / "beside.py").write_text("SCALE = 2.0\n")
    (tmp_path / "sent.py").write_text(
        "import numpyro\nimport numpyro.distributions as dist\nimport numpy as np\n"
        "from beside import SCALE\n\ndata = {'x': np.array([0.5, 1.5])}\n\n"
        "def model(x):\n    z = numpyro.sample('z', dist.Normal(0, SCALE))\n"
        "    numpyro.sample('x', dist.Normal(z, 1.0).expand([2]).to_event(1), obs=x)\n"
    )
    monkeypatch.chdir(tmp_path)
    with cluster(1) as (scheduler, _):
        options = ["--guides", "mean_field", "--no-nuts", "--reference-ess", "200"]
        assert main(["sent.py", *options, "--format", "json", "--scheduler", scheduler.address]) == 0
    fits = json.loads(capsys.readouterr().out)["fits"]
    assert [fit["status"] for fit in fits.values()] == ["done", "done"]
    variable = fits["numpyro-mean_field"]["variables"]["z"]
    assert abs(variable["mean"] - 8 / 9) < 5 * variable["mcse_mean"]  # precision 1/4 + 2, data sum 2: 2 / 2.25


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense://here", " "])
def test_an_address_where_nobody_answers_is_one_line(address, tmp_path, capsys):
    pytest.importorskip("distributed")
    assert main(["coin", "--scheduler", address, "--out", str(tmp_path / "out")]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "--scheduler" in err
    assert not (tmp_path / "out").exists()


def test_workers_here_and_there_cannot_both_be_asked_for(tmp_path, capsys):
    arguments = ["coin", "--scheduler", "tcp://127.0.0.1:9", "--workers", "2", "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "give one of them" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("libraries", "processes", "expected"),
    [
        (["a", "b"], None, {"b": 1}),
        (["a", "b"], 2, {"b": 1}),
        (["a", "b"], 1, {}),
        (["a"], None, {}),
        (["a"], 1, {}),
        (["a"], 3, {"a": 3}),
        (["a", "b"], 5, {"a": 3, "b": 2}),
        ([], None, {}),
    ],
)
def test_each_library_gets_its_share(libraries, processes, expected):
    assert share_processes(libraries, processes) == expected


def jobs(count: int) -> list[Job]:
    return [Job(f"fit-{number}", "coin", Coin(), "svi", ("numpyro", "pyro")[number % 2]) for number in range(count)]


@pytest.mark.parametrize(("count", "n_slots"), [(1, 1), (SMALL, 3), (SMALL + 1, 3), (10_000, 3), (10_000, 5000)])
def test_every_job_is_in_one_batch_and_none_is_lost(count, n_slots):
    batches = make_batches(jobs(count), n_slots)
    assert sorted(job.name for batch in batches for job in batch) == sorted(job.name for job in jobs(count))
    assert all(len({job.library for job in batch}) == 1 for batch in batches)
    assert all(len(batch) == 1 for batch in batches) or count > SMALL


class Dying(Executor):
    """An executor in which some jobs kill the process, and with it what else was asked for: all but the first time."""

    def __init__(self, deadly: dict[str, int]) -> None:
        self.deadly, self.calls = dict(deadly), 0

    def submit(self, function, /, *arguments, **keywords) -> Future:
        self.calls += 1
        future: Future = Future()
        (batch,) = arguments
        if any(self.deadly.get(job.name, 0) > 0 for job in batch):
            for job in batch:
                self.deadly[job.name] = self.deadly.get(job.name, 0) - 1
            future.set_exception(BrokenExecutor("dead"))
        else:
            future.set_result([Fit(None, "done", None, 0.0, 1) for _ in batch])
        return future


@pytest.mark.parametrize(("times", "status"), [(1, "done"), (ATTEMPTS - 1, "done"), (ATTEMPTS, "failed")])
def test_a_fit_whose_process_dies_is_tried_again_and_at_last_failed(times, status):
    requested = jobs(8)
    executor = Dying({"fit-3": times})
    saved: list[Fit] = []
    fits = list(dispatch(requested, Workers({"numpyro": executor, "pyro": executor}), saved.append))
    assert sorted(fit.job.name for fit in fits) == sorted(job.name for job in requested)
    assert {fit.job.name: fit.status for fit in fits}["fit-3"] == status
    assert all(fit.status == "done" for fit in fits if fit.job.name != "fit-3")
    assert sorted(fit.job.name for fit in saved) == sorted(job.name for job in requested)


@pytest.mark.parametrize(
    ("methods", "data", "sent"),
    [
        (("reference", "svi", "nuts", "guide"), Coin(), ["fit-1", "fit-2"]),
        (("importance", "svi", "nuts", "guide"), Coin(), []),
        (("reference", "svi", "nuts", "guide"), lambda: None, []),
    ],
)
def test_fits_do_not_wait_for_a_long_reference(monkeypatch, methods, data, sent):
    """Another process makes them, unless there is no reference, or what they need cannot be sent."""
    here: list[str] = []
    monkeypatch.setattr(pipeline, "run", lambda job: here.append(job.name) or Fit(job, "done"))
    requested = [Job(f"fit-{n}", "coin", data, method, "numpyro") for n, method in enumerate(methods)]
    executor = Dying({})
    fits = pipeline.make_fits(requested, Workers(beside=executor), pipeline.silent)
    assert list(fits) == [job.name for job in requested] and executor.calls == len(sent)
    assert here == [job.name for job in requested if job.name not in sent]


@pytest.mark.parametrize(
    ("libraries", "processes", "processors", "is_there"),
    [
        (["numpyro"], None, 2, True),
        (["numpyro"], None, 1, False),
        (["numpyro"], 1, 2, False),
        (["numpyro", "pyro"], None, 8, False),
        (["pyro"], None, 5, True),
        (["pyro"], None, 4, False),  # its chains have a process each
    ],
)
def test_a_library_alone_has_a_second_process_for_what_would_wait(
    monkeypatch, libraries, processes, processors, is_there
):
    monkeypatch.setattr("compare.execute.processes.n_processors", lambda: processors)
    monkeypatch.setattr("compare.execute.processes.RestartingPool.submit", lambda *_: None)
    with workers(libraries, processes) as helpers:
        assert (helpers.beside is not None) is is_there


def test_an_error_on_the_way_is_a_failed_fit_that_says_why():
    class Refusing(Executor):
        def submit(self, function, /, *arguments, **keywords) -> Future:
            future: Future = Future()
            future.set_exception(ModuleNotFoundError("No module named 'compare'"))
            return future

    (fit,) = dispatch(jobs(1), Workers({"numpyro": Refusing()}), lambda fit: None)
    assert fit.status == "failed" and "No module named 'compare'" in fit.reason


def test_another_process_comes_in_the_place_of_one_that_dies():
    import multiprocessing

    pool = RestartingPool(1, multiprocessing.get_context("spawn"))
    try:
        first = pool.submit(os.getpid).result()
        os.kill(first, signal.SIGKILL)
        with pytest.raises(BrokenExecutor):
            pool.submit(os.getpid).result()
        assert pool.submit(os.getpid).result() not in (first, os.getpid())
    finally:
        pool.shutdown()


def test_chains_that_share_a_process_draw_what_each_draws_alone(monkeypatch):
    """Two blocks of each: the second comes after the other chain's first."""
    nuts = pytest.importorskip("compare.fit.mcmc.nuts_pyro")
    monkeypatch.setattr(nuts, "forkable", lambda: False)
    monkeypatch.setattr(nuts, "BLOCK", 20)
    data, static = nuts.split_arguments(Coin().arguments())
    model = nuts.bind(nuts.twins.twin("coin", "pyro"), dict(static)).model

    def drawn(*seeds: int) -> list[np.ndarray]:
        deadline = time.perf_counter() + 600
        with nuts.Chains([(model, data, seed, Adaptation(0.8), 30, deadline, 600.0) for seed in seeds]) as chains:
            return list(np.concatenate([chains.block()[0]["theta"] for _ in range(2)], axis=1))

    together = drawn(0, 1)
    assert np.array_equal(together, [*drawn(0), *drawn(1)]) and len(np.unique(together)) > 40
