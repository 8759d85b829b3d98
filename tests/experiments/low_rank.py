"""`low_rank` where no matrix of the latents is formed: what a fit costs, and what the family leaves of the posterior.

python -m tests.experiments.low_rank

A row is a process of its own. The regressions have 300 rows of standard normal columns and noise of sd 1, known; the
priors are N(0, 1). Where the posterior is Gaussian, KL(q, posterior) is computed from its precision, without draws; its
logarithmic determinant and mean field's best member are closed forms.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

import guides
from compare.fit.svi.newton import banded_product
from compare.fit.svi.svi import optimise
from compare.options import Options
from guides.contract import Parameters
from models.chain import Chain
from models.chain.exact import GaussianChain

ROWS = [
    ("chain", 2000, "numpyro"),
    ("chain", 2000, "pyro"),
    ("chain", 10_000, "numpyro"),
    ("linear", 1000, "numpyro"),
    ("linear", 1000, "pyro"),
    ("linear", 5000, "numpyro"),
    ("logistic", 700, "numpyro"),
]
"""Model, dimension of the chain or columns of the regression, and library."""

OBSERVATIONS = 300


@dataclass(frozen=True)
class Precision:
    """A Gaussian posterior's: its product with columns, its diagonal and log determinant, and the posterior's mean."""

    product: Any
    diagonal: np.ndarray
    log_determinant: float
    mean: np.ndarray


def problem(model: str, size: int) -> tuple[dict[str, Any], Precision | None]:
    """A model's arguments, and its posterior if that is Gaussian."""
    if model == "chain":
        exact = GaussianChain(data := Chain(size))
        bands = np.stack([exact.precision_diagonal, np.append(-np.ones(size - 1), 0.0)])
        known = Precision(lambda w: banded_product(bands, w), bands[0], 2 * exact.half_log_det, exact.location)
        return data.arguments(), known
    rng = np.random.default_rng(0)
    inputs, weights = rng.standard_normal((OBSERVATIONS, size)), rng.standard_normal(size)
    if model == "logistic":
        targets = (inputs @ weights / np.sqrt(size) + rng.logistic(size=OBSERVATIONS) > 0).astype(float)
        return {"inputs": inputs, "targets": targets, "prior_sd": np.float64(1.0)}, None
    targets = inputs @ weights + rng.standard_normal(OBSERVATIONS)
    numbers = {name: np.float64(1.0) for name in ("noise", "prior_sd", "intercept_sd")}
    return {"inputs": inputs, "targets": targets, "prior": "known", **numbers}, regression(inputs, targets)


def regression(inputs: np.ndarray, targets: np.ndarray) -> Precision:
    """I + F'F, F the columns with ones before them, by matrices of the rows alone (Sylvester's identities)."""
    features = np.column_stack([np.ones(len(inputs)), inputs])
    inner = np.eye(len(features)) + features @ features.T
    mean = features.T @ np.linalg.solve(inner, targets)
    diagonal = 1 + np.sum(features**2, axis=0)
    return Precision(lambda w: w + features.T @ (features @ w), diagonal, np.linalg.slogdet(inner)[1], mean)


def divergence(q: Parameters, p: Precision) -> float:
    """KL(q, p) in nats."""
    scale, loading = q["scale"], q["scale"][:, None] * q["cov_factor"]
    shift = q["location"] - p.mean
    trace = p.diagonal @ scale**2 + np.sum(loading * p.product(loading)) + shift @ p.product(shift)
    inner = np.eye(loading.shape[1]) + q["cov_factor"].T @ q["cov_factor"]
    own = 2 * np.log(scale).sum() + np.linalg.slogdet(inner)[1]
    return 0.5 * (trace - len(scale) - own - p.log_determinant)


def row(model: str, size: int, library: str, budget: float) -> str:
    side = import_module(f"compare.fit.svi.objective_{library}")
    arguments, exact = problem(model, size)
    data, static = side.split_arguments(arguments)
    objective = side.prepare(model, "low_rank", static, data)
    begin, ran = time.perf_counter(), time.process_time()
    outcome = optimise(objective, data, guides.load("low_rank"), Options(budget=budget), 0)
    seconds, ran = time.perf_counter() - begin, time.process_time() - ran
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    where = f"{outcome.gap.value:.1e} ± {outcome.gap.mcse:.0e}" + ("" if outcome.converged else ", not converged")
    left, mean_field = "not known", "not known"
    if exact:
        left = f"{divergence(outcome.parameters, exact):,.2f}"
        mean_field = f"{0.5 * (np.log(exact.diagonal).sum() - exact.log_determinant):,.2f}"
    rank = outcome.parameters["cov_factor"].shape[1]
    cells = (model, f"{size:,}", f"{rank}", library, where, left, mean_field, f"{outcome.gradients:,}")
    return f"| {' | '.join(cells)} | {seconds:.0f} | {ran:.0f} | {memory:,.0f} |"


def main(budget: float = 300.0) -> None:
    """The table."""
    head = "model | size | rank | library | gap of the optimiser | left by the family | by mean field"
    print(f"| {head} | gradients | seconds | of the processor | MB |\n|{' --- |' * 11}")
    for model, size, library in ROWS:
        command = [sys.executable, "-m", "tests.experiments.low_rank", model, str(size), library, str(budget)]
        print(subprocess.run(command, capture_output=True, text=True, check=True).stdout, end="", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        print(row(sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4])))
    else:
        main()
