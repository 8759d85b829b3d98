"""`check` on fits that are stopped too soon: is the optimisation gap that it states within two of its errors?

    python -m tests.experiments.check_calibration FILE [--seeds 10] [--libraries numpyro,pyro] [--table]

Adam at 0.01 is stopped after 50, 500 and 5,000 steps on five models whose best guide is known (`tests.stopped`), with
as many seeds. Each check is a row of JSON in FILE; those that stand there already are not made again. At the end, and
with ``--table`` alone, the table and what was missed are printed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from compare import check
from tests.stopped import CASES, DATA, short_of

STOPS = (50, 500, 5000)
LIBRARIES = ("numpyro", "pyro")

ROUNDING = 1e-9
"""Nats that rounding may add to either side."""


def checks(library: str, case: str, seed: int, stops: Sequence[int] = STOPS) -> Iterator[dict[str, Any]]:
    """A row for each stop of one run of Adam."""
    side = import_module(f"tests.user_models.stopped_{library}")
    guide = side.guide_of(case)
    fits = list(zip(stops, side.train(case, guide, DATA[case], seed, stops), strict=True))
    for number, (steps, params) in enumerate(fits):
        start = time.perf_counter()
        own_seed = len(STOPS) * seed + number  # stops that shared their draws would be right or wrong together
        options = {"budget": 600.0, "reference_budget": 1e-3}  # the gap needs no reference
        result = check(side.MODELS[case], DATA[case], guide=guide, params=params, seed=own_seed, **options)
        (fit,) = (fit for fit in result.summary["fits"].values() if fit["method"] == "guide")
        gap = (fit["optimisation"] or {}).get("gap") or {"value": None, "mcse": None}
        yield {
            "library": library,
            "case": case,
            "seed": seed,
            "steps": steps,
            "true": short_of(case, *side.gaussian(case, params)),
            "gap": gap["value"],
            "mcse": gap["mcse"],
            "word": fit["verdict"]["word"],
            "seconds": time.perf_counter() - start,
        }


def errors(row: dict[str, Any]) -> float:
    """By how many of its errors the stated gap is off; infinite where none is stated."""
    if row["gap"] is None:
        return np.inf
    return max(0.0, abs(row["gap"] - row["true"]) - ROUNDING) / max(row["mcse"], 1e-300)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Fits within two errors by library and stop, and a line for each that is not."""
    lines = [
        "| library | steps | fits | true gap, least, median and largest (nats) | within two errors | errors at most | "
        "largest error relative to the gap |",
        "| --- | ---: | ---: | --- | ---: | ---: | ---: |",
    ]
    for library in LIBRARIES:
        for steps in STOPS:
            chosen = [row for row in rows if (row["library"], row["steps"]) == (library, steps)]
            if not chosen:
                continue
            z, true = np.array([errors(row) for row in chosen]), np.array([row["true"] for row in chosen])
            size = max((row["mcse"] or np.inf) / row["true"] for row in chosen)
            gaps = ", ".join(f"{value:.2g}" for value in (true.min(), np.median(true), true.max()))
            inside = f"{np.sum(z <= 2)} ({np.mean(z <= 2):.0%})"
            lines.append(f"| {library} | {steps:,} | {len(chosen)} | {gaps} | {inside} | {z.max():.1f} | {size:.2g} |")
    missed = [row for row in rows if errors(row) > 2]
    for row in sorted(missed, key=errors, reverse=True):
        stated = "no gap" if row["gap"] is None else f"{row['gap']:.4g} ± {row['mcse']:.1g}"
        where = f"{row['library']} {row['case']}, seed {row['seed']}, {row['steps']:,} steps"
        lines.append(f"missed: {where}: {stated} nats, truly {row['true']:.4g} ({errors(row):.1f} errors)")
    return "\n".join(lines)


def main() -> None:
    """Make the checks that are missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--libraries", default=",".join(LIBRARIES))
    parser.add_argument("--table", action="store_true", help="make nothing")
    options = parser.parse_args()
    lines = options.file.read_text(encoding="utf-8").splitlines() if options.file.exists() else []
    rows = [json.loads(line) for line in lines]
    done = {(row["library"], row["case"], row["seed"]) for row in rows if row["steps"] == STOPS[-1]}
    for seed in range(0 if options.table else options.seeds):
        for library in options.libraries.split(","):
            for case in CASES:
                if (library, case, seed) in done:
                    continue
                new = list(checks(library, case, seed))
                rows += new
                with options.file.open("a", encoding="utf-8") as file:
                    file.writelines(json.dumps(row) + "\n" for row in new)
    print(table(rows))


if __name__ == "__main__":
    main()
