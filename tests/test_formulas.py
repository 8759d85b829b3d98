"""Inputs by a formula: products of columns as formulaic makes them, and bad formulas refused in one line."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from compare.cli.main import main
from models.linear import LinearData
from models.logistic import LogisticData

ROWS = [(1.0, 0.5, 1.5, 2), (2.0, 1.5, 0.5, 3), (2.5, 2.5, 1.0, 0), (4.2, 3.0, 2.5, 1), (3.9, 3.5, 2.0, 5)]


@pytest.fixture
def table(tmp_path) -> str:
    path = tmp_path / "table.csv"
    path.write_text("y,a,b,my column\n" + "\n".join(",".join(map(str, row)) for row in ROWS) + "\n")
    return str(path)


def standard(values: np.ndarray) -> np.ndarray:
    return (values - values.mean(axis=0)) / values.std(axis=0)


def test_an_interaction_is_the_product_of_its_columns_before_they_are_scaled(table):
    y, a, b, _ = np.array(ROWS).T
    design = LinearData(table, formula="y ~ a * b").design
    assert design.columns == ("a", "b", "a:b")
    np.testing.assert_allclose(design.inputs, standard(np.column_stack([a, b, a * b])), rtol=1e-12)
    np.testing.assert_allclose(design.targets, standard(y), rtol=1e-12)
    assert design.about["formula"] == "y ~ a * b" and design.about["target"]["name"] == "y"


def test_without_interactions_it_is_the_table_itself(table):
    plain = LinearData(table, target="y").design
    formula = LinearData(table, target="y", formula="y ~ a + b + `my column`").design
    assert formula.columns == plain.columns
    np.testing.assert_array_equal(formula.inputs, plain.inputs)


def test_a_dot_is_all_other_columns(table):
    plain = LinearData(table, target="y").design
    every = LinearData(table, formula="y ~ .").design
    assert every.columns == plain.columns == ("a", "b", "my column")
    np.testing.assert_array_equal(every.inputs, plain.inputs)
    assert LinearData(table, formula="y ~ . - b + a:b").design.columns == ("a", "my column", "a:b")


def test_two_classes_and_functions_of_columns(tmp_path):
    path = tmp_path / "classes.csv"
    path.write_text("risk,a\ngood,1\nbad,2\ngood,3\nbad,5\n")
    design = LogisticData(str(path), formula="risk ~ a + np.log(a)").design
    assert design.columns == ("a", "np.log(a)")
    np.testing.assert_array_equal(design.targets, [1.0, 0.0, 1.0, 0.0])
    np.testing.assert_allclose(design.inputs[:, 1], standard(np.log([1.0, 2.0, 3.0, 5.0])), rtol=1e-12)


BAD = {
    "y ~ zz": "`zz` is not present in the dataset",
    "y ~ (a": "cannot be read: Could not find matching context marker",
    "y ~ y + a": "`y` is not present",
    "y ~ a | b": "cannot be read: give one right side of columns, such as y ~ a * b",
    "y ~ a ~ b": "cannot be read: give one right side of columns",
    "np.log(y) ~ a": "the left side of a formula is a column",
    "a * b": "has not two sides; give one such as 'y ~ a * b'",
    "y ~": "has not two sides",
    "y ~ 0 + a": "takes out the intercept, which the model has",
    "y ~ 1": "has no inputs",
    "y ~ np.log(`my column`)": "is not finite at line 4 of",
    "q ~ a": "has no column 'q'",
}


@pytest.mark.parametrize("formula", BAD)
def test_a_bad_formula_is_refused_in_a_line(formula, table, capsys):
    assert main(["linear", "--data", table, "--formula", formula]) == 2
    complaint = capsys.readouterr().err
    assert BAD[formula] in complaint and len(complaint.splitlines()) == 1


def test_where_formulaic_is_missing_a_line_says_how_to_install_it(table, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "formulaic", None)
    assert main(["linear", "--data", table, "--formula", "y ~ a"]) == 2
    assert "pip install formulaic" in capsys.readouterr().err


def test_two_targets_and_the_catalogues_own_data_are_refused(table, capsys):
    with pytest.raises(ValueError, match="--target is a and the formula's is y"):
        LinearData(table, target="a", formula="y ~ b")
    with pytest.raises(ValueError, match="longley has its own inputs"):
        LinearData(formula="y ~ a")
