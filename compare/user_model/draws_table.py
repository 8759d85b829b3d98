"""Draws in a table, a row each: a data frame, or a file as ArviZ, CmdStan, R's posterior or posteriordb have it.

A column is a site, or an element of one: ``w[0]`` or ``w[0, 1]``, by position or by coordinate; in CmdStan's files
``w.1.2``. A column ``chain`` tells chains apart; several tables are a chain each. Rows stand in the order in which they
were drawn.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

CHAIN = ("chain", ".chain", "chain__")
"""Names of the column that tells chains apart: ArviZ's, R's, CmdStan's."""

STATS = {"divergent__": "diverging", "energy__": "energy"}
"""A sampler's statistics by CmdStan's columns."""

ELEMENT = re.compile(r"(?P<site>.+?)(\[(?P<labels>[^\[\]]+)\]|(?P<places>(\.\d+)+))")
SETTING = re.compile(r"^#\s*(save_warmup|num_warmup|thin)\s*=\s*(\w+)", re.MULTILINE)

SUFFIXES = frozenset((".csv", ".json"))
"""Of files that hold tables."""


def read(path: Path) -> Sequence[Any]:
    """The tables of a CSV file, without a warm-up that CmdStan saved, or of a JSON file as posteriordb's: a list with a
    dict of lists for each chain.

    Raises:
        ValueError: it is neither.
        OSError: it cannot be read.
    """
    text = path.read_text()
    if path.suffix == ".json":
        tables = json.loads(text)
        return tables if isinstance(tables, list) else [tables]
    import pandas as pd

    table = pd.read_csv(io.StringIO(text), comment="#")
    if not isinstance(table.index, pd.RangeIndex):  # the first columns of longer rows
        raise ValueError("its rows have more columns than its header")
    return [table[saved_warmup(text) :]]


def saved_warmup(text: str) -> int:
    """The number of rows of a CmdStan file's warm-up, by the settings in its comments."""
    settings = dict(SETTING.findall(text))
    if settings.get("save_warmup") not in ("1", "true"):
        return 0
    return math.ceil(int(settings.get("num_warmup", 1000)) / int(settings.get("thin", 1)))


def arrays(tables: Sequence[Any]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Sites, each of shape (n_chains, n_draws, *site), and the sampler's statistics, (n_chains, n_draws).

    Args:
        tables: Data frames or dicts of columns; all have the same columns.

    Raises:
        ValueError: no table with a row for each draw, chains of different lengths or with other columns, or elements
            of a site that are missing.
    """
    chains = [chain for table in tables for chain in chains_of(columns_of(table))]
    lengths = [len(next(iter(chain.values()), ())) for chain in chains]
    if not any(lengths):
        raise ValueError("draws: the table has no rows")
    for number, (chain, length) in enumerate(zip(chains, lengths, strict=True), start=1):
        if length != lengths[0]:
            raise ValueError(f"draws: chain {number} has {length} draws, the first {lengths[0]}: give all the same")
        if chain.keys() != chains[0].keys():
            name = sorted(chain.keys() ^ chains[0].keys())[0]
            raise ValueError(f"draws: of chain {number} and the first, only one has the column {name!r}")
    columns = {name: np.stack([chain[name] for chain in chains]) for name in chains[0]}
    stats = {STATS[name]: columns.pop(name) for name in STATS if name in columns}
    if "diverging" in stats:
        stats["diverging"] = stats["diverging"].astype(bool)
    return sites_of({name: value for name, value in columns.items() if not name.endswith("__")}), stats


def columns_of(table: Any) -> dict[str, np.ndarray]:
    """A table's columns by name; an index of pairs (chain, draw), as ArviZ's, is a column ``chain``.

    Raises:
        ValueError: it has no row for each draw.
    """
    names = list(table) if isinstance(table, Mapping) else list(table.columns)
    columns: dict[str, np.ndarray] = {}
    for name in names:
        try:
            columns[str(name)] = np.asarray(table[name])
        except ValueError:  # lists of different lengths
            columns[str(name)] = np.empty(())
    for name, column in columns.items():
        if column.shape != next(iter(columns.values())).shape or column.ndim != 1:
            raise ValueError(f"draws: column {name!r} is no list of a number for each draw, as long as the others")
    index = None if isinstance(table, Mapping) else getattr(table, "index", None)
    levels = list(getattr(index, "names", [None]))
    if len(levels) == 1 and index is not None and len(index) and all(isinstance(row, tuple) for row in index):
        levels = [None] * len(index[0])
    if index is not None and len(levels) > 1:
        places = [levels.index(name) for name in CHAIN if name in levels] or [0] * (set(levels) == {None})
        if len(levels) > 2 or not places:
            raise ValueError(f"draws: the table's index is {levels}: give a row for each draw, by (chain, draw)")
        columns[CHAIN[0]] = np.array([row[places[0]] for row in index])
    return columns


def chains_of(columns: dict[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    """The columns of each chain, in the order in which the chains appear."""
    name = next((name for name in CHAIN if name in columns), None)
    if name is None:
        yield columns
        return
    labels = columns.pop(name)
    for label in dict.fromkeys(labels.tolist()):
        yield {column: value[labels == label] for column, value in columns.items()}


def sites_of(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Columns of shape (n_chains, n_draws), those that are elements of one site stacked in the order of their labels.

    Raises:
        ValueError: an element is missing.
    """
    elements: dict[str, dict[tuple[str, ...], np.ndarray]] = {}
    sites = {}
    for name, value in columns.items():
        match = ELEMENT.fullmatch(name)
        if match is None:
            sites[name] = value
            continue
        labels = match["labels"].split(",") if match["labels"] else match["places"][1:].split(".")
        elements.setdefault(match["site"], {})[tuple(label.strip() for label in labels)] = value
    for site, by_labels in elements.items():
        if len(set(map(len, by_labels))) > 1:
            raise ValueError(f"draws: site {site!r} has columns with different numbers of indices")
        axes = [in_order(axis) for axis in zip(*by_labels, strict=True)]
        shape = tuple(map(len, axes))
        if len(by_labels) != np.prod(shape):
            raise ValueError(f"draws: site {site!r} has {len(by_labels)} columns, which fill no array of shape {shape}")
        stacked = np.stack([by_labels[labels] for labels in product(*axes)], axis=-1)
        sites[site] = stacked.reshape(*stacked.shape[:2], *shape)
    return sites


def in_order(labels: Sequence[str]) -> list[str]:
    """The different labels along an axis: numbers by size, others as they appear."""
    different = list(dict.fromkeys(labels))
    return sorted(different, key=int) if all(label.isdecimal() for label in different) else different
