"""Options that a caller from Python gives pass by the rules of the command line."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from compare.options import Options
from models.contract import UnknownName

COUNTS = [field.name for field in dataclasses.fields(Options) if field.type in ("int", "int | None")]
NUMBERS = [field.name for field in dataclasses.fields(Options) if field.type == "float"]


def test_every_option_is_a_count_a_number_or_a_word():
    assert {*COUNTS, *NUMBERS, "optimiser", "mass"} == {field.name for field in dataclasses.fields(Options)}


@pytest.mark.parametrize("value", [-1, 2.5, "2.0", "two", True, float("nan"), [3]])
@pytest.mark.parametrize("name", COUNTS)
def test_a_count_is_a_whole_number(name, value):
    with pytest.raises(ValueError, match=rf"^{name}: .* (is not a whole number|is negative); give (one, )?[01]"):
        Options.given({name: value})


@pytest.mark.parametrize("value", [0, -1.5, "sixty", True, float("nan"), float("inf"), None, [60.0]])
@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_is_finite_and_above_0(name, value):
    with pytest.raises(ValueError, match=rf"^{name}: .* is not a (finite )?number"):
        Options.given({name: value})


def test_what_passes_has_the_options_own_type():
    options = Options.given({"rank": np.int64(2), "paths": np.uint8(3), "budget": 5, "tolerance": np.float64(0.1)})
    assert (options.rank, options.paths, options.budget, options.tolerance) == (2, 3, 5.0, 0.1)
    assert [type(value) for value in (options.rank, options.paths, options.budget)] == [int, int, float]
    assert Options.given({"budget": 0.1 + 0.2}).budget == 0.1 + 0.2
    assert Options.given({"steps": 1e4, "rank": np.float64(3.0)}) == Options(steps=10_000, rank=3)
    assert Options.given({"rank": None}) == Options.given({}) == Options()


def test_a_share_is_below_1():
    with pytest.raises(ValueError, match=r"^acceptance: 1 is not below 1; give a number between 0 and 1"):
        Options.given({"acceptance": 1})
    assert Options.given({"acceptance": 0.95}).acceptance == 0.95


def test_nothing_else_passes():
    with pytest.raises(ValueError, match=r"^paths: 'None' is not a whole number"):
        Options.given({"paths": None})
    with pytest.raises(ValueError, match=r"^sweeps: -1 is negative; give 0 or more$"):
        Options.given({"sweeps": -1})
    with pytest.raises(ValueError, match=r"^optimiser: invalid choice: 'sgd'; "):
        Options.given({"optimiser": "sgd"})
    with pytest.raises(UnknownName, match=r"^no option 'step'; "):
        Options.given({"step": 3})
