"""Draws in a table, a row each: a data frame, or a file as ArviZ, CmdStan, R's posterior or posteriordb have it.

A column is a site, or an element of one: ``w[0]`` or ``w[0, 1]``, by position or by coordinate; in CmdStan's files
``w.1.2``. A column ``chain`` tells chains apart; several tables are a chain each.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

CHAIN = ("chain", ".chain", "chain__")
"""Names of the column that tells chains apart: ArviZ's, R's, CmdStan's."""

STATS = {"divergent__": "diverging", "energy__": "energy", "diverging": "diverging", "energy": "energy"}
"""A sampler's statistics by the columns that hold them."""

ELEMENT = re.compile(r"(?P<site>.+?)(\[(?P<labels>[^\[\]]+)\]|(?P<places>(\.\d+)+))")

SUFFIXES = frozenset((".csv", ".json"))
"""Of files that hold tables."""


def read(path: Path) -> Sequence[Any]:
    """The tables of a CSV file, or of a JSON file as posteriordb's: a list with a dict of lists for each chain.

    Raises:
        ValueError: it is neither.
        OSError: it cannot be read.
    """
    if ".json" in path.suffixes:
        tables = json.loads(path.read_text())
        return tables if isinstance(tables, list) else [tables]
    import pandas as pd

    return [pd.read_csv(path, comment="#", skip_blank_lines=True)]


def arrays(tables: Sequence[Any]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Sites, each of shape (n_chains, n_draws, *site), and the sampler's statistics, (n_chains, n_draws).

    Args:
        tables: Data frames or dicts of columns; all have the same columns.

    Raises:
        ValueError: chains of different lengths, or tables of different columns, or elements of a site are missing.
    """
    chains = [chain for table in tables for chain in chains_of(columns_of(table))]
    lengths = [len(next(iter(chain.values()), ())) for chain in chains]
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
    """A table's columns by name; ArviZ's index of pairs (chain, draw) is a column ``chain``."""
    names = table if isinstance(table, Mapping) else table.columns
    columns = {str(name): np.asarray(table[name]) for name in names}
    index = None if isinstance(table, Mapping) else getattr(table, "index", None)
    if index is not None and len(index) and all(isinstance(row, tuple) and len(row) == 2 for row in index):
        columns["chain"] = np.array([row[0] for row in index])
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
