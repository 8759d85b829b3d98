"""A table of numbers: the rows of a data set before they are split, and the user's own, from a CSV file."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.contract import UnknownName, nearest

if TYPE_CHECKING:
    import pandas as pd

MAX_BYTES = 50_000_000  # largest file that is read
MAX_ROWS = 10_000  # most rows of a file: every draw of a fit keeps the log likelihood of every row
MISSING = frozenset({"", "?", "na", "n/a", "#n/a", "nan", "null"})  # what stands for a missing value, in lower case


@dataclass(frozen=True)
class Table:
    """A table before it is split.

    Attributes:
        name: The data set's name, or the file's.
        source: Where it comes from, in JSON's types.
        columns: The names of the inputs.
        inputs: Shape (rows, columns).
        target: The target's name.
        targets: Shape (rows,).
        labels: How the targets 0 and 1 are spelt, where the task is classification; else None.
        place: What `places` counts.
        places: The numbers by which one finds a row again, shape (rows,).
    """

    name: str
    source: dict[str, str]
    columns: tuple[str, ...]
    inputs: np.ndarray
    target: str
    targets: np.ndarray
    labels: tuple[str, str] | None
    place: str
    places: np.ndarray


def has_two_classes(task: str, n_values: int, target: str) -> bool:
    """Whether the task is classification, of a target with ``n_values`` distinct values.

    Raises:
        ValueError: the task does not fit the target; the message says what would.
    """
    if n_values < 2:
        raise ValueError(f"the target {target} has the same value in every row; give one that varies")
    if task == "classification" and n_values != 2:
        raise ValueError(f"the target {target} has {n_values} values; classification needs two classes")
    return task != "regression" and n_values == 2


def read_csv(path: str, target: str | None, task: str) -> Table:
    """A CSV file: a header, then rows of numbers; the target may be labels of two classes, in any spelling.

    Of two labels the greater in sort order is class 1, by size where both are numbers.

    Args:
        path: The file.
        target: The column to predict; without it the message says which columns there are.
        task: auto, regression or classification.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no table of numbers; the message says where.
    """
    content = read_bytes(path)
    cells = read_cells(content, path)
    target = checked_target(cells, target, path)
    numbers, labels = cells.map(parse_number).astype(float), cells[target]
    inputs = cells.columns.drop(target)
    refuse(cells[inputs], ~np.isfinite(numbers[inputs]), path)
    refuse(cells[[target]], cells[[target]].map(is_unusable), path)
    values = numbers[target] if numbers[target].notna().all() else labels
    levels = sorted(set(values))
    classes = has_two_classes(task, len(levels), f"{target} of {path}")
    if not classes:
        hint = ", or labels of two classes" if task == "auto" else ""
        refuse(cells[[target]], ~np.isfinite(numbers[[target]]), path, hint)
    return Table(
        name=path,
        source={"source": "CSV file", "sha256": hashlib.sha256(content).hexdigest()},
        columns=tuple(inputs),
        inputs=np.ascontiguousarray(numbers[inputs]),
        target=target,
        targets=(values == levels[1]).to_numpy(float) if classes else values.to_numpy(),
        labels=tuple(labels[values == level].iloc[0] for level in levels) if classes else None,
        place="held-out line",
        places=cells.index.to_numpy(),
    )


def read_column(path: str, column: str | None) -> np.ndarray:
    """One column of numbers of a CSV file with a header, shape (rows,); the file's only one needs no name.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it has no such column, or that is not all numbers; the message says where.
    """
    cells = read_cells(read_bytes(path), path)
    header = list(cells.columns)
    if column is None and len(header) > 1:
        raise ValueError(f"{path} needs --column: one of {shortened(header)}")
    column = header[0] if column is None else column
    if column not in header:
        raise ValueError(f"{path} has no column {column!r}; {nearest(column, header)}")
    if cells.empty:
        raise ValueError(f"{path} has a header and no rows; give 1 or more")
    chosen = cells[[column]]
    numbers = chosen.map(parse_number).astype(float)
    refuse(chosen, ~np.isfinite(numbers), path)
    return numbers.to_numpy().ravel()


def shortened(header: Sequence[str]) -> str:
    """The names of the first columns."""
    return ", ".join(header[:10]) + (", ..." if len(header) > 10 else "")


def no_such_data(name: str, known: Iterable[str]) -> UnknownName:
    """The error where a name is neither that of a data set nor that of a file."""
    return UnknownName(f"no data set and no file is named {name!r}; {nearest(name, known)}")


def read_bytes(path: str) -> bytes:
    """The content of a file that is not too large."""
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(path) from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); give a CSV file") from None
    if len(content) > MAX_BYTES:
        raise ValueError(f"{path} is larger than {MAX_BYTES // 1_000_000} MB; give a smaller file")
    return content


def read_cells(content: bytes, path: str) -> pd.DataFrame:
    """The cells as text, under the header's names; the index has the line that each row ends in.

    Python's own reader, as pandas' does not tell lines, nor a row that is too short from one that ends in empty cells.
    """
    import pandas as pd

    try:
        reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), skipinitialspace=True, strict=True)
        filled = ((reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row)))
        rows = list(islice(filled, MAX_ROWS + 2))
    except UnicodeDecodeError:
        raise ValueError(f"{path} cannot be read as text in UTF-8; give a CSV file") from None
    except csv.Error as error:
        raise ValueError(f"{path} cannot be read as CSV (line {reader.line_num}: {error})") from None
    if not rows:
        raise ValueError(f"{path} is empty; give a header and rows")
    (_, header), *rows = rows
    check_header(header, path)
    if len(rows) > MAX_ROWS:
        raise ValueError(f"{path} has more than {MAX_ROWS:,} rows; give at most as many")
    for line, row in rows:
        if len(row) != len(header):
            counts = f"has {len(row)} where the header has {len(header)} cells"
            raise ValueError(f"line {line} of {path} {counts}; give as many")
    return pd.DataFrame([row for _, row in rows], [line for line, _ in rows], header, dtype=object)


def check_header(header: Sequence[str], path: str) -> None:
    """Make sure that a header names every column, and each once."""
    if all(parse_number(column) is not None for column in header):
        raise ValueError(f"{path} has no header: its first line is numbers; give the columns' names there")
    for place, column in enumerate(header, 1):
        if not column or not column.isprintable():
            raise ValueError(f"column {place} of {path} has no printable name; give it one in the header")
        if column in header[: place - 1]:
            raise ValueError(f"{path} has two columns named {column}; give each a name of its own")


def checked_target(cells: pd.DataFrame, target: str | None, path: str) -> str:
    """The target, made sure to be a column beside inputs, and that there are rows."""
    header = list(cells.columns)
    if target is None:
        raise ValueError(f"{path} needs --target, the column to predict: one of {shortened(header)}")
    if target not in header:
        raise ValueError(f"{path} has no column {target!r}; {nearest(target, header)}")
    if len(header) < 2:
        raise ValueError(f"{path} has one column; give the target and at least one input, separated by commas")
    if cells.empty:
        raise ValueError(f"{path} has a header and no rows; give 3 or more")
    return target


def parse_number(cell: str) -> float | None:
    """The number that a cell holds, None where it holds none. Python's 1_000 is none."""
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def is_unusable(cell: str) -> bool:
    """Whether a cell can neither be a number nor a label."""
    return cell.lower() in MISSING or not cell.isprintable() or not np.isfinite(parse_number(cell) or 0.0)


