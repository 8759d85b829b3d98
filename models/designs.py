"""A regression's design: a table's columns and its target, in units that one prior suits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from models import formulas
from models.contract import Latents
from models.tables import Table, no_such_data, read_csv, standardised


@dataclass(frozen=True)
class Design:
    """What a regression is fitted to.

    Attributes:
        inputs: Shape (rows, columns).
        targets: Shape (rows,).
        columns: The names of the inputs.
        centre: What was taken from each input, shape (columns,).
        spread: What each was then divided by, shape (columns,).
        about: Where the rows come from and how they were scaled, in JSON's types.
    """

    inputs: np.ndarray
    targets: np.ndarray
    columns: tuple[str, ...]
    centre: np.ndarray
    spread: np.ndarray
    about: dict[str, Any]

    @property
    def with_ones(self) -> np.ndarray:
        """The inputs after a column of ones, for the intercept: shape (rows, 1 + columns)."""
        return np.column_stack([np.ones(len(self.inputs)), self.inputs])


def coefficients(latents: Latents) -> np.ndarray:
    """Intercept and weights as one array, shape (n_draws, 1 + columns)."""
    return np.concatenate([np.asarray(latents["intercept"])[..., None], latents["weights"]], axis=-1)


def sites(values: np.ndarray) -> dict[str, np.ndarray]:
    """The inverse of `coefficients`."""
    return {"intercept": values[..., 0], "weights": values[..., 1:]}


def column_of(index: tuple[int, ...]) -> int:
    """The place among `coefficients` of the intercept, whose index is empty, or of a weight."""
    return index[0] + 1 if index else 0


def table_of(
    name: str, target: str | None, task: str, datasets: Mapping[str, Callable[[], Table]], formula: str | None
) -> Table:
    """The data set of that name, or the table of a CSV file, its target and inputs those of the formula if any."""
    if name not in datasets:
        return of_file(name, target, task, datasets, formula)
    if target is not None:
        raise ValueError(f"{name} has its own target: leave --target {target} out, or name a CSV file with --data")
    if formula is not None:
        raise ValueError(f"{name} has its own inputs: leave --formula out, or name a CSV file with --data")
    return datasets[name]()


def of_file(name: str, target: str | None, task: str, datasets: Iterable[str], formula: str | None) -> Table:
    """The table of a CSV file, its target and inputs those of the formula where there is one."""
    if formula is not None:
        left, _ = formulas.split(formula)
        if target not in (None, left):
            raise ValueError(f"--target is {target} and the formula's is {left}: leave --target out")
        target = left
    try:
        table = read_csv(name, target, task)
    except FileNotFoundError:
        raise no_such_data(name, datasets) from None
    except ValueError as error:
        if formula is not None and f"has no column {target!r}" in str(error):
            raise ValueError(f"{error}; the left side of a formula is a column, such as y in y ~ a * b") from None
        raise
    return table if formula is None else formulas.expanded(table, formula)


def load(
    name: str,
    target: str | None,
    task: str,
    datasets: Mapping[str, Callable[[], Table]],
    unscaled: tuple[str, ...] = (),
    formula: str | None = None,
) -> Design:
    """The data set of that name, or the CSV file with its column ``target``.

    Inputs, and a target that is no class, are brought to mean 0 and sd 1 (the population's: divided by n); those of the
    data sets named in ``unscaled`` are left as they are. Columns that do not vary are left out, and ``about`` says so.
    A formula names the target of a CSV file, and its inputs.

    Raises:
        ValueError: there is no such data set or file, the file is no table of numbers, the formula cannot be read, or
            nothing is left to learn.
    """
    table = table_of(name, target, task, datasets, formula)
    rows = np.arange(len(table.targets))
    if np.ptp(table.targets / 2) == 0:
        raise ValueError(
            f"the target {table.target} of {table.name} has the same value in every row; give one that varies"
        )
    varies = np.ptp(table.inputs / 2, axis=0) > 0
    if not varies.any():
        raise ValueError(f"no input of {table.name} varies; give one that does")
    inputs, targets, scaled = table.inputs[:, varies], table.targets, "no"
    centre, spread = np.zeros(varies.sum()), np.ones(varies.sum())
    about: dict[str, Any] = {"name": table.target}
    if table.labels:
        about |= {"class 0": table.labels[0], "class 1": table.labels[1]}
    if name not in unscaled:
        inputs, centre, spread = standardised(inputs, rows, f"an input of {table.name}")
        scaled = "inputs to mean 0 and sd 1"
        if not table.labels:
            targets, mean, sd = standardised(targets, rows, f"the target of {table.name}")
            about |= {"mean": float(mean), "sd": float(sd)}
            scaled = "inputs and target to mean 0 and sd 1"
    columns = np.array(table.columns, dtype=object)
    constant = columns[~varies].tolist()
    return Design(
        inputs,
        targets,
        tuple(columns[varies]),
        centre,
        spread,
        {
            **table.source,
            **({} if formula is None else {"formula": formula}),
            "rows": len(rows),
            "inputs": columns[varies].tolist(),
            **({"left out, constant": constant} if constant else {}),
            "target": about,
            "scaled": scaled,
        },
    )
