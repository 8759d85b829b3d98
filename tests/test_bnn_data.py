"""The Bayesian neural network's data: what is loaded, what is refused and how, and the baselines fitted to it."""

from __future__ import annotations

import csv
import dataclasses
import json
import pickle
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import layout
from scipy import integrate, stats
from sklearn.datasets import load_breast_cancer, load_diabetes
from threadpoolctl import threadpool_limits

from models.bnn import MODEL, BnnData, network
from models.bnn.baselines import PENALTIES, linear_model, logistic_model, one_fit
from models.bnn.datasets import sine

EVERY = [
    BnnData(),
    BnnData(noise="unknown"),
    BnnData("diabetes"),
    BnnData("breast_cancer"),
    BnnData("moons"),
    BnnData("moons", task="regression", activation="relu"),
]
NAMED = pytest.mark.parametrize("data", EVERY, ids=lambda data: f"{data.data}-{data.noise}")


@pytest.fixture(autouse=True)
def one_thread():
    """As the baselines do: two threads on two busy cores are slower by far."""
    with threadpool_limits(1):
        yield


def arrays(data: BnnData) -> list[np.ndarray]:
    return [getattr(data.dataset, name) for name in ("inputs", "targets", "test_inputs", "test_targets", "grid")]


@pytest.fixture
def table(tmp_path):
    """Writes a CSV file and gives its name."""

    def write(text: str | bytes, name: str = "table.csv") -> str:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


def rows_of(table, header, rows, name: str = "table.csv") -> str:
    """The same from a header and rows."""
    path = table("", name)
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


# The data sets


@NAMED
def test_shapes_and_types(data):
    inputs, targets, test_inputs, test_targets, grid = arrays(data)
    assert inputs.shape == (len(targets), inputs.shape[1]) and targets.ndim == 1
    assert test_inputs.shape == (len(test_targets), inputs.shape[1]) and grid.shape[1] == inputs.shape[1]
    assert all(array.dtype == np.float64 and np.isfinite(array).all() for array in arrays(data))
    assert not data.dataset.classes or set(targets) == set(test_targets) == {0.0, 1.0}
    rows = data.dataset.about["rows"]
    assert (rows["fitted"], rows["held out"]) == (len(targets), len(test_targets))
    assert len(data.dataset.about["inputs"]) == inputs.shape[1]
    assert layout(data).reported_elements[: len(grid)] == tuple(("f", (point,)) for point in range(len(grid)))


def test_the_gap_is_fixed():
    """Numbers once published: a change of the generator or of numpy's would change every result."""
    data = BnnData()
    x, y = data.dataset.inputs[:, 0], data.dataset.targets
    assert len(x) == 40 and (np.abs(x + 1.5) <= 0.5)[:20].all() and (np.abs(x - 1.5) <= 0.5)[20:].all()
    np.testing.assert_allclose(
        x[[0, 20, 39]], [-1.2931019988099872, 1.4599812472082223, 1.7224822959213517], rtol=1e-12
    )
    np.testing.assert_allclose(
        y[[0, 20, 39]], [-0.8965289525783715, 0.22213851743478558, -0.23573697715535424], rtol=1e-12
    )
    for residual in (y - sine(x), data.dataset.test_targets - sine(data.dataset.test_inputs[:, 0])):
        assert abs(np.mean(residual**2) - 0.04) < 4 * 0.04 * np.sqrt(2 / len(residual))
    assert data.dataset.noise == 0.2
    np.testing.assert_allclose(data.dataset.grid[:, 0], np.arange(-3, 3.1, 0.5))


@pytest.mark.parametrize("name", ["gap", "moons"])
def test_a_split_of_simulated_data_holds_out_other_rows_and_fits_the_same(name):
    first, second = BnnData(name, split=0), BnnData(name, split=1)
    assert np.array_equal(first.dataset.inputs, second.dataset.inputs)
    assert np.array_equal(first.dataset.targets, second.dataset.targets)
    assert np.array_equal(first.dataset.grid, second.dataset.grid)
    assert not np.isin(first.dataset.test_inputs[:, 0], second.dataset.test_inputs[:, 0]).any()
    for data in (first, second):
        assert not np.isin(data.dataset.test_inputs[:, 0], data.dataset.inputs[:, 0]).any()
        assert np.array_equal(BnnData(name, split=data.split).dataset.test_inputs, data.dataset.test_inputs)


