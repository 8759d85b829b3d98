"""One process of the benchmark: ``python -m compare.bench.worker TASK``, TASK and the answer one line of JSON.

A cold task makes one fit, ``way`` says which; its process is timed from outside. A warm task makes the zoo's fit and
the usual one in turn, times each, and then measures both.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

from compare.bench import cases

__all__ = ["answer"]

BATCHES = 64


def answer(task: dict[str, Any]) -> dict[str, Any]:
    """Do the task: ``case``, ``library``, ``guide`` (None: NUTS), ``way`` (``zoo``, ``usual``, ``warm``), ``seed``,
    ``steps`` and ``repeats``.
    """
    return (warm if task["way"] == "warm" else cold)(task)


def usual(task: dict[str, Any], arguments: dict[str, Any]) -> Any:
    """The library's usual way, ready to be run."""
    ways = import_module(f"compare.bench.baseline_{task['library']}")
    twin = import_module(f"models.{cases.parse(task['case'])[0].name}.in_{task['library']}")
    if task["guide"] is None:
        return ways.Nuts(twin, arguments)
    return ways.Svi(twin, task["guide"], arguments, task["steps"])


def zoo(task: dict[str, Any], data: Any, seed: int) -> Any:
    """The zoo's own fit, as far as the usual way goes: no draws from a fitted guide."""
    from compare.options import Options

    model = cases.parse(task["case"])[0].name
    if task["guide"] is None:
        from compare.comparison import Job
        from compare.fit import run

        name = f"{task['library']}-nuts"
        fit = run(Job(name, model, data, "nuts", task["library"], None, seed, Options()))
        if fit.status != "done":
            raise RuntimeError(fit.reason)
        return fit
    import guides
    from compare.fit.svi.svi import optimise

    library = import_module(f"compare.fit.svi.objective_{task['library']}")
    arrays, static = library.split_arguments(data.arguments())
    objective = library.prepare(model, task["guide"], static)
    return optimise(objective, arrays, guides.load(task["guide"]), Options(), seed)


def cold(task: dict[str, Any]) -> dict[str, Any]:
    """One fit and nothing else."""
    _, data = cases.parse(task["case"])
    if task["way"] == "zoo":
        zoo(task, data, task["seed"])
    else:
        way = usual(task, data.arguments())
        (way.sample if task["guide"] is None else way.fit)(task["seed"])
    return {}


def warm(task: dict[str, Any]) -> dict[str, Any]:
    """Fits in turn after one of each that does not count, and what they are worth."""
    model, data = cases.parse(task["case"])
    reason = unfit(task, data)
    if reason:
        return {"skipped": reason}
    way = usual(task, data.arguments())
    make = way.sample if task["guide"] is None else way.fit
    zoo(task, data, task["seed"])
    way.warm_up(task["seed"])
    ours, theirs, seconds = [], [], {"zoo": [], "usual": []}
    for seed in range(task["seed"] + 1, task["seed"] + 1 + task["repeats"]):
        for made, name, call in (
            (ours, "zoo", lambda seed=seed: zoo(task, data, seed)),
            (theirs, "usual", lambda seed=seed: make(seed)),
        ):
            result, taken = timed(call)
            made.append(result)
            seconds[name].append(taken)
    if task["guide"] is None:
        return measure_nuts(data, ours, theirs, seconds)
    return measure_svi(task, model, data, ours, theirs, seconds)


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = call()
    return result, time.perf_counter() - start


def unfit(task: dict[str, Any], data: Any) -> str | None:
    """Why the fit is not attempted on these data, or None."""
    import math

    from compare.options import Options
    from compare.plan import too_large, too_long

    dimension = sum(math.prod(shape) for shape in data.shapes().values())
    return too_long(dimension, Options()) if task["guide"] is None else too_large(task["guide"], dimension)


