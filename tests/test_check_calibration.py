"""The gap that `check` states of a fit stopped too soon is the true one; see `tests.experiments.check_calibration`."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.experiments.check_calibration import checks, errors
from tests.stopped import CASES, best, short_of


@pytest.fixture
def single_precision():
    """As in a process of the user's, whatever the tests before have set."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    yield
    torch.set_default_dtype(before)


@pytest.mark.usefixtures("single_precision")
@pytest.mark.parametrize(("library", "case"), [("numpyro", "counts"), ("pyro", "line")])
def test_the_gap_of_a_stopped_fit_is_within_four_errors(library, case):
    for row in checks(library, case, 0, stops=(50, 500)):
        assert errors(row) < 4, row
        assert row["word"] == "not converged"


@pytest.mark.parametrize("case", CASES)
def test_no_member_near_the_best_is_better(case):
    """And all are worse by about what they are away, in units of the best one's own scale."""
    rng, (loc, tril) = np.random.default_rng(0), best(case)
    for _ in range(20):
        moved = loc + 0.01 * tril @ rng.normal(size=loc.size), tril @ np.diag(1 + 0.01 * rng.normal(size=loc.size))
        assert 0 < short_of(case, *moved) < 0.02
