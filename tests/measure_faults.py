"""The table of planted faults, and how often the quick battery cries wolf.

    python tests/measure_faults.py              plant every fault: is it caught, and what is said of it?
    python tests/measure_faults.py alarms 200   run the quick battery with so many seeds and no fault planted

Both print Markdown, as it stands in tests/faults/README.md.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import Counter
from datetime import date
from importlib.metadata import version

os.environ["POSTERIOR_ZOO_CACHE"] = tempfile.mkdtemp()  # no fit of an earlier run, and none for a later one

from battery.cases import CHECKS
from faults import Fault, complaint, planted
from faults.catalogue import KINDS
from scipy import stats

TOGETHER = 40
"""Seeds whose fits are made in one call."""

PACKAGES = ("numpyro", "jax", "pyro-ppl", "torch", "arviz_stats", "numpy", "scipy")


def made_with() -> str:
    """The day, and the versions of what it was measured with."""
    return f"{date.today()}, {', '.join(f'{package} {version(package)}' for package in PACKAGES)}"


def few_words(said: str, most: int = 100) -> str:
    """A complaint in a cell of a table."""
    line = " ".join(said.split()).replace("|", "\\|")
    return line if len(line) <= most else line[:most].rsplit(" ", 1)[0] + " ..."


def tried(fault: Fault, quiet: dict[tuple[str, str], str | None]) -> tuple[str, str]:
    """Whether a fault is caught, and what is said of it."""
    asked = fault.caught_by, repr(fault.arguments)
    if asked not in quiet:
        quiet[asked] = complaint(fault)
    if quiet[asked] is not None:
        return "no", f"without the fault, too: {quiet[asked]}"
    try:
        with planted(fault):
            said = complaint(fault)
    except Exception as error:  # a crash is seen by anyone, and is no merit of the check's
        return "no", f"{type(error).__name__}: {error}"
    return ("no", "nothing") if said is None else ("yes", said)


def faults() -> None:
    """Plant them all and print the table."""
    start, quiet, number = time.perf_counter(), {}, 0
    caught: Counter[str] = Counter()
    print("| | fault | where | felt in | library | must be caught by | caught | what it says |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for kind, found in KINDS.items():
        for fault in found:
            number += 1
            answer, said = tried(fault, quiet)
            caught[answer] += 1
            where = f"{kind} (`{fault.module}`)"
            cells = [number, fault.name, where, fault.model, fault.library, fault.caught_by, answer, few_words(said)]
            print(f"| {' | '.join(map(str, cells))} |", flush=True)
    print(f"\n{caught['yes']} of {number} are caught ({time.perf_counter() - start:.0f} s; {made_with()}).")


def interval(count: int, total: int) -> str:
    """Clopper and Pearson's 95% interval of a rate."""
    low = stats.beta.ppf(0.025, count, total - count + 1) if count else 0.0
    high = stats.beta.ppf(0.975, count + 1, total - count) if count < total else 1.0
    return f"{low:.2%} to {high:.2%}"


def row(name: str, checks: int | str, total: int, count: int) -> str:
    return f"| {name} | {checks} | {total:,} | {count} | {count / total:.2%} | {interval(count, total)} |"


def alarms(seeds: int) -> None:
    """Run the battery without a fault and print the table. A check without random numbers is run once."""
    start = time.perf_counter()
    runs: Counter[str] = Counter()
    wrong: dict[str, list[tuple[str, int, str]]] = {}
    looks: Counter[str] = Counter()
    for name, check in CHECKS.items():
        look = name.rpartition(": ")[2] if ": " in name else name
        looks[look] += 1
        todo = list(range(seeds)) if check.random else [0]
        for begin in range(0, len(todo), TOGETHER):
            some = todo[begin : begin + TOGETHER]
            said = check.complaints(some)
            runs[look] += len(some)
            wrong.setdefault(look, []).extend(
                (name, seed, one) for seed, one in zip(some, said, strict=True) if one is not None
            )
        print(f"{time.perf_counter() - start:6.0f} s  {name}", file=sys.stderr, flush=True)
    found = [one for some in wrong.values() for one in some]
    random = {seed for name, seed, _ in found if CHECKS[name].random}
    print("| what is looked at | checks | runs | false alarms | rate | 95% interval |")
    print("| --- | --- | --- | --- | --- | --- |")
    for look in runs:
        print(row(look, looks[look], runs[look], len(wrong[look])))
    print(row("**all checks**", sum(looks.values()), sum(runs.values()), len(found)))
    print(row("**the whole battery, by seed**", "", seeds, len(random)))
    print(f"\n{time.perf_counter() - start:.0f} s; {made_with()}.")
    for name, seed, said in found:
        print(f"\n- {name}, seed {seed}: {said}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["alarms"]:
        alarms(int(sys.argv[2]))
    else:
        faults()
