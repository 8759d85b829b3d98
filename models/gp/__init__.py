r"""Gaussian process regression: mean field is as good as its coordinates, and inducing points fall off a cliff.

    f ~ GP(0, kernel),  targets ~ N(f(inputs), noise)

The kernel and the noise are known, so that the posterior of f is Gaussian and known in closed form, with its evidence.
The latents are the values f at the inputs, or u with f = L u, L the kernel's Cholesky factor.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.contract import Element, Literature, Model, Quantities, Simulated
from models.gp.data import GpData
from models.gp.exact import GaussianProcess, coverage
from models.gp.inducing import best_member, inducing_points
from models.gp.literature import published
from models.gp.pictures import PICTURES

__all__ = ["MODEL", "GpData"]

MOST_SHOWN = 300
"""Points up to which every value of f is reported; 20 of them, evenly spread, beyond."""


def simulate(data: GpData, rng: np.random.Generator, count: int) -> Simulated:
    """Functions from the prior, and targets of each at the same inputs."""
    exact = GaussianProcess(data)
    u = rng.standard_normal((count, exact.size))
    targets = u @ exact.factor.T + data.noise * rng.standard_normal(u.shape)
    data_sets = tuple(data.with_derived(design=replace(data.design, targets=row)) for row in targets)
    return Simulated(exact.sites_of(u), data_sets)


def report(data: GpData) -> list[Element]:
    size = len(data.design.targets)
    places = np.arange(size) if size <= MOST_SHOWN else np.linspace(0, size - 1, 20).round().astype(int)
    return [("f", (int(place),)) for place in places]


MODEL = Model(
    name="gp",
    title="a Gaussian process: in which coordinates is its posterior nearly factorised?",
    data=GpData,
    guides=("mean_field", "full_rank"),
    truth=GaussianProcess,
    test_cases=(
        GpData(points=4, length=1.0, noise=0.3, inducing=2),
        GpData(points=3, length=2.0, noise=1.0, latents="values", kernel="matern52"),
    ),
    simulate=simulate,
    best_member=best_member,
    coverage=coverage,
    coordinate_ascent=inducing_points,
    quantities=Quantities(report=report),
    literature=Literature(published=published),
    pictures=PICTURES,
)
