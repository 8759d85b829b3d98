"""Posteriors that others made: what `compare` says by itself, beside what their own draws say.

    python -m tests.experiments.foreign WHEEL FILE [--tasks two_moons,slcp] [--numbers 1,2,3]
        [--libraries numpyro,pyro] [--seed 0] [--table]

WHEEL is sbibm's (``pip download --no-deps sbibm``), which is read and not installed: `tests.foreign`. Each posterior is
compared on the defaults as a user's model, with four guides and NUTS. The rules are those of
`tests.experiments.silent_errors`: a fit is wrong that lacks 5% of the mass (and the chance errors of all draws), or
whose mean or sd is off by 20% of an sd; right, if it lacks less and every mean and sd is within 10%. Each comparison is
a row of JSON in FILE; those that stand there already are not made again. At the end, and with ``--table`` alone, the
tables and every miss are printed.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from compare import compare
from tests.experiments.silent_errors import CALM, CONVICTED, counts, is_reference_fit, rows_of, silent, truth
from tests.foreign import TASKS, Foreign, foreign_posterior

GUIDES = ("mean_field", "full_rank", "low_rank", "flow")


def judge(foreign: Foreign, library: str, seed: int) -> dict[str, Any]:
    """What a comparison says of a posterior, and what is true."""
    start = cpu_seconds()
    model = getattr(import_module(f"tests.user_models.foreign_{library}"), foreign.kind)
    result = compare(model, foreign.data, library=library, guides=GUIDES, seed=seed)
    seconds, fits = cpu_seconds() - start, dict(rows_of(foreign, result))
    for name, summary in result.comparison.summaries.items():
        alone = summary.without_truth
        fits[name] |= {"alone": alone.word if alone else None, "seconds": summary.seconds}
    return {
        "kind": foreign.kind,
        "index": foreign.number,
        "dimension": len(foreign.names),
        "method": result.comparison.log_evidence.method,
        "notes": result.comparison.notes,
        "fits": fits,
        "seconds": seconds,
    }


def cpu_seconds() -> float:
    """Processor seconds of this process and of those that it waited for."""
    return sum(os.times()[:4])


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The tables by task and by fit, and every miss."""
    lines = [
        "| task | comparisons | wrong fits | called right | right fits | convicted | right references "
        "| refused or wary | wrong, not said | median seconds |",
        "| --- |" + " ---: |" * 9,
    ]
    for task in [*TASKS, "all"]:
        group = [row for row in rows if task in (row["kind"], "all")]
        if group:
            seconds = sorted(row["seconds"] for row in group)[len(group) // 2]
            lines.append("| " + " | ".join([task, *map(str, counts(group)), f"{seconds:.0f}"]) + " |")
    lines += ["", "| fit | truly | words | words without the truth |", "| --- | --- | --- | --- |"]
    for name in list(dict.fromkeys(name for row in rows for name in row["fits"])):
        fits = [row["fits"][name] for row in rows if name in row["fits"]]
        for word in ("right", "between", "wrong", "none"):
            group = [fit for fit in fits if truth(fit) == word]
            if group:
                beside_truth, alone = (Counter(fit[key] for fit in group if fit[key]) for key in ("word", "alone"))
                cells = [
                    ", ".join(f"{count} {key}" for key, count in words.most_common()) for words in (beside_truth, alone)
                ]
                lines.append(f"| `{name}` | {len(group)} {word} | {cells[0]} | {cells[1] or '–'} |")
    return "\n".join([*lines, *silent(rows), *silent_alone(rows)])


def silent_alone(rows: Sequence[dict[str, Any]]) -> list[str]:
    """A line for each fit of which the verdict without the truth is false."""
    lines = []
    for row in rows:
        for name, fit in row["fits"].items():
            if is_reference_fit(name):
                continue
            is_false = truth(fit) == "wrong" and fit["alone"] in CALM
            if is_false or (truth(fit) == "right" and fit["alone"] in CONVICTED):
                what = "SILENT" if is_false else "convicted"
                where = f"{row['library']} {row['kind']} {row['index']}"
                lines.append(f"{what} without the truth: {where}: {name} {fit['alone']}")
    return lines


def main() -> None:
    """Make the comparisons that are missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--numbers", default="1,2,3,4,5,6,7,8,9,10")
    parser.add_argument("--libraries", default="numpyro,pyro")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table", action="store_true", help="make nothing")
    options = parser.parse_args()
    lines = options.file.read_text(encoding="utf-8").splitlines() if options.file.exists() else []
    rows = [json.loads(line) for line in lines]
    done = {(row["library"], row["kind"], row["index"], row["seed"]) for row in rows}
    for number in [] if options.table else map(int, options.numbers.split(",")):
        for task in options.tasks.split(","):
            for library in options.libraries.split(","):
                is_there = hasattr(import_module(f"tests.user_models.foreign_{library}"), task)
                if (library, task, number, options.seed) in done or not is_there:
                    continue
                key = {"library": library, "seed": options.seed}
                rows.append(key | judge(foreign_posterior(options.wheel, task, number), library, options.seed))
                with options.file.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