@pytest.mark.parametrize("split", [0, 3])
@pytest.mark.parametrize("name", ["diabetes", "breast_cancer"])
def test_a_real_data_set_is_divided_and_standardised(name, split):
    data = BnnData(name, split=split)
    raw = load_diabetes(scaled=False) if name == "diabetes" else load_breast_cancer()
    inputs, targets, test_inputs, test_targets, grid = arrays(data)
    assert len(test_targets) == round(len(raw.target) / 5) and len(targets) + len(test_targets) == len(raw.target)
    np.testing.assert_allclose(inputs.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(inputs.std(axis=0), 1, rtol=1e-12)
    # The scale that the fitted rows have in the raw table brings every row back.
    joined = np.concatenate([inputs, test_inputs])
    order = np.argsort(joined[:, 0], kind="stable")
    slope, intercept = np.polyfit(joined[order, 0], np.sort(raw.data[:, 0]), 1)
    np.testing.assert_allclose(joined[order, 0] * slope + intercept, np.sort(raw.data[:, 0]), rtol=1e-9)
    rows = data.dataset.about["f"]["at held-out row, from 0"]
    assert len(rows) == len(set(rows)) == len(grid) == 12 and rows == sorted(rows)
    np.testing.assert_allclose(grid[:, 0] * slope + intercept, raw.data[rows, 0], rtol=1e-9)
    assert all((point == test_inputs).all(axis=1).any() for point in grid)
    about = data.dataset.about["target"]
    if name == "diabetes":
        assert abs(targets.mean()) < 1e-12 and abs(targets.std() - 1) < 1e-12
        back = np.concatenate([targets, test_targets]) * about["sd"] + about["mean"]
        np.testing.assert_allclose(np.sort(back), np.sort(raw.target), rtol=1e-12)
        assert data.dataset.noise is None and "noise" in layout(data).latents
    else:
        assert targets.sum() + test_targets.sum() == 212  # malignant (Street et al. 1993)
        assert inputs[targets == 1, 0].mean() > 0.5 > inputs[targets == 0, 0].mean()  # their radius is larger
        assert about["class 1"] == "malignant" and "noise" not in layout(data).latents


def test_splits_differ_and_each_is_always_the_same():
    first, again, other = BnnData("diabetes"), BnnData("diabetes"), BnnData("diabetes", split=1)
    assert all(map(np.array_equal, arrays(first), arrays(again)))
    assert not np.array_equal(first.dataset.targets, other.dataset.targets)


def test_the_moons_grid_lies_around_the_moons():
    data = BnnData("moons")
    assert data.dataset.grid.shape == (16, 2) and len(np.unique(data.dataset.grid, axis=0)) == 16
    inside = (data.dataset.grid > data.dataset.inputs.min(axis=0)) & (
        data.dataset.grid < data.dataset.inputs.max(axis=0)
    )
    assert inside.all(axis=1).sum() == 4


@NAMED
def test_what_a_data_set_is_goes_into_the_summary(data):
    description = data.describe()
    assert json.loads(json.dumps(description, allow_nan=False)) == description
    assert description["data"] == data.data
    assert description["task"] == ("classification" if data.dataset.classes else "regression")
    assert description.get("noise") == (None if data.dataset.classes else data.dataset.noise or "unknown")
    assert all(len(points) == len(data.dataset.grid) for points in description["f"].values())


# A user's table


def test_a_table_is_treated_as_the_real_data_are(table):
    raw = load_diabetes(scaled=False)
    rows = [[*map(repr, map(float, row)), repr(float(y))] for row, y in zip(raw.data, raw.target, strict=True)]
    data = BnnData(rows_of(table, [*raw.feature_names, "progression"], rows), "progression", split=2)
    assert all(map(np.array_equal, arrays(data), arrays(BnnData("diabetes", split=2))))
    assert data.dataset.about["target"] == BnnData("diabetes", split=2).dataset.about["target"]
    lines = np.array(data.dataset.about["f"]["at held-out line"])
    assert (lines - 2).tolist() == BnnData("diabetes", split=2).dataset.about["f"]["at held-out row, from 0"]


@pytest.mark.parametrize(
    ("low", "high", "classes"),
    [("no", "yes", ("no", "yes")), ("-1", "1", ("-1", "1")), ("10", "9", ("9", "10")), ("B", "a b", ("B", "a b"))],
)
def test_two_labels_of_any_spelling_are_two_classes(low, high, classes, table):
    rows = [[i, low if i % 3 else high] for i in range(30)]
    data = BnnData(rows_of(table, ["x", "y"], rows), "y")
    assert data.dataset.classes and data.dataset.noise is None
    assert data.dataset.about["target"] == {"name": "y", "class 0": classes[0], "class 1": classes[1]}
    ones = data.dataset.targets.sum() + data.dataset.test_targets.sum()
    assert ones == (20 if classes[1] == low else 10)


def test_numbers_that_are_equal_are_one_label(table):
    rows = [[i, ("1", "1.0", "0")[i % 3]] for i in range(30)]
    assert BnnData(rows_of(table, ["x", "y"], rows), "y").dataset.about["target"]["class 1"] == "1"


def test_two_values_may_be_numbers(table):
    path = rows_of(table, ["x", "y"], [[i, i % 2] for i in range(30)])
    data = BnnData(path, "y", task="regression")
    assert not data.dataset.classes and len(set(data.dataset.targets)) == 2 and abs(data.dataset.targets.mean()) < 1e-12


def test_what_spreadsheets_write_is_read(table):
    plain = BnnData(table("x,y\n1,2\n2,5\n3,3\n4,9\n5,1\n"), "y")
    same = BnnData(table(b'\xef\xbb\xbf"x", "y"\r\n1, 2\r\n" 2",5\r\n\r\n3,3\r\n4,9e0\r\n,\r\n5,1', "other.csv"), "y")
    assert all(map(np.array_equal, arrays(plain), arrays(same)))
    assert plain.dataset.about["sha256"] != same.dataset.about["sha256"]


def test_one_input_is_reported_over_its_range_and_a_quarter_more(table):
    data = BnnData(rows_of(table, ["x", "y"], [[i, i**2] for i in range(101)]), "y")
    low, high = data.dataset.inputs.min(), data.dataset.inputs.max()
    np.testing.assert_allclose(data.dataset.grid[[0, -1], 0], [low - (high - low) / 4, high + (high - low) / 4])
    np.testing.assert_allclose(data.dataset.about["f"]["at x"][::6], [-25, 50, 125], atol=5)


def test_a_constant_input_is_left_out_and_named(table):
    rows = [[i, 7, i % 4, i * i] for i in range(20)]
    data = BnnData(rows_of(table, ["a", "site", "b", "y"], rows), "y")
    assert data.dataset.inputs.shape[1] == 2
    assert data.dataset.about["inputs"] == ["a", "b"] and data.dataset.about["left out, constant"] == ["site"]


@pytest.mark.parametrize(("scale", "shift"), [(1e300, 0), (2e307, 0), (1e-300, 0), (1e-9, 0), (1, 1e12), (-3e5, 7)])
def test_any_scale_will_do(scale, shift, table):
    base = np.round(np.random.default_rng(0).uniform(-8, 8, (40, 3)), 3)
    rows = [[repr(float(cell)) for cell in row] for row in base * scale + shift]
    data = BnnData(rows_of(table, ["a", "b", "y"], rows), "y")
    plain = BnnData(rows_of(table, ["a", "b", "y"], base.tolist(), "plain.csv"), "y")
    tolerance = 1e-9 + 1e-15 * abs(shift / scale)
    for actual, expected in zip(arrays(data), arrays(plain), strict=True):
        np.testing.assert_allclose(actual, np.sign(scale) * expected, atol=tolerance)
    assert all(np.isfinite(p.log_density).all() for p in MODEL.prediction.baselines(data).values())


# What is refused


def refusal(*arguments, **options) -> str:
    """The one line with which a network is refused."""
    with pytest.raises(ValueError) as raised:
        BnnData(*arguments, **options)
    line = str(raised.value)
    assert line and "\n" not in line and line.isprintable() and len(line) < 250
    return line


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"data": "gpa"}, "no data set and no file is named 'gpa'; did you mean 'gap'?"),
        ({"data": "missing.csv"}, "no file is named 'missing.csv'; choose from gap, diabetes"),
        ({"data": ""}, "no file is named ''"),
        ({"data": "/"}, "/ cannot be read (Is a directory)"),
        ({"data": "a\nb"}, "give gap, diabetes"),
        ({"data": 3}, "data is 3"),
        ({"target": "y"}, "gap has its own target: leave --target y out"),
        ({"data": "diabetes", "target": 3}, "target is 3: give the name of a column"),
        ({"task": "clustering"}, "task is 'clustering': give auto or regression or classification"),
        ({"task": "classification"}, "the target of gap has 40 values; classification needs two classes"),
        ({"data": "diabetes", "task": "classification"}, "classification needs two classes"),
        ({"split": -1}, "split is -1: give 0 or more"),
        ({"split": 0.5}, "split is 0.5: give a whole number"),
        ({"split": True}, "split is True"),
        ({"hidden": 0}, "hidden is 0: give 1 or more"),
        ({"hidden": -3}, "hidden is -3: give 1 or more"),
        ({"hidden": 2.5}, "hidden is 2.5: give a whole number"),
        ({"hidden": float("nan")}, "hidden is nan: give a whole number"),
        ({"hidden": float("inf")}, "hidden is inf: give a whole number"),
        ({"hidden": "ten"}, "hidden is 'ten': give a whole number"),
        ({"hidden": 3334}, "hidden is 3334, inputs are 1: that is 10,003 weights; give fewer, for at most 10,000"),
        ({"hidden": 10**30}, "at most 10,000"),
        ({"data": "breast_cancer", "hidden": 313}, "that is 10,017 weights"),
        ({"activation": "sigmoid"}, "activation is 'sigmoid': give tanh or relu"),
        ({"noise": 0}, "noise is 0: give its sd, from 0.0001 to 10000, or unknown"),
        ({"noise": -0.2}, "noise is -0.2"),
        ({"noise": float("nan")}, "noise is nan"),
        ({"noise": float("inf")}, "noise is inf"),
        ({"noise": 1e-300}, "noise is 1e-300"),
        ({"noise": True}, "noise is True"),
        ({"noise": "loud"}, "noise is 'loud'"),
        ({"data": "moons", "noise": 0.2}, "noise is 0.2, but the target is two classes"),
        ({"data": "breast_cancer", "noise": "unknown"}, "leave --noise out"),
    ],
)
def test_bad_options_are_refused_in_one_line(options, expected):
    assert expected in refusal(**options)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("hidden", "ten", "'ten' is not a number"),
        ("hidden", "2.5", "2.5 is not a whole number"),
        ("split", "half", "'half' is not a number"),
        ("noise", "loud", "'loud' is not a number; give the noise's sd, such as 0.2, or unknown"),
    ],
)
def test_text_that_is_no_option_is_refused(name, text, expected):
    parse = next(field for field in dataclasses.fields(BnnData) if field.name == name).metadata["parse"]
    with pytest.raises(ValueError, match=expected):
        parse(text)


