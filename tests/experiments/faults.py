"""The table of planted faults, and how often the quick battery cries wolf.

    python -m tests.experiments.faults                plant every fault: is it caught, and what is said of it?
    python -m tests.experiments.faults alarms 200 2   run the quick battery with 200 seeds and no fault, in 2 processes

Both print Markdown, as it stands in tests/faults/README.md.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from importlib.metadata import version
from itertools import repeat
from multiprocessing import get_context

os.environ.setdefault("POSTERIOR_ZOO_CACHE", tempfile.mkdtemp())  # no fit is left there, and none is found

from battery.checks import CHECKS
from faults import Fault, complaint, planted
from faults.catalogue import KINDS
from scipy import stats

TOGETHER = 40
"""Seeds whose fits are made in one call."""

PACKAGES = ("numpyro", "jax", "pyro-ppl", "torch", "arviz_stats", "numpy", "scipy")


def made_with() -> str:
    """The day, and the versions of what it was measured with."""
    return f"{date.today()}, {', '.join(f'{package} {version(package)}' for package in PACKAGES)}"


def few_words(text: str, most: int = 100) -> str:
    """A complaint in a cell of a table."""
    line = " ".join(text.split()).replace("|", "\\|")
    return line if len(line) <= most else line[:most].rsplit(" ", 1)[0] + " ..."


def tried(fault: Fault, quiet: dict[tuple[str, str], str | None]) -> tuple[str, str]:
    """Whether a fault is caught, and what is said of it."""
    key = fault.caught_by, repr(fault.arguments)
    if key not in quiet:
        quiet[key] = complaint(fault)
    if quiet[key] is not None:
        return "no", f"without the fault, too: {quiet[key]}"
    try:
        with planted(fault):
            message = complaint(fault)
    except Exception as error:  # a crash is seen by anyone, and is no merit of the check's
        return "no", f"{type(error).__name__}: {error}"
    return ("no", "nothing") if message is None else ("yes", message)


def faults() -> None:
    """Plant them all and print the table."""
    start, quiet, number = time.perf_counter(), {}, 0
    caught: Counter[str] = Counter()
    print("| | fault | where | felt in | library | must be caught by | caught | what it says |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for kind, entries in KINDS.items():
        for fault in entries:
            number += 1
            began = time.perf_counter()
            answer, message = tried(fault, quiet)
            print(f"{time.perf_counter() - began:6.1f} s  {fault.name}", file=sys.stderr, flush=True)
            caught[answer] += 1
            where = f"{kind} (`{fault.module}`)"
            cells = [number, fault.name, where, fault.model, fault.library, fault.caught_by, answer, few_words(message)]
            print(f"| {' | '.join(map(str, cells))} |", flush=True)
    print(f"\n{caught['yes']} of {number} are caught ({time.perf_counter() - start:.0f} s; {made_with()}).")


def interval(count: int, total: int) -> str:
    """Clopper and Pearson's 95% interval of a rate."""
    low = stats.beta.ppf(0.025, count, total - count + 1) if count else 0.0
    high = stats.beta.ppf(0.975, count + 1, total - count) if count < total else 1.0
    return f"{low:.2%} to {high:.2%}"


def row(name: str, checks: int | str, total: int, count: int) -> str:
    return f"| {name} | {checks} | {total:,} | {count} | {count / total:.2%} | {interval(count, total)} |"


def groups() -> list[list[str]]:
    """The checks that look at the same thing, which is then made once; those that take longest first."""
    by_model: dict[str, list[str]] = {}
    for name in CHECKS:
        by_model.setdefault(name.rpartition(": ")[0], []).append(name)
    return sorted(by_model.values(), key=lambda names: "nuts" not in names[0])


def looked(names: list[str], seeds: int) -> list[tuple[str, int, str | None]]:
    """What each of these checks says of each seed; of the first alone where it draws no random numbers."""
    start, rows = time.perf_counter(), []
    for begin in range(0, seeds, TOGETHER):
        for name in names:
            some = list(range(begin, min(begin + TOGETHER, seeds))) if CHECKS[name].random else [0][begin:]
            rows += [(name, seed, message) for seed, message in zip(some, CHECKS[name].complaints(some), strict=True)]
    print(f"{time.perf_counter() - start:6.0f} s  {', '.join(names)}", file=sys.stderr, flush=True)
    return rows


def alarms(seeds: int, processes: int) -> None:
    """Run the battery without a fault and print the table."""
    start = time.perf_counter()
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        rows = [result for some in pool.map(looked, groups(), repeat(seeds)) for result in some]
    looks: dict[str, list[tuple[str, int, str | None]]] = {}
    for name in CHECKS:  # in the order of the battery
        looks.setdefault(name.rpartition(": ")[2], [])
    for result in rows:
        looks[result[0].rpartition(": ")[2]].append(result)
    wrong = [result for result in rows if result[2] is not None]
    print("| what is looked at | checks | runs | false alarms | rate | 95% interval |")
    print("| --- | --- | --- | --- | --- | --- |")
    for look, seen in looks.items():
        checks, alarmed = {name for name, _, _ in seen}, [message for *_, message in seen if message is not None]
        print(row(look, len(checks), len(seen), len(alarmed)))
    print(row("**all checks**", len(CHECKS), len(rows), len(wrong)))
    print(row("**the whole battery, by seed**", "", seeds, len({seed for _, seed, _ in wrong})))
    print(f"\n{time.perf_counter() - start:.0f} s in {processes} processes; {made_with()}.")
    for name, seed, message in wrong:
        print(f"\n- {name}, seed {seed}: {message}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["alarms"]:
        alarms(int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1)
    else:
        faults()
