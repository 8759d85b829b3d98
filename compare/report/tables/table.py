"""One table for the terminal, the page and data frames: cells as text, by column."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from compare.report.tables.numbers import ABSENT

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        key: Its name in the cells of rows.
        header: What is printed above it.
        group: The table it falls into when one table is too wide; empty where it leads each of them.
        meaning: What it means.
        is_text: Whether it is aligned to the left.
        is_part: Whether its numbers are parts of the sum before it.
    """

    key: str
    header: str
    group: str = ""
    meaning: str = ""
    is_text: bool = False
    is_part: bool = False


@dataclass(frozen=True)
class Row:
    """A row: the fit it belongs to, the word of the verdict on that, and its cells by column."""

    fit: str
    word: str
    cells: dict[str, str]


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        title: Its heading.
        columns: Its columns in order.
        rows: Its rows.
        lead: What a reader should know before reading it.
        remarks: What is to be read with it.
        n_keys: The number of columns that name a row.
    """

    title: str
    columns: tuple[Column, ...]
    rows: Sequence[Row]
    lead: str = ""
    remarks: tuple[str, ...] = ()
    n_keys: int = 1

    def select(self, keys: Collection[str]) -> Table:
        """The table with the columns of these keys."""
        return replace(self, columns=tuple(column for column in self.columns if column.key in keys))

    def without_empty_columns(self) -> Table:
        """The table without the columns in which no row has anything."""
        return self.select({key for row in self.rows for key, text in row.cells.items() if text != ABSENT})

    def by_group(self) -> list[Table]:
        """A table for each group of columns, each led by the columns of none; the first has the remarks."""
        groups = list(dict.fromkeys(column.group for column in self.columns if column.group))
        tables = [self.select([c.key for c in self.columns if c.group in ("", group)]) for group in groups]
        return [tables[0], *(replace(table, lead="", remarks=()) for table in tables[1:])] if tables else [self]

    def transposed(self, corner: str) -> Table:
        """Columns down and fits across; ``corner`` is the header of the columns' names."""
        terms = self.columns[self.n_keys :]
        columns = (Column("term", corner, is_text=True), *(Column(row.fit, row.fit, "fits") for row in self.rows))
        rows = [
            Row("", "", {"term": "  " * term.is_part + term.header, **{r.fit: r.cells[term.key] for r in self.rows}})
            for term in terms
        ]
        return replace(self, columns=columns, rows=rows)

    def frame(self) -> pd.DataFrame:
        """A data frame of the cells as they are printed, a row a fit."""
        import pandas as pd

        columns = [column for column in self.columns if column.key != "fit"]
        cells = [[row.cells[column.key] for column in columns] for row in self.rows]
        index = pd.Index([row.fit for row in self.rows], name="fit")
        return pd.DataFrame(cells, index=index, columns=[column.header for column in columns])
