"""Draws that come as a table: as ArviZ, CmdStan, R's posterior and posteriordb write them."""

from __future__ import annotations

import json

import arviz_base
import numpy as np
import pandas as pd
import pytest
from scipy.signal import lfilter

from compare.user_model import draws_table
from compare.user_model.draws import arrays_of, refuse_alternating

RNG = np.random.default_rng(2)
MU, W = RNG.normal(size=(4, 30)), RNG.normal(size=(4, 30, 2, 3))
DIVERGING = RNG.random((4, 30)) < 0.2
ELEMENTS = [(row, column) for row in range(2) for column in range(3)]


def table(name: str, chain: str | None = "chain", shift: int = 0, order: int = 1) -> pd.DataFrame:
    """Chains one below the other, the elements' columns named by a form, in this or the reverse order."""
    columns = {"mu": MU.ravel()}
    for row, column in ELEMENTS[::order]:
        columns[name.format(row + shift, column + shift)] = W[:, :, row, column].ravel()
    labels = {} if chain is None else {chain: np.repeat(np.arange(4) + shift, 30)}
    return pd.DataFrame({**labels, **columns, "lp__": 0.0, "divergent__": DIVERGING.ravel().astype(float)})


def assert_same(given) -> None:
    sites, stats = arrays_of(given)
    np.testing.assert_array_equal(sites["mu"], MU)
    np.testing.assert_array_equal(sites["w"], W)
    np.testing.assert_array_equal(stats["diverging"], DIVERGING)
    assert stats["diverging"].dtype == bool and "lp__" not in sites


@pytest.mark.parametrize(
    ("name", "chain", "shift"),
    [
        ("w[{},{}]", "chain", 0),
        ("w[{}, {}]", "chain", 0),
        ("w[{},{}]", ".chain", 1),
        ("w[{},{}]", "chain__", 1),
        ("w.{}.{}", "chain", 1),
    ],
)
def test_a_column_is_an_element(name, chain, shift, tmp_path):
    """Counted from 0 or from 1, in any order, from a frame, a CSV file or a JSON file."""
    for order in (1, -1):
        frame = table(name, chain, shift, order)
        assert_same(frame)
    frame.to_csv(tmp_path / "fit.csv", index=False)
    assert_same(str(tmp_path / "fit.csv"))
    (tmp_path / "fit.json").write_text(json.dumps(frame.to_dict("list")))
    assert_same(tmp_path / "fit.json")


def test_several_tables_are_a_chain_each(tmp_path):
    """As CmdStan writes them, with comments above, between and below; posteriordb has a list of dicts of lists."""
    frame = table("w.{}.{}", None, 1)
    pieces = [frame[30 * chain : 30 * (chain + 1)] for chain in range(4)]
    assert_same(pieces)
    assert_same([piece.to_dict("list") for piece in pieces])
    paths = [tmp_path / f"output_{chain}.csv" for chain in range(4)]
    for path, piece in zip(paths, pieces, strict=True):
        header, first, *rows = piece.to_csv(index=False).splitlines()
        path.write_text("\n".join(["# model = a", header, first, "# Adaptation terminated", *rows, "#", "# Elapsed"]))
    assert_same(paths)
    (tmp_path / "fit.json").write_text(json.dumps([piece.to_dict("list") for piece in pieces]))
    assert_same(tmp_path / "fit.json")


def test_arviz_s_own_table():
    """Its index holds chain and draw; coordinates with names keep their order, years are no positions."""
    dims = {"theta": ["school"], "rain": ["year"]}
    coords = {"school": ["Choate", "Andover", "Exeter"], "year": [1990, 2000, 2010]}
    values = {"theta": RNG.normal(size=(2, 20, 3)), "rain": RNG.normal(size=(2, 20, 3)), "mu": RNG.normal(size=(2, 20))}
    tree = arviz_base.from_dict({"posterior": values}, dims=dims, coords=coords)
    sites, _ = arrays_of(arviz_base.dataset_to_dataframe(tree["posterior"].to_dataset()))
    for name, value in values.items():
        np.testing.assert_array_equal(sites[name], value)


def test_a_dot_inside_a_name_is_no_index():
    """Sites of a module have dots in their names."""
    sites, _ = arrays_of(pd.DataFrame({"net.bias": MU[0], "net.weight[0]": MU[1], "net.weight[1]": MU[2]}))
    assert {name: value.shape for name, value in sites.items()} == {"net.bias": (1, 30), "net.weight": (1, 30, 2)}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (table("w[{},{}]").drop(columns="w[1,1]"), r"site 'w' has 5 columns, which fill no array of shape \(2, 3\)"),
        (table("w[{},{}]")[:100], "chain 4 has 10 draws, the first 30"),
        ([{"mu": [1.0]}, {"nu": [1.0]}], "chain 2 and the first, only one has the column 'mu'"),
        ([np.zeros(3)], "a list with a ndarray"),
        ("no_such_file.csv", "there is no such file"),
    ],
)
def test_a_table_that_is_no_chains_is_refused(given, words):
    with pytest.raises(ValueError, match=f"^draws.*{words}"):
        arrays_of(given)


