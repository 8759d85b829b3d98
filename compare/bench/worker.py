"""One process of the benchmark: ``python -m compare.bench.worker TASK``, TASK and the answer one line of JSON.

A cold task makes one fit, the zoo's or the baseline; its process is timed from outside. A warm task makes both in
turn, times each, and then measures them.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from compare.bench import targets
from compare.messages import one_line
from models.contract import Model

BATCHES = 64


def answer(task: Mapping[str, Any]) -> dict[str, Any]:
    """Do a task.

    Args:
        task: ``case``, ``library``, ``guide`` (None: NUTS), ``way`` (``zoo``, ``baseline``, ``warm``), ``seed``,
            ``steps`` and ``repeats``.
    """
    model, data = targets.parse(task["case"])
    if task["way"] == "warm":
        return warm(task, model, data)
    if task["way"] == "zoo":
        zoo(task, model, data, task["seed"])
    else:
        baseline(task, model, data).fit(task["seed"])
    return {}


def baseline(task: Mapping[str, Any], model: Model, data: Any) -> Any:
    """The library's default loop, ready to fit."""
    module = import_module(f"compare.bench.baseline_{task['library']}")
    twin = import_module(f"models.{model.name}.in_{task['library']}")
    if task["guide"] is None:
        return module.Nuts(twin, data.arguments())
    return module.Svi(twin, task["guide"], data.arguments(), task["steps"])


def prepare(task: Mapping[str, Any], model: Model, data: Any) -> tuple[Any, Any]:
    library = import_module(f"compare.fit.svi.objective_{task['library']}")
    arrays, static = library.split_arguments(data.arguments())
    return library.prepare(model.name, task["guide"], static, arrays), arrays


def zoo(task: Mapping[str, Any], model: Model, data: Any, seed: int) -> Any:
    """The zoo's own fit, without what the default loop leaves out: no draws from a fitted guide."""
    from compare.options import Options

    if task["guide"] is None:
        from compare.comparison import Job
        from compare.fit import run

        fit = run(Job(f"{task['library']}-nuts", model.name, data, "nuts", task["library"], None, seed, Options()))
        if fit.status != "done":
            raise RuntimeError(fit.reason)
        return fit
    import guides
    from compare.fit.svi.svi import optimise

    objective, arrays = prepare(task, model, data)
    return optimise(objective, arrays, guides.load(task["guide"]), Options(), seed)


def warm(task: Mapping[str, Any], model: Model, data: Any) -> dict[str, Any]:
    """Fits in turn, after one of each that does not count, and what they are worth."""
    reason = reason_to_skip(task, data)
    if reason:
        return {"skipped": reason}
    other = baseline(task, model, data)
    zoo(task, model, data, task["seed"])
    other.warm_up(task["seed"])
    fits: dict[str, list[Any]] = {"zoo": [], "baseline": []}
    seconds: dict[str, list[float]] = {"zoo": [], "baseline": []}
    ways: dict[str, Callable[[int], Any]] = {"zoo": lambda seed: zoo(task, model, data, seed), "baseline": other.fit}
    for seed in range(task["seed"] + 1, task["seed"] + 1 + task["repeats"]):
        for name, fit in ways.items():
            start = time.perf_counter()
            fits[name].append(fit(seed))
            seconds[name].append(time.perf_counter() - start)
    if task["guide"] is None:
        measured = measure_nuts(fits["zoo"], fits["baseline"])
    else:
        measured = measure_svi(task, model, data, fits["zoo"], fits["baseline"])
    for name, numbers in measured.items():
        if name in seconds:
            numbers["warm"] = seconds[name]
            if "ess" in numbers:
                numbers["ess_per_second"] = [
                    ess / taken for ess, taken in zip(numbers["ess"], seconds[name], strict=True)
                ]
    return measured


