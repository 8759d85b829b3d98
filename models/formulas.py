"""A table's inputs by a formula, such as ``y ~ a * b``: `formulaic`, an extra, reads its right side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.tables import Table

SHOWN = 200
"""Characters of a formula and of what is wrong with it that are printed."""


def split(formula: str) -> tuple[str, str]:
    """The target's name and the right side.

    Raises:
        ValueError: there are not two sides.
    """
    target, tilde, right = formula.partition("~")
    target, right = target.strip().strip("`"), right.strip()
    if not (target and tilde and right):
        raise ValueError(f"the formula {formula[:SHOWN]!r} has not two sides; give one such as 'y ~ a * b'")
    return target, right


def expanded(table: Table, formula: str) -> Table:
    """The table with the inputs that the formula's right side makes of its own, without the column of ones.

    Raises:
        ValueError: formulaic is not installed, cannot read the formula, or what it gives is not finite.
    """
    import pandas as pd

    try:
        from formulaic import Formula, ModelMatrix
    except ImportError:
        raise ValueError("a formula needs formulaic, which is not installed: pip install formulaic") from None
    target, right = split(formula)
    frame = pd.DataFrame(table.inputs, columns=list(table.columns))
    try:
        with np.errstate(all="ignore"):
            context = {"__formulaic_variables_available__": list(table.columns)}  # what `.` stands for
            matrix = Formula.from_spec(right, context=context).get_model_matrix(frame, na_action="ignore")
            if not isinstance(matrix, ModelMatrix):  # several, as `|` and `~` make
                raise ValueError("give one right side of columns, such as y ~ a * b")
            columns, inputs = [str(name) for name in matrix.columns], matrix.to_numpy(dtype=float)
    except Exception as error:  # it may be any: formulas may hold any function
        why = str(error).partition("\n")[0].strip()[:SHOWN].rstrip(".")
        raise ValueError(f"the formula {formula[:SHOWN]!r} cannot be read: {why or type(error).__name__}") from None
    if "Intercept" not in columns:
        raise ValueError(f"the formula {formula[:SHOWN]!r} takes out the intercept, which the model has; leave it in")
    chosen = [place for place, name in enumerate(columns) if name != "Intercept"]
    if not chosen:
        raise ValueError(f"the formula {formula[:SHOWN]!r} has no inputs; give one such as '{target} ~ a * b'")
    inputs, names = inputs[:, chosen], tuple(columns[place] for place in chosen)
    wrong = np.argwhere(~np.isfinite(inputs))
    if len(wrong):
        row, column = wrong[0]
        where = f"line {table.places[row]}" if "line" in table.place else f"row {table.places[row]}"
        raise ValueError(f"{names[column]} of the formula is not finite at {where} of {table.name}; give another")
    return replace(table, columns=names, inputs=np.ascontiguousarray(inputs))
