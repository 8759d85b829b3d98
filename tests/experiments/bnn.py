"""What the README says of Bayesian neural networks beyond one run: measured here, printed as its tables.

python -m tests.experiments.bnn gap [numpyro,pyro]         sd ratios in the gap over 10 seeds, tanh and ReLU
python -m tests.experiments.bnn held-out [numpyro,pyro] [diabetes,breast_cancer]    held-out scores over 5 splits

A fit of the latter may take 60 seconds.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from conftest import layout

from compare.comparison import Fit, Job, Request
from compare.fit import run, run_many
from compare.measure.measures import measure
from compare.measure.predictive import score
from compare.measure.truth import find_truth
from compare.options import Options
from compare.plan import plan
from compare.summary import to_json
from models.bnn import MODEL, BnnData, network

SEEDS, SPLITS = 10, 5
OPTIONS = Options(**MODEL.defaults)


def in_the_gap(fit: Fit, data: BnnData, known) -> np.ndarray:
    """The sd ratios at the reported points strictly between the clusters."""
    x = data.dataset.grid[:, 0]
    inside = np.flatnonzero(np.abs(x) < np.abs(data.dataset.inputs).min())
    variables = measure(fit, known, None).variables
    return np.array([variables[f"f[{point}]"].sd_ratio for point in inside])


def variance(fit: Fit, data: BnnData, x: float) -> tuple[float, float]:
    """The variance of f at a point, and its standard error."""
    sites = fit.tree["posterior"].dataset
    latents = {site: sites[site].values.reshape(-1, *sites[site].shape[2:]) for site in layout(data).latents}
    f = network.values(latents, np.array([[x]]), data.activation)[:, 0]
    squares = (f - f.mean()) ** 2
    return float(squares.mean()), float(squares.std() / np.sqrt(len(squares)))


def gap(libraries: Sequence[str]) -> None:
    print("| activation | fit | converged | sd ratio at x = 0 | over the gap | in the clusters | in Foong's bound |")
    print("| --- | --- | ---: | ---: | ---: | ---: | --- |")
    for activation in ("tanh", "relu"):
        data = BnnData(activation=activation)
        reference = run(Job("reference", "bnn", data, "reference", "numpyro", options=OPTIONS))
        known = find_truth(MODEL, data, {"reference": reference})
        inputs = data.dataset.inputs[:, 0]
        p, q = inputs[inputs < 0].max(), inputs[inputs > 0].min()
        clusters = [point for point, x in enumerate(data.dataset.grid[:, 0]) if 1 < abs(x) < 2]
        for library in libraries:
            for family in MODEL.guides:
                name = f"{library}-{family}"
                together = replace(OPTIONS, budget=SEEDS * OPTIONS.budget)  # which they share
                jobs = [Job(name, "bnn", data, "svi", library, family, seed, together) for seed in range(SEEDS)]
                fits = [fit for fit in run_many(jobs) if fit.tree is not None]
                row(activation, name, fits, data, known, (p, q), clusters)
        bound = [variance(reference, data, x) for x in (0.0, p, q)]
        print(f"| {activation} | reference | | 1 | 1 | 1 | {bounded(bound)} |", flush=True)


def row(activation, name, fits, data, known, ends, clusters) -> None:
    """One line: means and sds over the seeds."""
    summaries = [measure(fit, known, None) for fit in fits]
    converged = sum(summary.optimisation.converged for summary in summaries)
    centre = [summary.variables["f[6]"].sd_ratio for summary in summaries]
    inside = [in_the_gap(fit, data, known).mean() for fit in fits]
    beside = [np.mean([fit.variables[f"f[{point}]"].sd_ratio for point in clusters]) for fit in summaries]
    held = [variance(fit, data, 0.0)[0] <= sum(variance(fit, data, end)[0] for end in ends) for fit in fits]
    print(
        f"| {activation} | {name} | {converged} of {len(fits)} | {about(centre)} | {about(inside)} | {about(beside)} "
        f"| {sum(held)} of {len(held)} |",
        flush=True,
    )


def about(values, digits: int = 2) -> str:
    """Mean and sd."""
    return f"{np.mean(values):.{digits}f} ± {np.std(values, ddof=1):.{digits}f}"


def bounded(variances) -> str:
    (middle, error), *ends = variances
    total, spread_of = sum(value for value, _ in ends), np.hypot(*(error for _, error in ends))
    return f"{middle:.3f} ± {error:.3f} against {total:.4f} ± {spread_of:.4f}"


def held_out(libraries: Sequence[str]) -> None:
    options = replace(OPTIONS, budget=60.0)
    for name in sys.argv[3].split(",") if len(sys.argv) > 3 else ("diabetes", "breast_cancer"):
        entries_of: dict[str, list[dict]] = {}
        for split in range(SPLITS):
            data = BnnData(name, split=split)
            for job in plan(Request(MODEL, data, tuple(libraries), options=options)):
                if job.name == "pyro-nuts":  # does not end within the budget
                    continue
                fit = run(job)
                summary = to_json(measure(fit, None, None))
                if summary["predictions"]:
                    entry = summary["predictions"] | {"optimisation": summary["optimisation"]}
                    entries_of.setdefault(job.name, []).append(entry)
                print(f"# {name} {split} {job.name} {fit.status} {fit.seconds:.0f} s", file=sys.stderr, flush=True)
            for baseline, predictions in MODEL.prediction.baselines(data).items():
                entries_of.setdefault(baseline, []).append(to_json(score(predictions)) | {"optimisation": None})
        scores = [key for key in entries_of["reference"][0] if key != "optimisation"]
        print(f"| {name} | converged | {' | '.join(key.replace('_', ' ') for key in scores)} |")
        print(f"| --- | ---: |{' ---: |' * len(scores)}")
        for fit, entries in entries_of.items():
            known = [entry["optimisation"]["converged"] for entry in entries if entry["optimisation"]]
            arrived = f"{sum(known)} of {len(known)}" if known else ""
            cells = [about([entry[key]["value"] for entry in entries], 3) for key in scores]
            print(f"| {fit} | {arrived} | {' | '.join(cells)} |", flush=True)
        print(flush=True)


if __name__ == "__main__":
    chosen = sys.argv[2].split(",") if len(sys.argv) > 2 else ["numpyro", "pyro"]
    {"gap": gap, "held-out": held_out}[sys.argv[1]](chosen)
