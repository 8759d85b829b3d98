"""The data sets: two clusters with a gap, two moons, two real ones, or the user's own table, split and scaled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models.contract import UnknownName, nearest
from models.tables import Table, has_two_classes, read_csv

__all__ = ["DATASETS", "Dataset", "load", "sine"]


@dataclass(frozen=True)
class Dataset:
    """Rows to fit, rows held out, and the points at which the function is reported.

    Inputs and ``grid`` have shape (rows, columns). Targets are numbers, or 0 and 1 where ``classes``. ``noise`` is the
    sd of the noise where it is known. ``about`` says in JSON's types where the rows come from, how they were scaled
    and where the grid lies.
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
            raise UnknownName(f"no data set and no file is named {name!r}; {nearest(name, DATASETS)}") from None
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
    """Progression of diabetes in 442 patients (Efron et al. 2004, Least angle regression)."""
    from sklearn.datasets import load_diabetes

    found = load_diabetes(scaled=False)
    has_two_classes(task, len(np.unique(found.target)), "of diabetes")  # it has none: refuses classification
    return divided(
        Table(
            name="diabetes",
            source={"source": "scikit-learn's load_diabetes (Efron et al. 2004)"},
            columns=tuple(found.feature_names),
            inputs=found.data,
            target="progression",
            targets=found.target,
            labels=None,
            place="held-out row, from 0",
            places=np.arange(len(found.target)),
        ),
        split,
    )


def breast_cancer(task: str, split: int) -> Dataset:
    """Which of 569 breast masses are malignant (Street et al. 1993, Wisconsin diagnostic)."""
    from sklearn.datasets import load_breast_cancer

    found = load_breast_cancer()
    return divided(
        Table(
            name="breast_cancer",
            source={"source": "scikit-learn's load_breast_cancer (Street et al. 1993)"},
            columns=tuple(map(str, found.feature_names)),
            inputs=found.data,
            target="diagnosis",
            targets=1.0 - found.target,  # scikit-learn's 1 is benign
            labels=("benign", "malignant") if has_two_classes(task, 2, "of breast_cancer") else None,
            place="held-out row, from 0",
            places=np.arange(len(found.target)),
        ),
        split,
    )


DATASETS: dict[str, Callable[[str, int], Dataset]] = {
    "gap": gap,
    "diabetes": diabetes,
    "breast_cancer": breast_cancer,
    "moons": moons,
}


def divided(table: Table, split: int) -> Dataset:
    """Split 80 to 20, standardise by the rows fitted, and choose the grid.

    An input that does not vary among the rows fitted is left out, and ``about`` says so. The grid of one input is 13
    points over its range, wider by a quarter at either end; of several, up to 12 of the rows held out, evenly spaced
    in the table.
    """
    count = len(table.targets)
    if count < 3:
        rows = "1 row" if count == 1 else f"{count} rows"
        raise ValueError(f"{table.name} has {rows}; give 3 or more, two to fit and one to hold out")
    order = np.random.default_rng(split).permutation(count)
    held_out, fitted = map(np.sort, np.split(order, [max(1, round(count / 5))]))
    varying = np.ptp(table.inputs[fitted] / 2, axis=0) > 0
    if not varying.any():
        raise ValueError(f"no input of {table.name} varies among the rows fitted; give one that does")
    columns = [name for name, kept in zip(table.columns, varying, strict=True) if kept]
    constant = [name for name, kept in zip(table.columns, varying, strict=True) if not kept]
    if np.ptp(table.targets[fitted] / 2) == 0:
        of = "are of one class" if table.labels else "have the same target"
        raise ValueError(
            f"all rows of {table.name} to fit {of} at split {split}; try another --split or give more rows"
        )
    centre, spread = scales(table.inputs[fitted][:, varying])
    inputs = standardised(table.inputs[:, varying], centre, spread, f"an input of {table.name}")
    targets, about = table.targets, {"name": table.target}
    if table.labels:
        about |= {"class 0": table.labels[0], "class 1": table.labels[1]}
    else:
        middle, sd = scales(targets[fitted])
        targets = standardised(targets, middle, sd, f"the target of {table.name}")
        about |= {"mean": float(middle), "sd": float(sd)}
    if len(columns) == 1:
        low, high = inputs[fitted].min(), inputs[fitted].max()
        grid = np.linspace(low - (high - low) / 4, high + (high - low) / 4, 13)[:, None]
        places = {f"at {columns[0]}": (centre[0] + spread[0] * grid[:, 0]).tolist()}
    else:
        chosen = held_out[np.unique(np.linspace(0, len(held_out) - 1, 12).round().astype(int))]
        grid, places = inputs[chosen], {f"at {table.place}": table.places[chosen].tolist()}
    return Dataset(
        inputs=inputs[fitted],
        targets=targets[fitted],
        test_inputs=inputs[held_out],
        test_targets=targets[held_out],
        grid=grid,
        classes=table.labels is not None,
        about={
            **table.source,
            "rows": {"fitted": len(fitted), "held out": len(held_out)},
            "inputs": columns,
            **({"left out, constant": constant} if constant else {}),
            "target": about,
            "scaled": f"{'inputs' if table.labels else 'inputs and target'} to mean 0 and sd 1 in the rows fitted",
            "f": places,
        },
    )


def scales(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and sd of each column, of numbers of any size that float64 holds.

    The range is brought to [-1, 1] first, and all is halved before that: the difference of huge numbers stays finite.
    """
    low, high = values.min(axis=0) / 2, values.max(axis=0) / 2
    middle, half = low / 2 + high / 2, (high - low) / 2
    unit = (values / 2 - middle) / half
    return 2 * (middle + half * unit.mean(axis=0)), 2 * half * unit.std(axis=0)


def standardised(values: np.ndarray, mean: np.ndarray, sd: np.ndarray, what: str) -> np.ndarray:
    """(values - mean) / sd.

    Raises:
        ValueError: a row that was held out is beyond all others, so that squares would not be finite.
    """
    with np.errstate(over="ignore"):
        found = (values / 2 - mean / 2) / (sd / 2)
    if not np.abs(found).max() < 1e100:
        raise ValueError(f"{what} is 1e100 sds away from the rows fitted, or more; correct it or leave the row out")
    return found
