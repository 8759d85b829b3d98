"""Runs the benchmark, each part in a process of its own, and puts the numbers together."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compare.bench import targets
from compare.options import parse_count, parse_names, parse_positive, parse_whole
from compare.registry import LIBRARIES
from models.options import option

WAYS = ("zoo", "baseline")


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes:
        targets: Models and data, each as `compare.bench.targets.parse` reads it.
        guides: Families of guides; None for all of each model's.
    """

    targets: tuple[str, ...]
    libraries: tuple[str, ...] = option(LIBRARIES, "numpyro,pyro (default: both)", parse_names)
    guides: tuple[str, ...] | None = option(None, "families of guides (default: all of each model's)", parse_names)
    nuts: bool = option(True, "leave NUTS out")
    repeats: int = option(3, "warm fits of each kind, each with a seed of its own", parse_count)
    cold_repeats: int = option(1, "fresh processes of each kind; 0 leaves cold times and memory out", parse_whole)
    seed: int = option(0, "everything random follows from it", parse_whole)
    steps: int = option(5000, "steps of the default loop's Adam", parse_count)
    limit: float = option(1800.0, "seconds that one process may take", parse_positive)

    def tasks(self) -> list[dict[str, Any]]:
        """One task a row of the tables, in their order."""
        tasks = []
        for case in self.targets:
            families = [name for name in targets.parse(case)[0].guides if self.guides is None or name in self.guides]
            for guide in families + [None] * self.nuts:
                for library in dict.fromkeys(self.libraries):
                    tasks.append({"case": case, "library": library, "guide": guide})
        return [task | {"seed": self.seed, "steps": self.steps, "repeats": self.repeats} for task in tasks]


def run_plan(plan: Plan, progress: Callable[[str], None] = lambda line: None) -> list[dict[str, Any]]:
    """The rows, one a model, library and way of fitting. A row that failed says why; the others go on."""
    rows, tasks = [], plan.tasks()
    for number, task in enumerate(tasks, 1):
        progress(f"{number} of {len(tasks)}: {task['case']} {task['library']}-{task['guide'] or 'nuts'}")
        row = {
            "model": task["case"],
            "library": task["library"],
            "guide": task["guide"],
            "method": "svi" if task["guide"] else "nuts",
            "status": "done",
            "reason": None,
            "reference": None,
            "zoo": {},
            "baseline": {},
        }
        try:
            measure(row, task, plan)
        except Exception as error:
            row.update(status="failed", reason=str(error))
        row["median"] = {name: medians(row[name]) for name in WAYS}
        row["ratio"] = {key: ratio(row["median"], key) for key in ("cold", "warm")}
        row["ratio"]["ess_per_second"] = ratio(row["median"], "ess_per_second", inverse=True)
        rows.append(row)
    return rows


def measure(row: dict[str, Any], task: dict[str, Any], plan: Plan) -> None:
    """Fill one row, the warm fits first: they also bring the files that a cold start reads into memory.

    Raises:
        RuntimeError: a process failed; what was measured before is in the row.
    """
    if not importlib.util.find_spec(task["library"]):
        row.update(status="skipped", reason=f"{task['library']} is not installed")
        return
    answer, _, _ = process(task | {"way": "warm"}, plan.limit)
    if "skipped" in answer:
        row.update(status="skipped", reason=answer["skipped"])
        return
    row.update(answer)
    for name in WAYS:
        row[name].update(cold=[], memory=[])
    for number in range(plan.cold_repeats):
        for name in WAYS:
            _, seconds, memory = process(task | {"way": name, "seed": task["seed"] + number}, plan.limit)
            row[name]["cold"].append(seconds)
            row[name]["memory"].append(memory)


def process(task: dict[str, Any], limit: float) -> tuple[dict[str, Any], float, float | None]:
    """The answer of a worker, the seconds that its whole process took, and the most memory that it held, in MB.

    Raises:
        RuntimeError: it failed, crashed, or took more than ``limit`` seconds.
    """
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "compare.bench.worker", json.dumps(task)]
    start = time.perf_counter()
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=limit,
            env=os.environ | {"PYTHONPATH": path},
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{task['way']}: stopped after {limit:g} s") from None
    seconds = time.perf_counter() - start
    if done.returncode or not done.stdout:
        last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no message")
        raise RuntimeError(f"{task['way']}: its process ended with status {done.returncode}: {last.strip()[:200]}")
    answer = json.loads(done.stdout)
    if "error" in answer:
        raise RuntimeError(f"{task['way']}: {answer['error']}")
    return answer, seconds, answer.pop("memory")


def medians(measured: dict[str, Any]) -> dict[str, Any]:
    """The median of each column; of a number with its error the median of each; of what is true or not the share."""
    summary: dict[str, Any] = {}
    for key, values in measured.items():
        if values and isinstance(values[0], dict):
            summary[key] = {part: middle([value[part] for value in values]) for part in values[0]}
        elif values and isinstance(values[0], bool):
            summary[key] = sum(values) / len(values)
        else:
            summary[key] = middle(values)
    return summary


def middle(values: Sequence[float | None]) -> float | None:
    """The median, None where any value is missing or is not a number."""
    known = [value for value in values if value is not None and not math.isnan(value)]
    return statistics.median(known) if known and len(known) == len(values) else None


def ratio(median: dict[str, Any], key: str, inverse: bool = False) -> float | None:
    """The default loop's number over the zoo's; ``inverse`` the other way round."""
    ours, theirs = (median[name].get(key) for name in WAYS)
    above, below = (ours, theirs) if inverse else (theirs, ours)
    return above / below if above is not None and below else None


def describe_machine() -> dict[str, Any]:
    """The machine: its processor, the cores that this process may use, and the system."""
    name = platform.processor() or platform.machine()
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"processor": name, "cores": cores, "system": f"{platform.system()} {platform.machine()}"}
