"""The data sets: two clusters with a gap, two moons, two real ones, or the user's own table, split and scaled."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from models import tables
from models.selection import evenly
from models.tables import Table, has_two_classes, no_such_data, read_csv, standardised


@dataclass(frozen=True)
class Dataset:
    """Rows to fit, rows held out, and the points at which the function is reported.

    Attributes:
        inputs: Shape (rows, columns); ``test_inputs`` and ``grid`` likewise.
        targets: Numbers, or 0 and 1 where ``classes``, shape (rows,); ``test_targets`` likewise.
        noise: The sd of the noise where it is known.
        about: Where the rows come from, how they were scaled and where the grid lies, in JSON's types.
    """

    inputs: np.ndarray
    targets: np.ndarray
    test_inputs: np.ndarray
    test_targets: np.ndarray
    grid: np.ndarray
    classes: bool = False
    noise: float | None = None
    about: dict[str, Any] = field(default_factory=dict)


def load(name: str, target: str | None = None, task: str = "auto", split: int = 0) -> Dataset:
    """The data set of that name, or the CSV file with its column ``target``.

    The rows fitted of ``gap`` and ``moons`` are always the same, and ``split`` is the seed of those held out. The
    others are split by that seed, 80 to 20, and standardised by the mean and the sd of the rows fitted.

    Raises:
        ValueError: there is no such data set or file, the file is no table of numbers, or it leaves nothing to learn.
    """
    if name not in DATASETS:
        try:
            return divided(read_csv(name, target, task), split)
        except FileNotFoundError:
            raise no_such_data(name, DATASETS) from None
    if target is not None:
        raise ValueError(f"{name} has its own target: leave --target {target} out, or name a CSV file with --data")
    return DATASETS[name](task, split)


def sine(x: np.ndarray) -> np.ndarray:
    """The function behind the gap."""
    return np.sin(2 * x)


def gap(task: str, split: int) -> Dataset:
    """Two clusters of 20 points on a sine with nothing between them; held out are 200 points from everywhere."""

    def draw(seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng([seed, 20_150])
        x = np.concatenate([rng.uniform(-2, -1, 20), rng.uniform(1, 2, 20), rng.uniform(-2, 2, 200)])
        return x[:, None], sine(x) + 0.2 * rng.standard_normal(len(x))

    (inputs, targets), (test_inputs, test_targets) = draw(0), draw(split)
    grid = np.linspace(-3, 3, 13)
    return Dataset(
        inputs=inputs[:40],
        targets=targets[:40],
        test_inputs=test_inputs[40:],
        test_targets=test_targets[40:],
        grid=grid[:, None],
        classes=has_two_classes(task, 40, "of gap"),
        noise=0.2,
        about={
            "source": "sin(2x) plus noise, x in [-2, -1] and [1, 2], the same at every split; held out: x in [-2, 2]",
            "rows": {"fitted": 40, "held out": 200},
            "inputs": ["x"],
            "target": {"name": "y"},
            "scaled": "no",
            "f": {"at x": grid.tolist()},
        },
    )


def moons(task: str, split: int) -> Dataset:
    """scikit-learn's two interleaving half circles: 100 points to fit, 200 held out, noise of sd 0.2."""
    from sklearn.datasets import make_moons

    def draw(seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
        rng = np.random.RandomState(np.random.PCG64(seed))
        return [make_moons(rows, noise=0.2, random_state=rng) for rows in (100, 200)]

    (inputs, targets), (test_inputs, test_targets) = draw(0)[0], draw(split)[1]
    grid = np.array([(x1, x2) for x2 in (-1.25, -0.25, 0.75, 1.75) for x1 in (-1.75, -0.25, 1.25, 2.75)])
    return Dataset(
        inputs=inputs,
        targets=targets.astype(np.float64),
        test_inputs=test_inputs,
        test_targets=test_targets.astype(np.float64),
        grid=grid,
        classes=has_two_classes(task, 2, "of moons"),
        about={
            "source": "scikit-learn's make_moons with noise 0.2, the rows fitted the same at every split",
            "rows": {"fitted": 100, "held out": 200},
            "inputs": ["x1", "x2"],
            "target": {"name": "moon", "class 0": "upper", "class 1": "lower"},
            "scaled": "no",
            "f": {"at x1": grid[:, 0].tolist(), "at x2": grid[:, 1].tolist()},
        },
    )


def diabetes(task: str, split: int) -> Dataset:
    """`models.tables.diabetes`; it has no classes."""
    table = tables.diabetes()
    has_two_classes(task, len(np.unique(table.targets)), "of diabetes")  # refuses classification
    return divided(table, split)


def breast_cancer(task: str, split: int) -> Dataset:
    """`models.tables.breast_cancer`; as numbers where the task is regression."""
    table = tables.breast_cancer()
    return divided(table if has_two_classes(task, 2, "of breast_cancer") else replace(table, labels=None), split)


DATASETS: dict[str, Callable[[str, int], Dataset]] = {
    "gap": gap,
    "diabetes": diabetes,
    "breast_cancer": breast_cancer,
    "moons": moons,
}


def divided(table: Table, split: int) -> Dataset:
    """Split 80 to 20, standardise by the fitted rows, and choose the grid.

    An input that does not vary among the fitted rows is left out, and ``about`` says so. The grid of one input is 13
    points over its range, wider by a quarter at either end; of several, up to 12 of the held-out rows, evenly spaced
    in the table.
    """
    n_rows = len(table.targets)
    if n_rows < 3:
        rows = "1 row" if n_rows == 1 else f"{n_rows} rows"
        raise ValueError(f"{table.name} has {rows}; give 3 or more, two to fit and one to hold out")
    order = np.random.default_rng(split).permutation(n_rows)
    held_out, fitted = map(np.sort, np.split(order, [max(1, round(n_rows / 5))]))
    varies = np.ptp(table.inputs[fitted] / 2, axis=0) > 0
    if not varies.any():
        raise ValueError(f"no input of {table.name} varies among the rows fitted; give one that does")
    if np.ptp(table.targets[fitted] / 2) == 0:
        same = "are of one class" if table.labels else "have the same target"
        raise ValueError(
            f"all rows of {table.name} to fit {same} at split {split}; try another --split or give more rows"
        )
    names = np.array(table.columns, dtype=object)
    columns, constant = names[varies].tolist(), names[~varies].tolist()
    inputs, centre, spread = standardised(table.inputs[:, varies], fitted, f"an input of {table.name}")
    targets = table.targets
    target: dict[str, Any] = {"name": table.target}
    if table.labels:
        target |= {"class 0": table.labels[0], "class 1": table.labels[1]}
    else:
        targets, mean, sd = standardised(targets, fitted, f"the target of {table.name}")
        target |= {"mean": float(mean), "sd": float(sd)}
    if len(columns) == 1:
        low, high = inputs[fitted].min(), inputs[fitted].max()
        grid = np.linspace(low - (high - low) / 4, high + (high - low) / 4, 13)[:, None]
        places = {f"at {columns[0]}": (centre[0] + spread[0] * grid[:, 0]).tolist()}
    else:
        shown = held_out[evenly(len(held_out), 12)]
        grid, places = inputs[shown], {f"at {table.place}": table.places[shown].tolist()}
    about = {
        **table.source,
        "rows": {"fitted": len(fitted), "held out": len(held_out)},
        "inputs": columns,
        **({"left out, constant": constant} if constant else {}),
        "target": target,
        "scaled": f"{'inputs' if table.labels else 'inputs and target'} to mean 0 and sd 1 in the rows fitted",
        "f": places,
    }
    return Dataset(
        inputs[fitted],
        targets[fitted],
        inputs[held_out],
        targets[held_out],
        grid,
        classes=table.labels is not None,
        about=about,
    )
