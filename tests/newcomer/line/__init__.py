"""A line through weights by height: linear regression with a known noise."""

from dataclasses import replace

import numpy as np

from models.contract import Model, Simulated

from .data import Women
from .exact import GaussianPosterior, best_member


def simulate(data: Women, rng: np.random.Generator, count: int) -> Simulated:
    """Lines from the prior, and weights around each."""
    design = data.arguments()["design"]
    line = data.prior_sd * rng.standard_normal((count, 2))
    pounds = line @ design.T + data.noise * rng.standard_normal((count, len(design)))
    return Simulated({"line": line}, tuple(replace(data, pounds=tuple(row.tolist())) for row in pounds))


MODEL = Model(
    name="line",
    title="a line through weights by height, with a known noise",
    data=Women,
    guides=("mean_field", "full_rank"),
    truth=GaussianPosterior,
    test_cases=(Women(noise=10.0), Women(prior_sd=1.0)),
    simulate=simulate,
    best_member=best_member,
)
