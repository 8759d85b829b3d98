"""The quick battery on one seed: no check complains, and each looks at something."""

from __future__ import annotations

import numpy as np
import pytest
from battery import Check, beyond, exceeded, list_as
from battery.checks import CHECKS
from faults.catalogue import KINDS

NAMED = {fault.caught_by for faults in KINDS.values() for fault in faults}
"""What must catch a planted fault is no repeat, and `test_faults` does not ask again whether it is quiet without."""


TWICE = (": chains", ": slopes")
"""Looks that need a second fit or a second program: by default of the first two models."""


def is_slow(check: Check) -> bool:
    is_twice = check.name.endswith(TWICE) and not check.name.startswith(("coin/", "chain/"))
    return "nuts" in check.name or ((check.repeats or is_twice) and check.name not in NAMED)


@pytest.mark.usefixtures("quickly_compiled")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * is_slow(check)) for name, check in CHECKS.items()]
)
def test_no_check_complains(name):
    assert CHECKS[name]() is None


def test_numbers_that_are_none_are_beyond_what_is_allowed():
    assert beyond("x", 1.0, 1.0, 0.0) is None
    assert beyond("x", [1.0, 2.5], 1.0, [0.0, 1.0]) == "x: 2.5 instead of 1 (allowed: 1 away)"
    assert "nan instead of 1" in beyond("x", [1.0, np.nan], 1.0, 10.0)
    assert beyond("x", 1.0, 1.0, np.nan) is not None


def test_errors_from_few_numbers_are_allowed_more():
    assert exceeded(8) > exceeded(100) > exceeded(10_000) == pytest.approx(5, abs=0.01)


def test_no_two_checks_share_a_name():
    with pytest.raises(ValueError, match="two checks are named"):
        list_as(Check("coin: twins", lambda seeds: [], True))