TEN = "".join(f"{i},{i * i}\n" for i in range(10))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is empty; give a header and rows"),
        ("\n \n", "is empty"),
        ("x,y\n", "has a header and no rows"),
        ("1,2\n3,4\n5,6\n", "has no header: its first line is numbers"),
        ("x,x,y\n1,2,3\n", "has two columns named x"),
        (",x,y\n0,1,2\n", "column 1 of"),
        ("x\x07,y\n1,2\n", "column 1 of"),
        ("y\n1\n2\n3\n", "has one column"),
        ("x,Y\n1,2\n", "has no column 'y'; choose from x, Y"),
        ("a,b\n1,2\n", "has no column 'y'; choose from a, b"),
        ("x;y\n1;2\n", "has no column 'y'; choose from x;y"),
        ("x,yy\n1,2\n", "has no column 'y'; did you mean 'yy'?"),
        ("x,y\n1,2\n3\n", "line 3 of"),
        ("x,y\n1,2\n3,4,5\n", "has 3 where the header has 2 cells"),
        ("x,y\n" + TEN + "1,two\n", "line 12, column y of"),
        ("x,y\n" + TEN + "1,two\n", "is 'two', not a number; give finite numbers, or labels of two classes"),
        ("x,y\n1,2\none,3\n" + TEN, "line 3, column x of"),
        ("x,y\n1,2\n,3\n" + TEN, "is missing (''); fill it in or leave the row out"),
        ("x,y\n1,2\nNA,3\n" + TEN, "is missing ('NA')"),
        ("x,y\n1,2\n2,nan\n" + TEN, "is missing ('nan')"),
        ("x,y\n1,no\n2,NA\n3,no\n", "is missing ('NA')"),
        ("x,y\n1,1\n2,inf\n3,1\n", "is 'inf', not finite"),
        ("x,y\n1,2\n1e999,3\n" + TEN, "is '1e999', not finite"),
        ("x,y\n1,2\n1_0,3\n" + TEN, "is '1_0', not a number"),
        ("x,y\n1,2\n" + "9" * 30_000 + "z,3\n" + TEN, "...', not a number"),
        ("x,y\n1,5\n2,5.0\n3,5\n4,5\n", "has the same value in every row"),
        ("x,y\n1,no\n2,no\n3,no\n", "has the same value in every row"),
        ("x,y\n3,1\n3,2\n3,4\n3,5\n", "no input of"),
        ("x,y\n1,2\n", "the same value in every row"),
        ("x,y\n1,2\n2,3\n", "has 2 rows; give 3 or more"),
        ('x,y\n1,"2\n', "cannot be read as CSV (line 2"),
        (b"\xff\xfex\x00,\x00y\x00", "cannot be read as text in UTF-8"),
        ("x,y\n" + "1,2\n" * 10_001, "has more than 10,000 rows"),
    ],
)
def test_a_bad_table_is_refused_in_one_line(text, expected, table):
    line = refusal(table(text, "t.csv"), "y", split=0)
    assert expected in line and "t.csv" in line


