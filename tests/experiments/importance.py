"""Importance sampling of posteriors with known truth: is what it accepts right, and are its errors honest?

    python -m tests.experiments.importance random --half test --count 20
    python -m tests.experiments.importance calibration --count 50

`random`: posteriors of each kind in `tests.posteriors` in 4 to 10 dimensions, wrong where the log evidence is off by
0.05 nats (5% of the mass) or a mean or an sd by 20% of an sd. Limits were chosen on the half `tuning`.

`calibration`: the same few posteriors from many seeds, and (estimate - truth) / error of the log evidence.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from compare.fit import one_thread
from compare.fit.reference.acceptance import sample_by_importance
from compare.fit.reference.modes import find_modes
from compare.fit.reference.solve import PRECISE
from compare.fit.reference.target import Refused
from tests.posteriors import KINDS, Known, eight_schools, gaussian, logistic, student


def attempt(known: Known, seed: Any, n_starts: int = 512) -> dict[str, Any]:
    """What importance sampling says of a posterior, as a row."""
    rng, start = np.random.default_rng(seed), time.perf_counter()
    target = known.target(rng)
    row: dict[str, Any] = {"d": target.dimension}
    try:
        with one_thread(), np.errstate(all="ignore"):
            searches = find_modes(target, rng, n_starts), find_modes(target, rng, n_starts)
            result = sample_by_importance(target, searches, rng, PRECISE)
    except Refused as error:
        return row | {"verdict": "refused", "reason": str(error), "seconds": time.perf_counter() - start}
    gaps = np.concatenate([result.mean - known.mean, result.sd - known.sd])
    off, moment_off = result.log_evidence - known.log_evidence, np.max(np.abs(gaps) / np.tile(known.sd, 2))
    return row | {
        "verdict": "wrong" if abs(off) > 0.05 or moment_off > 0.2 else "right",
        "evidence_off": off,
        "evidence_z": off / result.error,
        "moment_off": moment_off,
        "moment_z": np.max(np.abs(gaps) / np.concatenate([result.mean_error, result.sd_error])),
        "khat": result.khat,
        "moment_khat": result.moment_khat,
        "relative_ess": result.relative_ess,
        "n_draws": len(result.points),
        "seconds": time.perf_counter() - start,
    }


def random_posteriors(count: int, half: str, kinds: list[str], report: Callable[[dict], None]) -> str:
    """The table by kind."""
    lines = [
        "| kind | posteriors | right | wrong | refused | largest fault of the evidence (errors) | of a moment (sds) |",
        "| --- |" + " ---: |" * 6,
    ]
    for place, kind in enumerate(KINDS):
        if kind.__name__ not in kinds:
            continue
        rows = []
        for i in range(count):
            seed = [{"tuning": 0, "test": 1}[half], place, i]
            known = kind(np.random.default_rng(seed), (4, 5, 6, 8, 10)[i % 5])
            rows.append({"kind": kind.__name__, "i": i} | attempt(known, seed))
            report(rows[-1])
        counts = [sum(row["verdict"] == word for row in rows) for word in ("right", "wrong", "refused")]
        accepted = [row for row in rows if row["verdict"] != "refused"]
        largest = ["–", "–"]
        if accepted:
            largest[0] = f"{max(abs(row['evidence_z']) for row in accepted):.1f}"
            largest[1] = f"{max(row['moment_off'] for row in accepted):.3f}"
        cells = (kind.__name__, count, *counts, *largest)
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def calibration(count: int, report: Callable[[dict], None]) -> str:
    """The table by posterior."""
    rng = np.random.default_rng(5)
    posteriors = {
        "Gaussian, 12 dimensions": gaussian(rng, 12),
        "eight schools, non-centred, 10": eight_schools(),
        "t, 5": student(np.random.default_rng(3), 5),
        "logistic regression, 8": logistic(rng, 8),
    }
    lines = [
        "| posterior | accepted | mean of z | sd of z | largest | largest error (nats) |",
        "| --- |" + " ---: |" * 5,
    ]
    for name, known in posteriors.items():
        rows = []
        for seed in range(count):
            rows.append({"name": name, "seed": seed} | attempt(known, [2, seed], 128))
            report(rows[-1])
        z = np.array([row["evidence_z"] for row in rows if "evidence_z" in row])
        if len(z) < 2:
            lines.append(f"| {name} | {len(z)} of {count} | | | | |")
            continue
        error = max(row["evidence_off"] / row["evidence_z"] for row in rows if "evidence_z" in row)
        cells = (f"{z.mean():+.2f}", f"{z.std(ddof=1):.2f}", f"{np.abs(z).max():.1f}", f"{error:.4f}")
        lines.append(f"| {name} | {len(z)} of {count} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run an experiment and print its table; rows are appended to a file as they are made."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", choices=("random", "calibration"))
    parser.add_argument("--count", type=int, default=10, help="posteriors of each kind, or seeds of each")
    parser.add_argument("--half", choices=("tuning", "test"), default="test")
    parser.add_argument("--kinds", default=",".join(kind.__name__ for kind in KINDS))
    parser.add_argument("--out", type=Path, help="file that rows are appended to, as JSON")
    options = parser.parse_args()

    def report(row: dict) -> None:
        if options.out:
            with options.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")

    if options.experiment == "random":
        print(random_posteriors(options.count, options.half, options.kinds.split(","), report))
    else:
        print(calibration(options.count, report))


if __name__ == "__main__":
    main()
