"""Our row of the README's table: gap, cold and warm seconds on the coin, the chain, diabetes and breast cancer.

    python tests/measure_targets.py [repeats] [library]

Cold: a whole process, imports and compilation included. Warm: the median of later fits in one process, other seeds.
The gap is the true one where q* is in closed form (coin by quadrature), else against a much longer fit, with its error.
"""

from __future__ import annotations

import importlib
import json
import math
import statistics
import subprocess
import sys
import time

import numpy as np

import guides
import models
from compare.fits.draws import fresh
from compare.fits.options import Options
from compare.fits.svi import optimise

COLUMNS = (
    ("coin", {}, "mean_field"),
    ("chain", {"length": 2}, "mean_field"),
    ("chain", {"length": 2}, "full_rank"),
    ("chain", {"length": 100}, "mean_field"),
    ("chain", {"length": 100}, "full_rank"),
    ("diabetes", None, "mean_field"),
    ("diabetes", None, "full_rank"),
    ("logistic", None, "mean_field"),
    ("logistic", None, "full_rank"),
)


def prepared(library: str, name: str, fields: dict | None, family: str):
    """The objective and its data, of the catalogue or of the targets."""
    side = importlib.import_module(f"compare.fits.objective_{library}")
    if fields is not None:
        data, static = side.split_arguments(models.load(name).data(**fields).arguments())
        return side.prepare(name, family, static), data
    import targets

    data, static = side.split_arguments({"diabetes": targets.diabetes, "logistic": targets.breast_cancer}[name]())
    twin = importlib.import_module(f"targets.{name}_{library}")
    return side.Objective(twin, guides.load(family, library), static), data


def reference(name: str, fields: dict | None, family: str, objective, data):
    """The parameters of q*, or of a much longer fit."""
    if fields is not None:
        return models.load(name).best(models.load(name).data(**fields), family).parameters
    if name == "diabetes":
        import targets

        known = targets.diabetes()
        design = np.column_stack([known["features"], np.ones(len(known["response"]))])
        order = [*range(design.shape[1])]
        precision = (design.T @ design / 0.49 + np.eye(design.shape[1]))[np.ix_(order, order)]
        mean = np.linalg.solve(precision, design.T @ known["response"] / 0.49)
        swap = np.array([10, *range(10)]) if first_is_intercept(objective, data, mean) else np.arange(11)
        precision, mean = precision[np.ix_(swap, swap)], mean[swap]
        if family == "mean_field":
            return {"location": mean, "scale": 1 / np.sqrt(np.diag(precision))}
        return {"location": mean, "scale_tril": np.linalg.cholesky(np.linalg.inv(precision))}
    return optimise(objective, data, guides.load(family), Options(tolerance=1e-3, budget=40), 1000).parameters


def first_is_intercept(objective, data, mean) -> bool:
    """Which order the library flattens the sites in: the log joint is highest at the right one."""
    swapped = np.concatenate([mean[-1:], mean[:-1]])
    return objective.log_joint(swapped, data)[0] > objective.log_joint(mean, data)[0]


def measure(library: str, number: int, repeats: int) -> dict:
    """One cell: warm seconds and gaps of ``repeats`` fits."""
    name, fields, family = COLUMNS[number]
    objective, data = prepared(library, name, fields, family)
    optimise(objective, data, guides.load(family), Options(), 999)
    seconds, ends = [], []
    for seed in range(repeats):
        start = time.perf_counter()
        ends.append(optimise(objective, data, guides.load(family), Options(), seed))
        seconds.append(time.perf_counter() - start)
    best = reference(name, fields, family, objective, data)
    dimension = objective.dimension(best, data)
    batches = [fresh(np.random.default_rng(seed), 256, dimension) for seed in range(64)]

    def elbos(parameters):
        return np.array([objective.evaluate(parameters, draws, data).log_ratio.mean() for draws in batches])

    top = elbos(best)
    short = [top - elbos(end.parameters) for end in ends]
    return {
        "warm": statistics.median(seconds),
        "gap": statistics.median(float(one.mean()) for one in short),
        "error": statistics.median(float(one.std(ddof=1)) / math.sqrt(len(one)) for one in short),
        "converged": sum(int(end.converged) for end in ends),
    }


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    for library in sys.argv[2:] or ("numpyro", "pyro"):
        for number, (name, fields, family) in enumerate(COLUMNS):
            here = [sys.executable, __file__, "--cell", library, str(number)]
            start = time.perf_counter()
            subprocess.run([*here, "cold"], check=True)
            cold = time.perf_counter() - start
            cell = json.loads(subprocess.run([*here, str(repeats)], check=True, capture_output=True, text=True).stdout)
            label = f"{name} {' '.join(map(str, (fields or {}).values()))} {family}"
            print(
                f"{library:8} {label:24} gap {cell['gap']:.1e} ±{cell['error']:.0e}; "
                f"{cold:.1f} / {cell['warm']:.3f} s; "
                f"{cell['converged']} of {repeats} converged",
                flush=True,
            )


if __name__ == "__main__":
    if "--cell" in sys.argv:
        library, number, what = sys.argv[2:]
        if what == "cold":
            name, fields, family = COLUMNS[int(number)]
            optimise(*prepared(library, name, fields, family), guides.load(family), Options(), 0)
        else:
            print(json.dumps(measure(library, int(number), int(what))))
    else:
        main()