@pytest.mark.parametrize(
    ("odd", "even", "expected"),
    [
        ("yes", "no", "to fit are of one class at split"),
        ("1", "2", "to fit are of one class at split"),
        ("1e308", None, "the target of"),
    ],
)
def test_a_split_that_leaves_nothing_to_learn_is_refused(odd, even, expected, table):
    """One row of 10 is unlike the others: it is held out, with one other, in a fifth of the splits."""
    path = rows_of(table, ["x", "y"], [[i, odd if i == 6 else even or i] for i in range(10)])
    refused = []
    for split in range(40):
        try:
            assert np.isfinite(BnnData(path, "y", split=split).dataset.test_targets).all()
        except ValueError as error:
            assert expected in str(error) and "\n" not in str(error)
            refused.append(split)
    assert 1 <= len(refused) <= 18  # 8, and 4 standard errors
    if even == "2":
        assert "have the same target at split" in refusal(path, "y", task="regression", split=refused[0])


@pytest.mark.parametrize(
    ("task", "labels", "expected"),
    [
        ("classification", "abc", "has 3 values; classification needs two classes"),
        ("classification", "123", "has 3 values; classification needs two classes"),
        ("classification", "aaa", "same value in every row"),
        ("regression", "aba", "is 'a', not a number; give finite numbers"),
    ],
)
def test_labels_that_do_not_fit_the_task_are_refused(task, labels, expected, table):
    path = rows_of(table, ["x", "y"], [[i, labels[i % 3]] for i in range(30)])
    assert expected in refusal(path, "y", task=task)