def measure_svi(task: dict[str, Any], model: Any, data: Any, ours: list, theirs: list, seconds: dict) -> dict[str, Any]:
    """Optimisation gaps at common draws: to the best member of the family where it is known, else to the zoo's fit."""
    import numpy as np

    from compare.fit.svi.draws import fresh
    from compare.fit.svi.fitter import rows
    from compare.plan import best_member

    library = import_module(f"compare.fit.svi.objective_{task['library']}")
    arrays, static = library.split_arguments(data.arguments())
    objective = library.prepare(model.name, task["guide"], static)
    start = objective.start(task["seed"], arrays)
    dimension = objective.dimension(start, arrays)
    rng = np.random.default_rng([task["seed"], 7])
    batches = [fresh(rng, rows(dimension), dimension) for _ in range(BATCHES)]

    def elbos(parameters):
        with np.errstate(all="ignore"):
            return np.array([objective.evaluate(parameters, draws, arrays).log_ratio.mean() for draws in batches])

    def gap(short, added=0.0, error=0.0):
        return {
            "value": float(short.mean() + added),
            "mcse": float(np.hypot(short.std(ddof=1) / np.sqrt(BATCHES), error)),
        }

    found = [elbos(outcome.parameters) for outcome in ours]
    usual_found = [elbos(parameters) for parameters in theirs]
    best = best_member(model, data, task["guide"])
    if best is None:
        reference = "the zoo's own estimate"
        gaps = [{"value": outcome.gap.value, "mcse": outcome.gap.mcse} for outcome in ours]
        usual_gaps = [
            gap(one - other, outcome.gap.value, outcome.gap.mcse)
            for one, other, outcome in zip(found, usual_found, ours, strict=True)
        ]
    else:
        common = set(best.parameters) == set(start)
        top = elbos(best.parameters) if common else best.elbo
        reference = f"{best.method}; {'at common draws' if common else 'its ELBO'}"
        gaps, usual_gaps = [gap(top - one) for one in found], [gap(top - one) for one in usual_found]
    return {
        "reference": reference,
        "zoo": {
            "warm": seconds["zoo"],
            "gradients": [outcome.gradients for outcome in ours],
            "gap": gaps,
            "estimate": [{"value": outcome.gap.value, "mcse": outcome.gap.mcse} for outcome in ours],
            "converged": [bool(outcome.converged) for outcome in ours],
        },
        "usual": {"warm": seconds["usual"], "gradients": [task["steps"]] * len(theirs), "gap": usual_gaps},
    }


def measure_nuts(data: Any, ours: list, theirs: list, seconds: dict) -> dict[str, Any]:
    """The smallest bulk ESS of the reported elements, and how many a second."""
    import arviz_stats
    import numpy as np

    def smallest(sites):
        return min(
            float(arviz_stats.ess(np.asarray(draws), method="bulk", chain_axis=0, draw_axis=1)) for draws in sites
        )

    def of_tree(tree):
        posterior = tree["posterior"].dataset
        for site, index in data.reported():
            array = posterior[site]
            for axis, place in enumerate(index):
                label = f"{site}_dim_{axis}"
                array = array.sel({label: place}) if label in array.coords else array.isel({label: place})
            yield array.transpose("chain", "draw").values

    ess = {
        "zoo": [smallest(of_tree(fit.tree)) for fit in ours],
        "usual": [smallest(draws[site][(..., *index)] for site, index in data.reported()) for draws in theirs],
    }
    found: dict[str, Any] = {
        name: {
            "warm": seconds[name],
            "ess": ess[name],
            "ess_per_second": [one / taken for one, taken in zip(ess[name], seconds[name], strict=True)],
        }
        for name in ess
    }
    found["zoo"]["gradients"] = [fit.gradients for fit in ours]
    found["zoo"]["converged"] = [bool(fit.tree.attrs["targets_met"]) for fit in ours]
    return found


def main() -> None:
    """Answer the task on the command line; whatever the libraries print goes to standard error."""
    out = os.dup(1)
    os.dup2(2, 1)
    try:
        found = answer(json.loads(sys.argv[1]))
    except Exception as error:
        found = {"error": " ".join(str(error).split())[:300] or type(error).__name__}
    os.write(out, json.dumps(found).encode())


if __name__ == "__main__":
    main()
