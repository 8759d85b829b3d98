"""A table of numbers: the rows of a data set before they are split, and the user's own, from a CSV file."""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from models.contract import nearest

__all__ = ["Table", "read", "two_classes"]

BYTES = 50_000_000
"""Largest file that is read."""

ROWS = 10_000
"""Most rows of a file: every draw of a fit keeps the log likelihood of every row."""

MISSING = frozenset({"", "?", "na", "n/a", "#n/a", "nan", "null"})
"""What stands for a missing value, in lower case."""


@dataclass(frozen=True)
class Table:
    """A table before it is split: inputs, shape (rows, columns), and targets, shape (rows,).

    Where the task is classification ``labels`` are the spellings of its targets 0 and 1. ``places`` are the numbers by
    which one finds a row again, and ``place`` says what they count.
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


def two_classes(task: str, values: int, target: str) -> bool:
    """Whether the task is classification, of a target with so many distinct values."""
    if values < 2:
        raise ValueError(f"the target {target} has the same value in every row; give one that varies")
    if task == "classification" and values != 2:
        raise ValueError(f"the target {target} has {values} values; classification needs two classes")
    return task != "regression" and values == 2


def read(name: str, target: str | None, task: str) -> Table:
    """A CSV file: a header, then rows of numbers; the target may be labels of two classes, in any spelling.

    Of two labels the greater in sort order is class 1, by size where both are numbers.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no table of numbers; the message says where.
    """
    header, lines, rows, digest = cells(name)
    if target is None:
        shown = ", ".join(header[:10]) + (", ..." if len(header) > 10 else "")
        raise ValueError(f"{name} needs --target, the column to predict: one of {shown}")
    if target not in header:
        raise ValueError(f"{name} has no column {target!r}; {nearest(target, header)}")
    if len(header) < 2:
        raise ValueError(f"{name} has one column; give the target and at least one input, separated by commas")
    if not rows:
        raise ValueError(f"{name} has a header and no rows; give 3 or more")
    at = header.index(target)
    inputs = [
        [real(cell, line, column, name) for column, cell in zip(header, row, strict=True) if column != target]
        for line, row in zip(lines, rows, strict=True)
    ]
    written = [row[at] for row in rows]
    for line, cell in zip(lines, written, strict=True):
        if cell.lower() in MISSING or not cell.isprintable() or not math.isfinite(number(cell) or 0.0):
            real(cell, line, target, name)
    numbers = [number(cell) for cell in written]
    values = written if None in numbers else numbers
    levels = sorted(set(values))
    classes = two_classes(task, len(levels), f"{target} of {name}")
    if classes:
        targets = [float(value == levels[1]) for value in values]
    else:
        hint = ", or labels of two classes" if task == "auto" else ""
        targets = [real(cell, line, target, name, hint) for line, cell in zip(lines, written, strict=True)]
    return Table(
        name=name,
        source={"source": "CSV file", "sha256": digest},
        columns=tuple(column for column in header if column != target),
        inputs=np.array(inputs),
        target=target,
        targets=np.array(targets),
        labels=tuple(written[values.index(level)] for level in levels) if classes else None,
        place="held-out line",
        places=np.array(lines),
    )


def cells(name: str) -> tuple[list[str], list[int], list[list[str]], str]:
    """The header of a CSV file, the line that each row ends in, its cells, and the file's SHA-256."""
    try:
        with open(name, "rb") as file:
            content = file.read(BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(name) from None
    except OSError as error:
        raise ValueError(f"{name} cannot be read ({error.strerror}); give a CSV file") from None
    if len(content) > BYTES:
        raise ValueError(f"{name} is larger than {BYTES // 1_000_000} MB; give a smaller file")
    try:
        reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), skipinitialspace=True, strict=True)
        filled = ((reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row)))
        found = list(islice(filled, ROWS + 2))
    except UnicodeDecodeError:
        raise ValueError(f"{name} cannot be read as text in UTF-8; give a CSV file") from None
    except csv.Error as error:
        raise ValueError(f"{name} cannot be read as CSV (line {reader.line_num}: {error})") from None
    if not found:
        raise ValueError(f"{name} is empty; give a header and rows")
    (_, header), *rows = found
    named(header, name)
    if len(rows) > ROWS:
        raise ValueError(f"{name} has more than {ROWS:,} rows; give at most as many")
    for line, row in rows:
        if len(row) != len(header):
            raise ValueError(
                f"line {line} of {name} has {len(row)} where the header has {len(header)} cells; give as many"
            )
    return header, [line for line, _ in rows], [row for _, row in rows], hashlib.sha256(content).hexdigest()


def named(header: Sequence[str], name: str) -> None:
    """Make sure that a header names every column, and each once."""
    if all(number(column) is not None for column in header):
        raise ValueError(f"{name} has no header: its first line is numbers; give the columns' names there")
    for place, column in enumerate(header, 1):
        if not column or not column.isprintable():
            raise ValueError(f"column {place} of {name} has no printable name; give it one in the header")
        if column in header[: place - 1]:
            raise ValueError(f"{name} has two columns named {column}; give each a name of its own")


def number(cell: str) -> float | None:
    """The number that a cell holds, None where it holds none. Python's 1_000 is none."""
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def real(cell: str, line: int, column: str, name: str, hint: str = "") -> float:
    """The finite number that a cell holds.

    Raises:
        ValueError: it holds none; the message says where.
    """
    value = number(cell)
    if value is not None and math.isfinite(value):
        return value
    place = f"line {line}, column {column} of {name}"
    if cell.lower() in MISSING:
        raise ValueError(f"{place} is missing ({cell!r}); fill it in or leave the row out")
    what = "a number" if value is None else "finite"
    raise ValueError(f"{place} is {quoted(cell)}, not {what}; give finite numbers{hint}")


def quoted(cell: str) -> str:
    """A cell in an error message."""
    return repr(cell if len(cell) <= 40 else cell[:37] + "...")