def test_a_table_needs_a_target(table):
    assert "needs --target, the column to predict: one of x, y" in refusal(table("x,y\n1,2\n"))
    wide = refusal(table(",".join(f"column {i}" for i in range(1000)) + "\n"))
    assert "one of column 0, " in wide and wide.endswith("column 9, ...")


# A network as a value


@NAMED
def test_a_network_is_its_fields(data):
    for other in (dataclasses.replace(data), pickle.loads(pickle.dumps(data))):
        assert other == data and hash(other) == hash(data) and other.describe() == data.describe()
        assert all(map(np.array_equal, arrays(other), arrays(data)))
    assert dataclasses.replace(data, hidden=3) != data
    assert dataclasses.replace(data, hidden=3).dataset.noise == data.dataset.noise
    assert layout(dataclasses.replace(data, split=1)).latents == layout(data).latents


def test_what_was_not_said_follows_the_data():
    assert dataclasses.replace(BnnData(), data="diabetes").dataset.noise is None
    assert dataclasses.replace(BnnData(), data="moons").dataset.classes
    assert dataclasses.replace(BnnData(noise="unknown"), hidden=3).dataset.noise is None
    assert dataclasses.replace(BnnData(noise=0.5), data="diabetes").dataset.noise == 0.5


def test_equal_values_of_other_types_are_one_network(tmp_path):
    assert BnnData(hidden=np.int64(4), noise=np.float64(0.5), split=2.0) == BnnData(hidden=4, noise=0.5, split=2)
    (tmp_path / "t.csv").write_text("x,y\n" + TEN)
    assert BnnData(tmp_path / "t.csv", "y") == BnnData(str(tmp_path / "t.csv"), "y")


