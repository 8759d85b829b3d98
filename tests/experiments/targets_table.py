"""Our row of the README's table, and our fits beside the default loop on targets that are not in the catalogue.

    python -m tests.experiments.targets_table [repeats] [library]

Cold: a whole process, imports and compilation included. Warm: the median of later fits in one process, ours and the
default loop (Adam at 0.01, 5,000 steps) in turn, with other seeds. The gap is the true one where q* is in closed
form (coin by quadrature), else the distance to a much longer fit; its error is printed with it.
"""

from __future__ import annotations

import importlib
import json
import math
import statistics
import subprocess
import sys
import time
from functools import partial

import numpy as np

import guides
import models
from compare.fit.svi.draws import fresh
from compare.fit.svi.svi import optimise
from compare.options import Options

TARGETS = {
    "diabetes": "diabetes",
    "logistic": "breast_cancer",
    "gaussian": "gaussian",
    "regression": "raw_regression",
}
"""The targets and the functions that make their data."""

COLUMNS = (
    ("coin", {}, "mean_field"),
    ("chain", {"length": 2}, "mean_field"),
    ("chain", {"length": 2}, "full_rank"),
    ("chain", {"length": 100}, "mean_field"),
    ("chain", {"length": 100}, "full_rank"),
    *((name, None, family) for name in TARGETS for family in ("mean_field", "full_rank")),
)

STEPS = 5000


def ingredients(library: str, name: str, fields: dict | None):
    """The twin's file and its arguments, of the catalogue or of the targets."""
    if fields is not None:
        twin = importlib.import_module(f"models.{name}.in_{library}")
        return twin, models.load(name).data(**fields).arguments()
    import targets

    return importlib.import_module(f"targets.{name}_{library}"), getattr(targets, TARGETS[name])()


def zoo(library: str, number: int):
    """Our objective and its data, ready to be fitted."""
    name, fields, family = COLUMNS[number]
    side = importlib.import_module(f"compare.fit.svi.objective_{library}")
    twin, arguments = ingredients(library, name, fields)
    data, static = side.split_arguments(arguments)
    return side.Objective(twin, family, static, data), data


def baseline_fit(library: str, number: int):
    """The library's default loop, ready to be run."""
    name, fields, family = COLUMNS[number]
    baseline = importlib.import_module(f"compare.bench.baseline_{library}")
    twin, arguments = ingredients(library, name, fields)
    return baseline.Svi(twin, family, arguments, STEPS)


def reference(number: int, objective, data) -> tuple[dict[str, np.ndarray], float, float]:
    """The parameters of q*, or of a much longer fit, with that one's own gap and error in nats."""
    name, fields, family = COLUMNS[number]
    if fields is not None:
        return models.load(name).best_member(models.load(name).data(**fields), family).parameters, 0.0, 0.0
    long = optimise(objective, data, guides.load(family), Options(tolerance=2e-4, budget=60), 1000)
    return long.parameters, max(long.gap.value, 0.0), long.gap.mcse


def timed(call) -> tuple[object, float]:
    start = time.perf_counter()
    result = call()
    return result, time.perf_counter() - start


def measure(library: str, number: int, repeats: int) -> dict:
    """One cell: warm seconds and gaps of ``repeats`` fits, ours and the default loop's in turn."""
    family = guides.load(COLUMNS[number][2])
    objective, data = zoo(library, number)
    baseline = baseline_fit(library, number)
    optimise(objective, data, family, Options(), 999)
    baseline.warm_up(999)
    ours, theirs = [], []
    for seed in range(repeats):
        ours.append(timed(lambda seed=seed: optimise(objective, data, family, Options(), seed)))
        theirs.append(timed(lambda seed=seed: baseline.fit(seed)))
    best, short, error = reference(number, objective, data)
    batches = [fresh(np.random.default_rng(seed), 256, objective.dimension) for seed in range(64)]

    def elbos(parameters):
        return np.array([objective.evaluate(parameters, draws, data).log_ratio.mean() for draws in batches])

    top = elbos(best)

    def gap(parameters) -> tuple[float, float]:
        difference = top - elbos(parameters)
        return float(difference.mean()) + short, math.hypot(difference.std(ddof=1) / math.sqrt(len(batches)), error)

    gaps = [gap(end.parameters) for end, _ in ours], [gap(parameters) for parameters, _ in theirs]
    return {
        "warm": [statistics.median(seconds for _, seconds in side) for side in (ours, theirs)],
        "gap": [statistics.median(value for value, _ in side) for side in gaps],
        "error": [statistics.median(error for _, error in side) for side in gaps],
        "converged": sum(int(end.converged) for end, _ in ours),
    }


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    for library in sys.argv[2:] or ("numpyro", "pyro"):
        for number, (name, fields, family) in enumerate(COLUMNS):
            here = [sys.executable, "-m", "tests.experiments.targets_table", "--cell", library, str(number)]
            cold = [timed(partial(subprocess.run, [*here, program], check=True))[1] for program in ("zoo", "baseline")]
            cell = json.loads(subprocess.run([*here, str(repeats)], check=True, capture_output=True, text=True).stdout)
            label = f"{name} {' '.join(map(str, (fields or {}).values()))} {family}"
            print(
                f"{library:8} {label:24} gap {cell['gap'][0]:.1e} ±{cell['error'][0]:.0e}; "
                f"{cold[0]:.1f} / {cell['warm'][0]:.3f} s; {cell['converged']} of {repeats} converged; baseline: gap "
                f"{cell['gap'][1]:.1e} ±{cell['error'][1]:.0e}; {cold[1]:.1f} / {cell['warm'][1]:.2f} s; "
                f"ratios cold {cold[1] / cold[0]:.1f}, warm {cell['warm'][1] / cell['warm'][0]:.1f}",
                flush=True,
            )


if __name__ == "__main__":
    if "--cell" in sys.argv:
        library, number, what = sys.argv[2:]
        if what == "zoo":
            optimise(*zoo(library, int(number)), guides.load(COLUMNS[int(number)][2]), Options(), 0)
        elif what == "baseline":
            baseline_fit(library, int(number)).fit(0)
        else:
            print(json.dumps(measure(library, int(number), int(what))))
    else:
        main()
