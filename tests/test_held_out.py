"""The numbers of a whole test set by hand: no two observations, errors or columns are equal."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr

from compare.comparison import Fit, Job
from compare.measure.held_out import ledger, network, per_observation
from compare.summary import Score
from models.contract import Evidences

VALUES = {
    "elbo": [-11.0, -17.5, -12.25],
    "best_elbo": [-10.5, -15.0, -12.0],
    "data_fit": [-8.0, -14.0, -9.5],
    "complexity": [3.0, 3.5, 2.75],
}
ERRORS = {"elbo": [0.1, 0.3, 0.2], "best_elbo": [0.07, 0.02, 0.05], "data_fit": [0.4, 0.6, 0.11]}
KNOWN = Evidences(np.array([-10.0, -14.75, -11.5]), np.array([0.01, 0.04, 0.03]), "a way")


def a_fit(method: str = "amortised") -> Fit:
    columns = VALUES | {f"{name}_mcse": values for name, values in ERRORS.items()}
    group = xr.Dataset({name: ("observation", np.array(values)) for name, values in columns.items()})
    end = xr.Dataset(attrs={"reason": "", "epochs": 12, "speed": 345.5, "converged": 0})
    groups = {"test_set": group, "optimisation": end, "decoder": xr.Dataset({"weights": ("place", np.arange(3.0))})}
    return Fit(Job("a fit", "vae", None, method), "done", seconds=6.5, tree=xr.DataTree.from_dict(groups))


def by_hand(values: list[float], *errors: Any) -> tuple[Any, ...]:
    """Mean, error of the mean of independent errors, sd over sqrt(3)."""
    average = sum(values) / 3
    error = math.sqrt(sum(float(e) ** 2 for each in errors for e in each)) / 3
    return average, error, math.sqrt(sum((value - average) ** 2 for value in values) / 2 / 3)


def same(score: Score, values: list[float], *errors: Any) -> None:
    assert (score.value, score.mcse, score.sampling) == pytest.approx(by_hand(values, *errors), rel=1e-12)


def test_a_guides_terms_and_both_errors_are_those_of_its_observations():
    known, terms = KNOWN.values, ledger(a_fit(), KNOWN)
    elbo, best = np.array(VALUES["elbo"]), np.array(VALUES["best_elbo"])
    same(terms.log_evidence, known, KNOWN.mcse)
    same(terms.elbo, elbo, ERRORS["elbo"])
    same(terms.data_fit, VALUES["data_fit"], ERRORS["data_fit"])
    same(terms.complexity, VALUES["complexity"], ERRORS["data_fit"], ERRORS["elbo"])
    same(terms.evidence_gap, known - elbo, KNOWN.mcse, ERRORS["elbo"])
    same(terms.family_gap, known - best, KNOWN.mcse, ERRORS["best_elbo"])
    same(terms.amortisation_gap, best - elbo, ERRORS["best_elbo"], ERRORS["elbo"])
    unknown = ledger(a_fit(), None)
    assert (unknown.log_evidence, unknown.evidence_gap, unknown.family_gap) == (None, None, None)
    assert unknown.amortisation_gap == terms.amortisation_gap


def test_bits_are_of_an_element_and_their_error_is_that_of_the_observations_number():
    bits, (value, error, sampling) = per_observation(KNOWN, 5), by_hand(KNOWN.values, KNOWN.mcse)
    assert (bits.value, bits.mcse, bits.sampling) == pytest.approx((value, error, sampling), rel=1e-12)
    assert bits.bits == pytest.approx(-value / 5 / math.log(2), rel=1e-12)
    assert bits.bits_sampling == pytest.approx(sampling / 5 / math.log(2), rel=1e-12)
    single = per_observation(Evidences(KNOWN.values[:1], KNOWN.mcse[:1], "a way"), 5)
    assert (single.value, single.mcse, single.sampling) == (-10.0, 0.01, 0.0)


def test_a_networks_numbers_are_those_of_its_training():
    """The evidence is that of its own weights, not of those that the data came with."""
    other = Evidences(KNOWN.values - 1, 2 * KNOWN.mcse, "a way")
    part = SimpleNamespace(with_decoder=lambda data, weights: "theirs", held_out=lambda data: other)
    trained = network(part, "given", a_fit("training"), KNOWN, 5)
    assert (trained.status, trained.reason, trained.seconds) == ("done", None, 6.5)
    assert (trained.epochs, trained.speed, trained.converged) == (12, 345.5, False)
    assert trained.evidence == per_observation(other, 5)
    same(trained.elbo, VALUES["elbo"], ERRORS["elbo"])
    part.with_decoder = lambda data, weights: data
    assert network(part, "given", a_fit("training"), KNOWN, 5).evidence == per_observation(KNOWN, 5)