def refuse(cells: pd.DataFrame, wrong: Any, path: str, hint: str = "") -> None:
    """Raise ValueError if a cell is wrong; the message says where the first one is, and what would be right."""
    places = np.argwhere(wrong.to_numpy())
    if not len(places):
        return
    row, column = places[0]
    cell, place = str(cells.iat[row, column]), f"line {cells.index[row]}, column {cells.columns[column]} of {path}"
    if cell.lower() in MISSING:
        raise ValueError(f"{place} is missing ({cell!r}); fill it in or leave the row out")
    what = "a number" if parse_number(cell) is None else "finite"
    raise ValueError(
        f"{place} is {cell if len(cell) <= 40 else cell[:37] + '...'!r}, not {what}; give finite numbers{hint}"
    )


def shipped(
    name: str, source: str, bunch: Any, target: str, targets: np.ndarray, labels: tuple[str, str] | None = None
) -> Table:
    """A data set that scikit-learn ships, from its bunch."""
    columns, rows = tuple(map(str, bunch.feature_names)), np.arange(len(targets))
    where = "held-out row, from 0"
    return Table(name, {"source": source}, columns, bunch.data, target, targets, labels, where, rows)


def beside(module: str, name: str, target: str, task: str, source: str) -> Table:
    """The table ``name``.csv that lies beside a module's file."""
    table = read_csv(str(Path(module).with_name(f"{name}.csv")), target, task)
    return replace(table, name=name, source={"source": source})


def diabetes() -> Table:
    """Progression of diabetes in 442 patients (Efron et al. 2004, Least angle regression)."""
    from sklearn.datasets import load_diabetes

    bunch = load_diabetes(scaled=False)
    source = "scikit-learn's load_diabetes (Efron et al. 2004)"
    return shipped("diabetes", source, bunch, "progression", bunch.target)


def breast_cancer() -> Table:
    """Which of 569 breast masses are malignant (Street et al. 1993, Wisconsin diagnostic)."""
    from sklearn.datasets import load_breast_cancer

    bunch, labels = load_breast_cancer(), ("benign", "malignant")  # scikit-learn's 1 is benign
    source = "scikit-learn's load_breast_cancer (Street et al. 1993)"
    return shipped("breast_cancer", source, bunch, "diagnosis", 1.0 - bunch.target, labels)


def standardised(values: np.ndarray, fitted: np.ndarray, what: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The values less the fitted rows' mean, over their sd; and both, by column. Of numbers of any size.

    The range is brought to [-1, 1] first, and all is halved before that: the difference of huge numbers stays finite.

    Raises:
        ValueError: a held-out row is beyond all others, so that squares would not be finite.
    """
    low, high = values[fitted].min(axis=0) / 2, values[fitted].max(axis=0) / 2
    middle, half = low / 2 + high / 2, (high - low) / 2
    unit = (np.asfortranarray(values[fitted]) / 2 - middle) / half
    mean, sd = 2 * (middle + half * unit.mean(axis=0)), 2 * half * unit.std(axis=0)
    with np.errstate(over="ignore"):
        scaled = (values / 2 - mean / 2) / (sd / 2)
    if not np.abs(scaled).max() < 1e100:
        raise ValueError(f"{what} is 1e100 sds away from the rows fitted, or more; correct it or leave the row out")
    return scaled, mean, sd
