"""Linear response beside mean field: sds over the true ones on Longley, and what both cost.

python -m tests.experiments.linear_response sds
python -m tests.experiments.linear_response price
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import replace
from typing import Any

import numpy as np

import models
from compare.comparison import Fit, Request
from compare.fit import run
from compare.options import Options
from compare.plan import plan
from models.linear import LinearData
from models.linear.noise import ConjugateRegression
from models.logistic import LogisticData

NAMES = ("mean_field", "linear_response")
PATIENT = Options(budget=600.0)


def fits(name: str, data: Any, library: str) -> list[Fit]:
    """Mean field and linear response, without what compiling costs."""
    request = Request(models.load(name), data, (library,), NAMES, nuts=False, options=PATIENT)
    jobs = [job for job in plan(request) if job.guide]
    for job in jobs:
        run(job)
    return [run(replace(job)) for job in jobs]


def sds_of(fit: Fit) -> np.ndarray:
    """The sds of NumPyro's guide on the unconstrained latents."""
    values = fit.tree["params"].dataset.data_vars.values()
    sites = {json.loads(value.attrs["path"])[-1]: value.values for value in values}
    return sites["auto_scale"] if "auto_scale" in sites else np.linalg.norm(sites["auto_scale_tril"], axis=1)


def sds() -> str:
    """The weights' sds over the true ones, with sigma known and unknown."""
    rows = ["| Longley's weights | mean field | linear response | formula |", "| --- | --- | --- | --- |"]
    for data in (LinearData(prior="known"), LinearData()):
        exact = models.load("linear").truth(data)
        true = [exact.marginal("weights", (place,)).std() for place in range(6)]
        ratios = [sds_of(fit)[-6:] / true for fit in fits("linear", data, "numpyro")]
        own, response = (f"{min(ratio):.4f} to {max(ratio):.4f}" for ratio in ratios)
        formula, title = "1", "sigma known"
        if isinstance(exact, ConjugateRegression):
            value = math.sqrt(1 - 1 / exact.a)
            formula, title = f"sqrt(1 - 1/{exact.a:g}) = {value:.4f}", "NIG(1, 1, 1)"
        rows.append(f"| {title} | {own} | {response} | {formula} |")
    return "\n".join(rows)


def price() -> str:
    """Gradient evaluations and seconds of both, compiled, with the draws that are handed back."""
    rows = [
        "| model | library | mean field, gradients | seconds | linear response, gradients | seconds |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    problems = [("linear", LinearData(prior="known")), ("linear", LinearData()), ("logistic", LogisticData())]
    problems.append(("logistic", LogisticData("german")))
    titles = ("Longley, sigma known", "Longley", "O-rings", "German credit")
    for title, (name, data) in zip(titles, problems, strict=True):
        for library in ("numpyro", "pyro"):
            cells = " | ".join(f"{fit.gradients:,} | {fit.seconds:.1f}" for fit in fits(name, data, library))
            rows.append(f"| {title} | {library} | {cells} |")
    return "\n".join(rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["sds", "price"])
    print({"sds": sds, "price": price}[parser.parse_args().part]())
