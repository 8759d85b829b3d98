"""The classification's table, the prior, and whether the classes can be separated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize, sparse

from models import designs
from models.designs import Design
from models.options import Data, derived, option, parse_number
from models.tables import Table, beside, breast_cancer

SMALLEST, LARGEST = 1e-3, 1e3  # sds of the prior

FAHRENHEIT = (66, 70, 69, 68, 67, 72, 73, 70, 57, 63, 70, 78, 67, 53, 67, 75, 70, 81, 76, 79, 75, 76, 58)
DISTRESS = (0, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1)
"""Temperature at launch, and whether an O-ring was damaged, on the 23 flights before the Challenger's."""


def orings() -> Table:
    """Damage to O-rings of the space shuttle by temperature, 23 launches (Dalal, Fowlkes & Hoadley 1989)."""
    source = "Dalal, Fowlkes & Hoadley 1989, Risk analysis of the space shuttle, table 1"
    inputs, targets = np.array(FAHRENHEIT, float)[:, None], np.array(DISTRESS, float)
    rows = np.arange(len(targets))
    labels = ("no damage", "damage")
    return Table("orings", {"source": source}, ("temperature",), inputs, "damage", targets, labels, "row", rows)


def german() -> Table:
    """Which of 1,000 loans went bad, by 24 numbers (UCI's Statlog German credit, numeric form)."""
    source = "UCI Statlog German credit, numeric (Hofmann 1994)"
    return beside(__file__, "german", "bad", "classification", source)


DATASETS = {"orings": orings, "german": german, "breast_cancer": breast_cancer}


@dataclass(frozen=True)
class LogisticData(Data):
    """The classification's table and the prior.

    Attributes:
        design: The `Design` that ``data`` and ``target`` name.

    Raises:
        ValueError: no such data, data from which nothing can be learnt (see `models.designs.load`), a target of other
            than two classes, or a prior that is flat or out of its range.
    """

    data: str = option("orings", "orings, german, breast_cancer, or a CSV file with a header", str)
    target: str | None = option(None, "the column of the CSV file that is predicted, of two classes", str)
    prior_sd: float = option(2.5, "sd of the prior of the intercept and of every weight", parse_number)
    formula: str | None = option(
        None, "for a CSV file, the target and the inputs, such as 'y ~ a * b'; needs formulaic", str
    )
    design: Design = derived()

    def __post_init__(self) -> None:
        self._set(design=designs.load(self.data, self.target, "classification", DATASETS, formula=self.formula))
        if self.prior_sd == np.inf:
            kind = separation(self.design)
            if kind is None:
                raise ValueError("prior_sd is inf: a flat prior leaves no evidence to measure against; give 100, say")
            raise ValueError(
                f"the classes are separable ({kind}ly), and under a flat prior there is no posterior; give a finite "
                f"prior_sd, such as 2.5"
            )
        if isinstance(self.prior_sd, bool) or not SMALLEST <= self.prior_sd <= LARGEST:
            raise ValueError(f"prior_sd is {self.prior_sd}: give a number from {SMALLEST:g} to {LARGEST:g}")

    def arguments(self) -> dict[str, Any]:
        inputs, targets = self.design.inputs, self.design.targets
        return {"inputs": inputs, "targets": targets, "prior_sd": np.float64(self.prior_sd)}

    def describe(self) -> dict[str, Any]:
        return {"data": self.data, "prior_sd": float(self.prior_sd), **self.design.about}


def separation(design: Design) -> str | None:
    """ "complete" or "quasi-complete" where a plane separates the classes, else None (Albert & Anderson 1984).

    By a linear program (Konis 2007): of all planes that have every row on its side or on the plane, one that has as
    many rows as it can at a distance from it.
    """
    features = (2 * design.targets - 1)[:, None] * design.with_ones
    rows, columns = features.shape
    within = sparse.hstack([sparse.eye_array(rows), -features])  # the distance counts up to 1
    bounds = [(0, 1)] * rows + [(None, None)] * columns
    costs = np.append(-np.ones(rows), np.zeros(columns))
    away = -optimize.linprog(costs, A_ub=within, b_ub=np.zeros(rows), bounds=bounds).fun
    return None if away < 0.5 else "complete" if away > rows - 0.5 else "quasi-complete"
