r"""Gaussian processes: mean field is as good as its coordinates, and inducing points fall off a cliff.

    f ~ GP(0, kernel),  targets ~ N(f(inputs), noise) or Bernoulli(logits = f(inputs))

The kernel and the noise are known, so that the posterior of f is Gaussian and known in closed form, with its evidence;
with classes as targets it is neither, but its log joint is concave.
The latents are the values f at the inputs, or u with f = L u, L the kernel's Cholesky factor.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import special

from models.contract import Element, Literature, Model, Quantities, Simulated
from models.gp.data import GpData
from models.gp.exact import coverage
from models.gp.hyperparameters import truth
from models.gp.literature import published
from models.gp.pictures import PICTURES
from models.gp.placement import best_member, inducing_points
from models.selection import evenly

__all__ = ["MODEL", "GpData"]

MOST_SHOWN = 300
"""Points up to which every value of f is reported; 20 of them, evenly spread, beyond."""


def hyperparameters(data: GpData) -> tuple[str, ...]:
    """The hyperparameters that are latents."""
    return () if data.is_known else ("length", "noise") if data.is_normal else ("length",)


def simulate(data: GpData, rng: np.random.Generator, count: int) -> Simulated:
    """Functions from the prior, and targets of each at the same inputs."""
    size, latents, targets = len(data.design.targets), [], []
    logs = rng.standard_normal((count, 2)) * (0.0 if data.is_known else data.spread)
    hyper = np.array([data.length, data.noise]) * np.exp(logs)
    for length, noise in hyper:
        u = rng.standard_normal(size)
        f = data.with_derived(length=length).factor(data.design.inputs) @ u
        if data.is_normal:
            targets.append(f + noise * rng.standard_normal(size))
        else:
            targets.append((rng.random(size) < special.expit(f)).astype(float))
        latents.append(u if data.is_whitened else f)
    names = hyperparameters(data)
    unknown = {name: hyper[:, place] for place, name in enumerate(names)}
    data_sets = tuple(data.with_derived(design=replace(data.design, targets=row)) for row in targets)
    return Simulated(unknown | {"u" if data.is_whitened else "f": np.stack(latents)}, data_sets)


def report(data: GpData) -> list[Element]:
    size = len(data.design.targets)
    places = evenly(size, size if size <= MOST_SHOWN else 20)
    return [*((name, ()) for name in hyperparameters(data)), *(("f", (int(place),)) for place in places)]


MODEL = Model(
    name="gp",
    title="a Gaussian process: in which coordinates is its posterior nearly factorised?",
    data=GpData,
    guides=("mean_field", "full_rank"),
    truth=truth,
    test_cases=(
        GpData(points=4, length=1.0, noise=0.3, inducing=2),
        GpData("plane", points=3, length=2.0, noise=1.0, latents="values", kernel="matern52"),
        GpData(points=4, hyperparameters="unknown", inducing=2),
        GpData(points=3, hyperparameters="unknown", latents="values", kernel="matern52"),
        GpData("plane", points=5, likelihood="bernoulli", inducing=2, placement="optimised"),
        GpData(points=5, likelihood="bernoulli", latents="values"),
        GpData(points=3, likelihood="bernoulli", hyperparameters="unknown"),
    ),
    simulate=simulate,
    best_member=best_member,
    coverage=coverage,
    coordinate_ascent=inducing_points,
    quantities=Quantities(report=report),
    literature=Literature(published=published),
    pictures=PICTURES,
    defaults={"mass": "auto"},  # neighbours are correlated: NUTS takes a fourth of the steps
)
