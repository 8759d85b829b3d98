"""What it costs to have a fit made by somebody else: the code that hands out a plan's jobs, given jobs with no work.

    python -m tests.experiments.scheduling [jobs ...]

On a Dask cluster (a scheduler and two workers, each a process here) and on two processes of a pool; each fit a task of
its own, and in the batches that are used beyond 100 jobs. The processor seconds of each process say which of them
limits it. The jobs are skipped fits of the coin, so that nothing but the handing out and the coming back takes time.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psutil

from compare.comparison import Job
from compare.execute.dispatch import dispatch, make_batches
from compare.execute.processes import Workers, workers
from compare.fit import run_each
from compare.options import Options
from models.coin import Coin

ALL_ALONE = 10**9
"""Slots at which each fit is a task of its own."""

LONGEST = 20_000
"""Jobs up to which each is also tried as a task of its own."""


def jobs(count: int) -> list[Job]:
    """Data sets of which none is fitted."""
    return [
        Job(
            f"fit-{number}",
            "coin",
            Coin(heads=number % 11),
            "svi",
            "numpyro",
            "mean_field",
            number,
            Options(),
            "no work",
        )
        for number in range(count)
    ]


@contextmanager
def dask(count: int) -> Iterator[tuple[Workers, dict[str, psutil.Process]]]:
    """A cluster of processes on this machine, and those processes by name."""
    with tempfile.TemporaryDirectory() as scratch:
        place = str(Path(scratch) / "scheduler.json")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard"]
        started = {"scheduler": subprocess.Popen([*command, "--scheduler-file", place], **quiet)}
        command = [
            sys.executable,
            "-m",
            "distributed.cli.dask_worker",
            "--nthreads",
            "1",
            "--no-nanny",
            "--no-dashboard",
        ]
        for number in range(count):
            started[f"worker {number}"] = subprocess.Popen([*command, "--scheduler-file", place], **quiet)
        try:
            while not Path(place).exists():
                time.sleep(0.1)
            address = json.loads(Path(place).read_text())["address"]
            with workers(["numpyro"], scheduler=address) as helpers:
                while helpers.libraries["numpyro"].n_slots < count:
                    time.sleep(0.1)
                yield (
                    replace(helpers, n_slots=count),
                    {name: psutil.Process(child.pid) for name, child in started.items()},
                )
        finally:
            for child in started.values():
                child.kill()
                child.wait()


@contextmanager
def pool(count: int) -> Iterator[tuple[Workers, dict[str, psutil.Process]]]:
    """Processes beside this one."""
    with workers(["numpyro"], count) as helpers:
        wait([helpers.libraries["numpyro"].submit(time.sleep, 0.2) for _ in range(count)])
        children = psutil.Process().children()
        yield helpers, {f"worker {number}": child for number, child in enumerate(children)}


def processor(processes: dict[str, psutil.Process]) -> dict[str, float]:
    """The processor seconds that each has used."""
    used = {}
    for name, process in processes.items():
        with suppress(psutil.Error):
            used[name] = sum(process.cpu_times()[:2])
    return used


def measure(helpers: Workers, processes: dict[str, psutil.Process], count: int) -> tuple[int, float, dict[str, float]]:
    """The number of tasks, the seconds from the first to the last fit, and the processor seconds of each process."""
    submitted = jobs(count)
    saved: list[str] = []
    before, start = processor(processes), time.perf_counter()
    names = [fit.job.name for fit in dispatch(submitted, helpers, lambda fit: saved.append(fit.job.name))]
    seconds, after = time.perf_counter() - start, processor(processes)
    assert len(names) == len(set(names)) == len(set(saved)) == count  # each once
    return (
        len(make_batches(submitted, helpers.n_slots)),
        seconds,
        {name: after[name] - before.get(name, 0.0) for name in after},
    )


def main() -> None:
    counts = [int(text) for text in sys.argv[1:]] or [10_000, 100_000]
    print("| where | fits | tasks | seconds | a fit, in ms | processor seconds |")
    print("| --- | ---: | ---: | ---: | ---: | --- |")
    for label, place in (("Dask, 2 workers", dask), ("2 processes", pool)):
        with place(2) as (helpers, processes):
            processes = {"this process": psutil.Process(), **processes}
            wait([helpers.libraries["numpyro"].submit(run_each, jobs(1)) for _ in range(20)])  # imports
            for count in counts:
                for n_slots in (ALL_ALONE, helpers.n_slots):
                    if n_slots == ALL_ALONE and count > LONGEST:
                        continue
                    tasks, seconds, used = measure(replace(helpers, n_slots=n_slots), processes, count)
                    cpu = ", ".join(f"{name} {value:.1f}" for name, value in used.items())
                    print(
                        f"| {label} | {count:,} | {tasks:,} | {seconds:.2f} | {1000 * seconds / count:.3f} | {cpu} |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