def reason_to_skip(task: Mapping[str, Any], data: Any) -> str | None:
    """Why the fit is not attempted on these data, or None."""
    from compare import user_model
    from compare.options import Options
    from compare.plan import too_large, too_long

    dimension = user_model.trace(targets.parse(task["case"])[0].name, data, task["library"]).dimension
    return too_long(dimension, Options()) if task["guide"] is None else too_large(task["guide"], dimension)


def measure_svi(
    task: Mapping[str, Any], model: Model, data: Any, own: Sequence[Any], other: Sequence[Any]
) -> dict[str, Any]:
    """Optimisation gaps at common draws: to the best member of the family where it is known, else to the zoo's fit."""
    import numpy as np

    from compare.fit.svi.draws import fresh
    from compare.fit.svi.elbo import elbos
    from compare.fit.svi.ensemble import n_rows
    from compare.plan import best_member

    objective, arrays = prepare(task, model, data)
    start = objective.start(task["seed"], arrays)
    rng = np.random.default_rng([task["seed"], 7])
    batches = [fresh(rng, n_rows(objective.dimension), objective.dimension) for _ in range(BATCHES)]

    def at_batches(parameters: Any) -> np.ndarray:
        with np.errstate(all="ignore"):
            return elbos(objective, parameters, batches, arrays)

    def gap(shortfall: np.ndarray, value: float = 0.0, mcse: float = 0.0) -> dict[str, float]:
        error = np.hypot(shortfall.std(ddof=1) / np.sqrt(BATCHES), mcse)
        return {"value": float(shortfall.mean() + value), "mcse": float(error)}

    own_elbos = [at_batches(outcome.parameters) for outcome in own]
    other_elbos = [at_batches(parameters) for parameters in other]
    estimates = [{"value": outcome.gap.value, "mcse": outcome.gap.mcse} for outcome in own]
    best = best_member(model, data, task["guide"])
    if best is None:
        reference, gaps = "the zoo's own estimate", estimates
        other_gaps = [gap(a - b, **estimate) for a, b, estimate in zip(own_elbos, other_elbos, estimates, strict=True)]
    else:
        is_common = set(best.parameters) == set(start)
        top = at_batches(best.parameters) if is_common else best.elbo
        reference = f"{best.method}; {'at common draws' if is_common else 'its ELBO'}"
        gaps, other_gaps = ([gap(top - elbo) for elbo in each] for each in (own_elbos, other_elbos))
    return {
        "reference": reference,
        "zoo": {
            "gradients": [outcome.gradients for outcome in own],
            "gap": gaps,
            "estimate": estimates,
            "converged": [bool(outcome.converged) for outcome in own],
        },
        "baseline": {"gradients": [task["steps"]] * len(other), "gap": other_gaps},
    }


def measure_nuts(own: Sequence[Any], other: Sequence[Any]) -> dict[str, Any]:
    """The smallest bulk ESS of the reported elements."""
    import arviz_stats
    import numpy as np

    from compare.report.tables.elements import draws

    def smallest(elements: Sequence[Any]) -> float:
        return min(float(arviz_stats.ess(np.asarray(values), method="bulk")) for values in elements)

    shown = own[0].job.layout.reported_elements
    return {
        "zoo": {
            "ess": [smallest([draws(fit.tree, site, index) for site, index in shown]) for fit in own],
            "gradients": [fit.gradients for fit in own],
            "converged": [bool(fit.tree.attrs["targets_met"]) for fit in own],
        },
        "baseline": {"ess": [smallest([sites[site][(..., *index)] for site, index in shown]) for sites in other]},
    }


def peak_memory() -> float | None:
    """The most memory that this process or one of its children held, in MB, where the system tells."""
    try:
        import resource
    except ImportError:
        return None
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    """Answer the task on the command line; whatever the libraries print goes to standard error."""
    out = os.dup(1)
    os.dup2(2, 1)
    try:
        result = answer(json.loads(sys.argv[1])) | {"memory": peak_memory()}
    except Exception as error:
        result = {"error": one_line(error, bare=True)}
    os.write(out, json.dumps(result).encode())


if __name__ == "__main__":
    main()
