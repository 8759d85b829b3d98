"""What others published of linear regressions: NIST's certified fit, Pyro's tutorials, and textbooks' formulas."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from models.contract import Published
from models.linear.data import LinearData, longley
from models.linear.exact import Rotated
from models.linear.noise import unknown_noise
from models.linear.pictures import inflation
from models.literature import ERRORS, by_formula, mean_field_cost, printed

INTRODUCTION = "Pyro 1.9.1 (2024), Bayesian Regression - Introduction (Part 1)"
OVERVIEW = "Pyro 1.9.1 (2024), Introduction to Pyro"
ALGORITHMS = "Pyro 1.9.1 (2024), Bayesian Regression - Inference Algorithms (Part 2)"

TUTORIALS = (
    (
        "the mean-field fit of log GDP by Adam: median of sigma and means of the weights, with sds",
        f"{INTRODUCTION}, cells 12 and 13",
        ("sigma", 0.9647, None), ("cont_africa", -1.8097, 0.1142), ("rugged", -0.1691, 0.0387),
        ("cont_africa x rugged", 0.3791, 0.0769), ("intercept", 9.1823, 0.0702),
    ),
    (
        "the mean-field fit of log GDP by Adam, 1,000 steps: median of sigma and means of the weights, with sds",
        f"{OVERVIEW}, cell 56; sigma is 10 / (1 + exp(2.205863))",
        ("sigma", 0.99225, None), ("cont_africa", -1.8474661, 0.1407009), ("rugged", -0.19032118, 0.044044234),
        ("cont_africa x rugged", 0.35599768, 0.079374395), ("intercept", 9.173145, 0.0703669),
    ),
    (
        "the mean-field fit of log GDP by Adam, with a guide written by hand: means and sds of 1,000 draws",
        f"{ALGORITHMS}, cell 8",
        ("sigma", 0.902898, 0.047971), ("cont_africa", -1.890622, 0.122805), ("rugged", -0.157847, 0.039538),
        ("cont_africa x rugged", 0.304515, 0.067683), ("intercept", 9.177024, 0.059607),
    ),
    (
        "NUTS on log GDP: means and sds of 1,000 draws",
        f"{ALGORITHMS}, cell 10",
        ("sigma", 0.952041, 0.052024), ("cont_africa", -1.847651, 0.217768), ("rugged", -0.183031, 0.078067),
        ("cont_africa x rugged", 0.348332, 0.127478), ("intercept", 9.182098, 0.13545),
    ),
)  # fmt: skip
"""Claim, source, and by quantity the mean and the sd that are printed (None: none is). Priors: Normal(0, 10) for the
intercept, Normal(0, 1) for the weights, Uniform(0, 10) for sigma."""

DRAWS = 1000  # from which the tutorials estimate
MEAN, SPREAD = 0.1, 0.1  # what is tolerated beside chance: of means in posterior sds, of sds relative to the true ones


def published(data: LinearData, summary: Mapping[str, Any]) -> list[Published]:
    """NIST's fit and the tutorials whatever the data; the cost of mean field for the data given."""
    return [certified(), variance_inflation(), *(tutorial(*entry) for entry in TUTORIALS), *cost(data, summary)]


def certified() -> Published:
    """The least-squares fit of Longley's data: of centred columns, as raw ones lose half of float64's digits."""
    table = longley()
    centre, scale = table.inputs.mean(axis=0), table.inputs.std(axis=0)
    units = (table.inputs - centre) / scale
    weights = np.linalg.lstsq(units, table.targets - table.targets.mean(), rcond=None)[0]
    left = table.targets - table.targets.mean() - units @ weights
    residual = math.sqrt(left @ left / (len(left) - len(weights) - 1))
    return printed(
        "least squares on Longley's data: the six slopes and the residual sd",
        "NIST Statistical Reference Datasets (2003), Longley, certified values, here to 9 digits",
        "15.0618723, -0.0358191793, -2.02022980, -1.03322687, -0.0511041057, 1829.15146; 304.854074",
        *(weights / scale).tolist(),
        residual,
    )


def variance_inflation() -> Published:
    """What mean field reports of the sd of the most collinear coefficient, as the prior widens."""
    data = LinearData("longley", prior="known", prior_sd=1e4)
    rotated, vif = Rotated(data), inflation(data)
    worst = int(vif.argmax())
    variance = data.noise**2
    ratio = (rotated.precisions(variance) * rotated.variances(variance))[1 + worst] ** -0.5
    return by_formula(
        f"the best factorised Gaussian reports 1 / sqrt(VIF) of an sd if the prior is wide (Longley's "
        f"{data.design.columns[worst]})",
        "Marquardt 1970, Technometrics 12 (the factor); Bishop 2006, section 10.1.2 (variances 1 / P_jj)",
        f"1 / sqrt({vif[worst]:.2f})",
        float(vif[worst] ** -0.5),
        float(ratio),
        1e-6,
    )


def tutorial(claim: str, source: str, *entries: tuple[str, float, float | None]) -> Published:
    """The tutorial's means and sds against the posterior under its own priors, which is known by quadrature."""
    data = LinearData("rugged")
    exact = unknown_noise(data)
    places: dict[str, tuple[str, tuple[int, ...]]] = {"sigma": ("sigma", ()), "intercept": ("intercept", ())}
    places |= {column: ("weights", (j,)) for j, column in enumerate(data.design.columns)}
    marginals = [exact.marginal(*places[name]) for name, _, _ in entries]
    shifts = [(mean - m.mean()) / m.std() for (_, mean, _), m in zip(entries, marginals, strict=True)]
    ratios = [sd / m.std() for (_, _, sd), m in zip(entries, marginals, strict=True) if sd is not None]
    worst = max(range(len(shifts)), key=lambda j: abs(shifts[j]))
    right = abs(shifts[worst]) <= MEAN + ERRORS / math.sqrt(DRAWS)
    narrow = max(abs(ratio - 1) for ratio in ratios) <= SPREAD + ERRORS / math.sqrt(2 * DRAWS)
    printed_as = "; ".join(f"{name} {mean:.4g}" + (f" ± {sd:.3g}" if sd else "") for name, mean, sd in entries)
    truths = "; ".join(f"{e[0]} {m.mean():.4g} ± {m.std():.3g}" for e, m in zip(entries, marginals, strict=True))
    ours = (
        f"{truths} (quadrature): {entries[worst][0]} is {shifts[worst]:+.2f} sd off, the sds are {min(ratios):.2f} to "
        f"{max(ratios):.2f} of the true ones"
    )
    return Published(claim, source, printed_as, ours, bool(right and narrow))


def cost(data: LinearData, summary: Mapping[str, Any]) -> list[Published]:
    """The evidence gap of mean-field fits that arrived, where the noise is known."""
    if data.prior != "known":
        return []
    return [mean_field_cost(Rotated(data).divergence(data.noise**2), summary)]
