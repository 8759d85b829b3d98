"""Posteriors that others made, with their truths: sbibm's tasks, read from its wheel, which is not installed.

Each has ten observations with 10,000 draws of the posterior each, by closed form, rejection or a long Gibbs sampler
(Lueckmann, Boelts, Greenberg, Goncalves & Macke 2021, Benchmarking simulation-based inference, appendix T). The models
stand in `tests.user_models.foreign_numpyro` and `foreign_pyro`, where the prior's bounds and the noise are constants.
`facts.csv` beside them holds the moments of a few.
"""

from __future__ import annotations

import bz2
import csv
import io
import zipfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy.cluster.vq import kmeans2
from scipy.spatial import cKDTree

from tests.hard_parts import Name, shares_of

__all__ = ["TASKS", "Foreign", "foreign_posterior"]

TASKS = {
    "gaussian_linear": 10,
    "gaussian_linear_uniform": 10,
    "gaussian_mixture": 2,
    "bernoulli_glm": 10,
    "two_moons": 2,
    "slcp": 5,
    "sir": 2,
}
"""The tasks and their numbers of parameters."""

N_CELLS = 8
"""Cells by which lacking mass is seen."""


@dataclass(frozen=True, eq=False)
class Foreign:
    """A posterior that is known by draws.

    Attributes:
        kind: The task, which is the model's name.
        number: The observation, from 1.
        data: The model's arguments.
        draws: Of the posterior, shape (n, d).
    """

    kind: str
    number: int
    data: dict[str, Any]
    draws: np.ndarray = field(repr=False)

    @property
    def names(self) -> list[Name]:
        return [("theta", (i,)) for i in range(self.draws.shape[1])]

    @property
    def mean(self) -> np.ndarray:
        return self.draws.mean(0)

    @property
    def sd(self) -> np.ndarray:
        return self.draws.std(0, ddof=1)

    @cached_property
    def cells(self) -> cKDTree:
        """The centres of cells of the draws, in sds."""
        return cKDTree(kmeans2(self.draws / self.sd, N_CELLS, minit="++", seed=0)[0])

    @cached_property
    def shares(self) -> dict[int, float]:
        """The mass of each cell."""
        return shares_of(self.cells.query(self.draws / self.sd)[1])

    def missed(self, points: np.ndarray) -> float:
        """The mass that draws (n, d) lack in cells of which they have too little."""
        own = shares_of(self.cells.query(points / self.sd)[1])
        return sum(max(0.0, mass - own.get(cell, 0.0)) for cell, mass in self.shares.items())

    def noise(self, n: float) -> float:
        """The sum of the standard errors of the cells' shares in n independent draws and in these."""
        return sum(np.sqrt(mass * (1 - mass) * (1 / n + 1 / len(self.draws))) for mass in self.shares.values())


def foreign_posterior(wheel: Path, task: str, number: int) -> Foreign:
    """A task's posterior given an observation, from 1 to 10, as sbibm's wheel holds it."""
    with zipfile.ZipFile(wheel) as archive:
        folder = f"sbibm/tasks/{task}/files"

        def table(name: str) -> np.ndarray:
            raw = archive.read(f"{folder}/num_observation_{number}/{name}")
            text = (bz2.decompress(raw) if name.endswith(".bz2") else raw).decode()
            return np.array([*csv.reader(io.StringIO(text))][1:], float)

        draws = table("reference_posterior_samples.csv.bz2")
        if task != "bernoulli_glm":
            return Foreign(task, number, {"x": table("observation.csv")[0]}, draws)
        import torch

        design = torch.load(io.BytesIO(archive.read(f"{folder}/design_matrix.pt")), weights_only=True)
        data = {"design": design.numpy().astype(float), "spikes": table("observation_raw.csv")[0]}
        return Foreign(task, number, data | {"precision": smooth_filter(design.shape[1] - 1)}, draws)


def smooth_filter(size: int) -> np.ndarray:
    """The prior's precision of an offset and a filter whose second differences are small, (size + 1, size + 1)."""
    first = np.eye(size) - np.eye(size, k=-1)
    root = first @ first + np.diag(np.sqrt(np.arange(size) / size))
    precision = np.zeros((size + 1, size + 1))
    precision[0, 0], precision[1:, 1:] = 0.5, root.T @ root
    return precision