@pytest.mark.parametrize("text", ["", "# only a comment\n", "a,b\n1\n2,3,4\n"])
def test_a_file_that_is_no_table_is_refused_in_one_line(text, tmp_path):
    (tmp_path / "fit.csv").write_text(text)
    with pytest.raises(ValueError, match=r"^draws .*fit\.csv cannot be read as a table: ") as refusal:
        arrays_of(tmp_path / "fit.csv")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"posterior": {"mu": [1, 2]}}', "column 'posterior' is no list of a number for each draw"),
        ('{"mu": [1, 2], "w": [1]}', "column 'w' is no list"),
        ('{"mu": [[1], [1, 2]]}', "column 'mu' is no list"),
        ("[1, 2]", "a list with a int"),
        ("null", "a list with a NoneType"),
    ],
)
def test_json_that_is_no_table_is_refused(text, words, tmp_path):
    (tmp_path / "fit.json").write_text(text)
    with pytest.raises(ValueError, match=f"^draws.*{words}"):
        arrays_of(tmp_path / "fit.json")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("chain,mu\n", "the table has no rows"),
        ("mu,tau\n1,2,3,4\n", "its rows have more columns than its header"),
        ('w[0],"w[0,1]"\n1,2\n', "site 'w' has columns with different numbers of indices"),
    ],
)
def test_csv_files_that_are_no_tables_of_draws(text, words, tmp_path):
    (tmp_path / "fit.csv").write_text(text)
    with pytest.raises(ValueError, match=f"^draws.*{words}"):
        arrays_of(tmp_path / "fit.csv")


def test_an_index_is_read_by_its_names():
    frame = pd.DataFrame(
        {"mu": MU.T.ravel()}, pd.MultiIndex.from_product([range(30), range(4)], names=["draw", "chain"])
    )
    np.testing.assert_array_equal(arrays_of(frame)[0]["mu"], MU)
    tree = arviz_base.from_dict({"posterior": {"mu": MU, "w": W[..., 0]}})
    with pytest.raises(
        ValueError, match=r"the table's index is \['chain', 'draw', 'w_dim_0'\]: give a row for each draw"
    ):
        arrays_of(tree["posterior"].to_dataset().to_dataframe())


@pytest.mark.parametrize(("thin", "rows"), [(1, 10), (3, 4)])
def test_a_warm_up_that_cmdstan_saved_is_left_out(thin, rows, tmp_path):
    settings = f"# num_warmup = 10 (Default)\n# save_warmup = 1\n# thin = {thin}\n"
    (tmp_path / "fit.csv").write_text(f"{settings}mu\n" + "\n".join(map(str, range(50))))
    np.testing.assert_array_equal(arrays_of(tmp_path / "fit.csv")[0]["mu"], [np.arange(rows, 50)])
    (tmp_path / "fit.csv").write_text(f"{settings.replace('= 1', '= 0')}mu\n" + "\n".join(map(str, range(50))))
    assert arrays_of(tmp_path / "fit.csv")[0]["mu"].shape == (1, 50)


def test_files_with_commas_between_them_are_a_chain_each(tmp_path):
    for chain in range(4):
        pd.DataFrame({"mu": MU[chain]}).to_csv(tmp_path / f"{chain}.csv", index=False)
    given = ",".join(str(tmp_path / f"{chain}.csv") for chain in range(4))
    np.testing.assert_array_equal(arrays_of(given)[0]["mu"], MU)


@pytest.mark.parametrize("slowness", [0.0, 0.9, -0.5])
def test_rows_of_chains_that_alternate_are_refused(slowness):
    """One of the four lies apart, which pieces of the whole would not show; one below the other they are one chain."""
    chains = lfilter([1.0], [1.0, -slowness], np.random.default_rng(7).normal(size=(4, 500)))
    refuse_alternating("mu", chains.ravel())
    refuse_alternating("mu", chains[0])
    chains[0] += 5 * chains.std()
    with pytest.raises(ValueError, match="of 'mu' every 4th row is more alike than neighbours are"):
        refuse_alternating("mu", chains.T.ravel())


@pytest.mark.parametrize("form", ["w[{}]", "w.{}"])
def test_more_than_ten_elements_are_in_the_order_of_their_numbers(form):
    """Not in that of their digits, whatever the order of the columns; chains in the order in which they appear."""
    values = np.random.default_rng(21).normal(size=(30, 12))
    columns = {form.format(place): values[:, place] for place in (10, 3, 0, 11, 2, 1, 9, 8, 4, 5, 7, 6)}
    table = columns | {"chain": np.repeat([7, 2, 5], 10)}
    sites, _ = draws_table.arrays([table])
    assert (sites["w"] == values.reshape(3, 10, 12)).all()


def test_a_saved_warm_up_has_a_thousand_steps_where_nothing_else_is_said():
    settings = "# save_warmup = 1\n# thin = 4\n"
    assert draws_table.saved_warmup(settings) == 250
    assert draws_table.saved_warmup(settings + "# num_warmup = 30\n") == 8
    assert draws_table.saved_warmup("# save_warmup = 0\n# num_warmup = 30\n") == 0
