"""The gap that `check` states of a fit stopped too soon is the true one; see `tests.experiments.check_calibration`."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

from compare.fit.svi.elbo import BATCHES, MOST_BATCHES, average, gap_between
from compare.fit.svi.ensemble import Outcome
from compare.fit.svi.gap import Gap
from compare.options import Options
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


@pytest.mark.parametrize(
    "values",
    [np.random.default_rng(0).normal(size=64), np.random.default_rng(1).exponential(size=64), np.eye(64)[0]],
    ids=["normal", "skew", "single"],
)
def test_the_error_of_a_mean_is_that_of_students_t(values):
    """With the degrees of freedom of a chi-square that is as variable as the sample variance, by SciPy's moments."""
    kurtosis = stats.kurtosis(values, fisher=False)
    freedom = 2 / ((kurtosis - 1) / 64)  # of a chi-square whose relative variance 2 / freedom is that of s^2
    gap, known = average(values)
    assert known == pytest.approx(freedom)
    assert gap.mcse == pytest.approx(stats.sem(values) * stats.t(freedom).std())
    assert gap.value == values.mean()


def test_the_error_of_a_mean_at_its_limits():
    assert average(np.full(8, 2.0)) == (Gap(2.0, 0.0), np.inf)
    signs = np.tile([1.0, -1.0], 32)  # a kurtosis of 1: the sample variance has no noise
    assert average(signs)[0].mcse == pytest.approx(stats.sem(signs))
    alone = average(64 * np.eye(64)[0])[0]  # all of the mean is one value
    assert alone.value == 1 and alone.mcse == pytest.approx((64 / 3) ** 0.5, rel=0.02)
    assert not np.isfinite(average(np.array([1.0, np.nan, 2.0]))[0].value)


@pytest.mark.parametrize(("spread", "budget", "count"), [(0.3, 60.0, 1), (3.0, 60.0, 4), (3.0, 0.0, 1)])
def test_a_difference_that_few_batches_carry_takes_more_of_them(spread, budget, count):
    """Log ratios exp(spread z) and 0 of a standard normal z: the mean is exp(spread^2 / 2). And what the best one
    itself left is added, with its error."""
    calls = []

    def evaluate(parameters, draws, data):
        calls.append(len(draws))
        return SimpleNamespace(log_ratio=parameters["flat"] * np.exp(spread * draws[:, 0]))

    objective = SimpleNamespace(dimension=1, evaluate=evaluate)
    best = Outcome({"flat": np.array(1.0)}, Gap(0.25, 0.125), True, None, 0)
    gap = gap_between(objective, {}, {"flat": np.array(0.0)}, best, Options(budget=budget), 0)
    assert len(calls) == 2 * BATCHES * count and BATCHES * 4 == MOST_BATCHES
    assert gap.mcse > 0.125
    if spread < 1:
        assert abs(gap.value - 0.25 - np.exp(spread**2 / 2)) < 4 * np.sqrt(gap.mcse**2 - 0.125**2)