def test_a_pickled_network_needs_no_file(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("x,y\n" + TEN)
    pickled = pickle.dumps(BnnData(str(path), "y"))
    path.unlink()
    assert len(pickle.loads(pickled).dataset.inputs) == 8


# The baselines


@NAMED
def test_every_baseline_predicts_every_row_held_out(data):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        baselines, again = MODEL.prediction.baselines(data), MODEL.prediction.baselines(data)
    assert list(baselines) == ["logistic model" if data.dataset.classes else "linear model", "network, one fit"]
    shape = (1, len(data.dataset.test_targets))
    for name, prediction in baselines.items():
        assert prediction.observed is data.dataset.test_targets
        assert prediction.log_density.shape == prediction.mean.shape == shape
        assert np.isfinite(prediction.log_density).all()
        assert np.array_equal(prediction.log_density, again[name].log_density)
        if data.dataset.classes:
            assert prediction.below is None
            right = np.where(prediction.observed == 1, prediction.mean, 1 - prediction.mean)
            np.testing.assert_allclose(np.exp(prediction.log_density), right, rtol=1e-9)
        else:
            assert prediction.below.shape == shape and (np.abs(prediction.below - 0.5) <= 0.5).all()


def joint_covariance(data: BnnData, scale: float) -> np.ndarray:
    """Of all targets, fitted and held out, in units of scale^2, under the linear model's prior."""
    inputs = np.concatenate([data.dataset.inputs, data.dataset.test_inputs])
    return np.eye(len(inputs)) + (inputs @ inputs.T / inputs.shape[1] + 1) / scale**2


@pytest.mark.parametrize("name", ["gap", "diabetes"])
def test_the_linear_model_with_known_noise_is_conditioning_a_joint_gaussian(name):
    data = BnnData(name, noise=0.3)
    count, covariance = len(data.dataset.targets), 0.09 * joint_covariance(data, 0.3)
    gain = np.linalg.solve(covariance[:count, :count], covariance[:count, count:])
    mean = gain.T @ data.dataset.targets
    sd = np.sqrt(np.diag(covariance)[count:] - np.sum(gain * covariance[:count, count:], axis=0))
    prediction = linear_model(data)
    np.testing.assert_allclose(prediction.mean[0], mean, atol=1e-9)
    exact = stats.norm(mean, sd)
    np.testing.assert_allclose(prediction.log_density[0], exact.logpdf(data.dataset.test_targets), atol=1e-8)
    np.testing.assert_allclose(prediction.below[0], exact.cdf(data.dataset.test_targets), atol=1e-9)


@pytest.mark.parametrize("data", [BnnData(noise="unknown"), BnnData("diabetes")], ids=lambda data: data.data)
def test_the_linear_model_with_unknown_noise_integrates_it_out(data):
    """p(y* | y) = p(y*, y) / p(y), each an integral over the noise's variance by quadrature."""
    count, covariance, prediction = len(data.dataset.targets), joint_covariance(data, 0.1), linear_model(data)
    prior = stats.invgamma(0.5, scale=0.1**2 / 2)

    def log_marginal(targets: np.ndarray, rows: list[int]) -> float:
        part = covariance[np.ix_(rows, rows)]
        half = -0.5 * (len(rows) * np.log(2 * np.pi) + np.linalg.slogdet(part)[1])
        square = targets @ np.linalg.solve(part, targets)

        def log_integrand(log_variance: float) -> float:
            variance = np.exp(log_variance)
            return prior.logpdf(variance) + log_variance + half - 0.5 * (len(rows) * log_variance + square / variance)

        peak = np.log((square + 0.01) / (len(rows) + 1))
        highest = log_integrand(peak)
        value, _ = integrate.quad(lambda t: np.exp(log_integrand(t) - highest), peak - 3, peak + 3, epsabs=0, limit=200)
        return highest + np.log(value)

    fitted = list(range(count))
    evidence = log_marginal(data.dataset.targets, fitted)
    for point in (0, 1, 2, 40):
        with_one = np.append(data.dataset.targets, data.dataset.test_targets[point])
        expected = log_marginal(with_one, [*fitted, count + point]) - evidence
        assert prediction.log_density[0, point] == pytest.approx(expected, abs=1e-6)
    # The distribution function is the density's integral: by a secant, between a row and one a little higher.
    higher = dataclasses.replace(data.dataset, test_targets=data.dataset.test_targets + 1e-4)
    moved = linear_model(SimpleNamespace(dataset=higher))
    slope = (moved.below - prediction.below)[0] / 1e-4
    np.testing.assert_allclose(slope, np.exp((prediction.log_density + moved.log_density)[0] / 2), rtol=1e-6, atol=1e-9)


def test_the_logistic_model_is_at_the_mode_that_it_claims():
    """Its logits are linear; the weights behind them are where the log posterior is flat."""
    data = BnnData("breast_cancer")
    logits = np.log(logistic_model(data).mean[0]) - np.log1p(-logistic_model(data).mean[0])
    features = np.column_stack([data.dataset.test_inputs, np.ones(len(logits))])
    weights = np.linalg.lstsq(features, logits, rcond=None)[0]
    np.testing.assert_allclose(features @ weights, logits, atol=1e-6)
    features = np.column_stack([data.dataset.inputs, np.ones(len(data.dataset.targets))])
    residuals = data.dataset.targets - 1 / (1 + np.exp(-features @ weights))
    slope = features.T @ residuals
    variance = weights[:-1] @ weights[:-1] / (slope[:-1] @ weights[:-1])
    assert np.abs(np.log(variance / np.array(PENALTIES))).min() < 1e-3
    pull = np.append(weights[:-1] / variance, 0)
    assert np.abs(slope - pull).max() < 1e-3 * np.abs(pull).max()


@pytest.mark.parametrize(
    "data",
    [BnnData(), BnnData(hidden=3, noise=0.5), BnnData("moons"), BnnData("breast_cancer")],
    ids=lambda data: f"{data.data}-{data.hidden}",
)
def test_one_fit_is_at_a_mode_of_the_network_s_own_posterior(data):
    """The gradient of the log posterior, by differences, is far below that of the weights' log prior alone."""
    latents = one_fit(data)

    def log_posterior(point: dict[str, np.ndarray]) -> float:
        f = network.values(point, data.dataset.inputs, data.activation)
        likelihood = network.log_density(data, point, f, data.dataset.targets).sum()
        columns = data.dataset.inputs.shape[1]
        prior = columns * np.sum(point["hidden_weights"] ** 2) + data.hidden * np.sum(point["output_weights"] ** 2)
        return float(likelihood - 0.5 * prior)

    for site, factor in (("hidden_weights", data.dataset.inputs.shape[1]), ("output_weights", data.hidden)):
        value = latents[site]
        gradient = np.empty_like(value)
        for index in np.ndindex(value.shape):
            step = np.zeros_like(value)
            step[index] = 1e-5
            ahead, behind = ({**latents, site: value + sign * step} for sign in (1, -1))
            gradient[index] = (log_posterior(ahead) - log_posterior(behind)) / 2e-5
        assert np.linalg.norm(gradient) < 0.02 * factor * np.linalg.norm(value)


def test_one_fit_beats_a_line_where_there_is_a_curve_and_learns_the_noise():
    for data in (BnnData(), BnnData(noise="unknown")):
        curve, line = MODEL.prediction.baselines(data)["network, one fit"], linear_model(data)
        assert curve.log_density.mean() > line.log_density.mean() + 0.5
    residuals = data.dataset.targets - network.values(one_fit(data), data.dataset.inputs, "tanh")[0]
    noise = one_fit(data)["noise"]
    assert noise.shape == (1,) and noise[0] ** 2 == pytest.approx((residuals @ residuals + 0.01) / 41)
    assert 0.1 < noise[0] < 0.3


def test_the_linear_model_is_calibrated_on_real_data():
    """Over 5 splits: the share of rows held out in its 95% interval, within 4 standard errors of 88 rows' mean."""
    below = np.concatenate([linear_model(BnnData("diabetes", split=split)).below[0] for split in range(5)])
    assert abs(np.mean(np.abs(below - 0.5) < 0.475) - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 88)
    predictions = [linear_model(BnnData("diabetes", split=split)) for split in range(5)]
    assert np.mean([np.sqrt(np.mean((p.observed - p.mean) ** 2)) for p in predictions]) < 0.75


def test_claims_of_a_network_so_wide_that_its_modes_cannot_be_written_out():
    """Python refuses to print an integer of more than 4,300 digits; 3,000! 2^3000 has 10,034."""
    assert "about 10^10034 equal modes" in MODEL.literature.claims(BnnData(hidden=3000))[0].truth
    assert "3,840 equal modes" in MODEL.literature.claims(BnnData())[0].truth
