"""The ledger's terms and their errors from numbers of which no two are equal: each branch, by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from test_measures import a_fit
from xarray import DataTree

from compare.comparison import Fit
from compare.summary import Estimate, Ledger
from models.contract import Best

LEDGER = import_module("compare.measure.ledger")

ELBO, EVIDENCE, GAP = Estimate(-3.5, 0.003), Estimate(-3.1, 0.004), Estimate(0.07, 0.012)
BEST, AUXILIARY, SYMMETRY = Estimate(-3.3, 0.005), Estimate(0.11, 0.006), Estimate(0.02, 0.007)
MARGINAL, DATA_FIT = 0.008, np.linspace(-1, 1, 8).std(ddof=1) / math.sqrt(8)
OPTIMISER = {"elbo": ELBO.value, "elbo_mcse": ELBO.mcse, "gap": GAP.value, "gap_mcse": GAP.mcse}


def a_ledger(monkeypatch, best: float | None = None, symmetry: Estimate | None = None, **end: Any) -> Ledger:
    monkeypatch.setattr(LEDGER, "evidence_error", lambda truth: EVIDENCE.mcse)
    monkeypatch.setattr(LEDGER, "symmetry_gap", lambda fit: symmetry)
    known = Best(best, 0.0, "closed form", {}) if best is not None else None
    return LEDGER.ledger(fitted(**end), SimpleNamespace(log_evidence=EVIDENCE.value), known)


def fitted(**end: Any) -> Fit:
    """Eight draws with log prior -1.5 on average, and log likelihood -2.3."""
    fit = a_fit(np.random.default_rng(0).normal(size=(2, 4, 1)), "svi")
    fit.tree["optimisation"].attrs.update(OPTIMISER | {"converged": 1} | end)
    noise = np.linspace(-1, 1, 8).reshape(2, 4)
    fit.tree["sample_stats"]["log_prior"].values[:] = -1.5 + 2 * noise
    fit.tree["sample_stats"]["log_joint"].values[:] = -3.8 + 3 * noise
    return fit


def near(estimate: Estimate | None, value: float, *errors: float) -> bool:
    """Whether it is this value with the errors added as squares."""
    assert estimate is not None
    return estimate.value == pytest.approx(value, rel=1e-11) and estimate.mcse == pytest.approx(
        math.hypot(*errors), rel=1e-5, abs=1e-15
    )


def test_data_fit_and_complexity(monkeypatch):
    terms = a_ledger(monkeypatch)
    assert near(terms.elbo, -3.5, 0.003) and near(terms.evidence_gap, 0.4, 0.003, 0.004)
    assert near(terms.data_fit, -2.3, DATA_FIT) and near(terms.complexity, 1.2, DATA_FIT, 0.003)


def test_the_optimisers_own_gap(monkeypatch):
    terms = a_ledger(monkeypatch, symmetry=SYMMETRY)
    assert near(terms.optimisation_gap, 0.07, 0.012) and terms.symmetry_gap == SYMMETRY
    assert near(terms.family_gap, -3.1 - (-3.5 + 0.07) - 0.02, 0.004, 0.003, 0.012, 0.007)
    assert (terms.amortisation_gap, terms.auxiliary_gap) == (None, None)
    assert near(a_ledger(monkeypatch).family_gap, 0.33, 0.004, 0.003, 0.012)


def test_the_best_member_by_closed_form(monkeypatch):
    for converged in (1, 0):
        terms = a_ledger(monkeypatch, -3.3, SYMMETRY, converged=converged)
        assert near(terms.optimisation_gap, 0.2, 0.003) and near(terms.family_gap, 0.18, 0.004, 0.007)


def test_the_best_without_the_encoder(monkeypatch):
    terms = a_ledger(monkeypatch, best_elbo=BEST.value, best_elbo_mcse=BEST.mcse)
    assert near(terms.family_gap, 0.2, 0.004, 0.005) and near(terms.amortisation_gap, 0.2, 0.003, 0.005)
    assert terms.optimisation_gap is None


def test_a_guide_with_an_auxiliary_variable(monkeypatch):
    known = {"auxiliary_gap": AUXILIARY.value, "auxiliary_gap_mcse": AUXILIARY.mcse, "marginal_elbo_mcse": MARGINAL}
    terms = a_ledger(monkeypatch, **known)
    assert near(terms.auxiliary_gap, 0.11, 0.006) and near(terms.optimisation_gap, 0.07, 0.012)
    lost = a_ledger(monkeypatch, gap=math.nan, **known)  # the family gap includes the optimisation gap
    assert near(lost.auxiliary_gap, 0.11, 0.006) and lost.optimisation_gap is None
    assert near(lost.family_gap, -3.1 - (-3.5 + 0.11), 0.004, MARGINAL)
    stopped = a_ledger(monkeypatch, converged=0, **known)
    assert near(stopped.auxiliary_gap, 0.11, 0.006) and stopped.family_gap is stopped.optimisation_gap is None


@pytest.mark.parametrize("end", [{"converged": 0}, {"gap": math.nan}, {"gap": math.inf}])
def test_where_the_best_is_not_known_only_the_sum_is(monkeypatch, end):
    terms = a_ledger(monkeypatch, **end)
    assert near(terms.evidence_gap, 0.4, 0.003, 0.004)
    assert terms.family_gap is terms.optimisation_gap is terms.auxiliary_gap is None


def test_what_is_known_without_the_evidence(monkeypatch):
    monkeypatch.setattr(LEDGER, "symmetry_gap", lambda fit: SYMMETRY)
    for truth in (None, SimpleNamespace(log_evidence=None)):
        terms = LEDGER.ledger(fitted(), truth, None)
        assert terms.elbo and terms.data_fit and terms.complexity and terms.symmetry_gap == SYMMETRY
        assert terms.evidence_gap is terms.family_gap is terms.optimisation_gap is None
    fit = fitted()
    improper = replace(fit, job=replace(fit.job, layout=replace(fit.job.layout, improper=("z",))))
    terms = LEDGER.ledger(improper, None, None)
    assert terms.elbo and terms.data_fit and terms.complexity is None
    fit.tree["sample_stats"]["log_prior"].values[0, 0] = -math.inf
    terms = LEDGER.ledger(fit, None, None)
    assert terms.elbo and terms.data_fit is terms.complexity is None


def test_the_posterior_itself_has_the_evidence_for_an_elbo(monkeypatch):
    """It has no gaps; where its evidence is not known its ELBO is what its draws gave."""
    monkeypatch.setattr(LEDGER, "symmetry_gap", lambda fit: Estimate(0.0))
    fit = fitted()
    exact = replace(fit, job=replace(fit.job, method="exact"))
    terms = LEDGER.ledger(exact, SimpleNamespace(log_evidence=-3.1), None)
    assert (
        terms.elbo == Estimate(-3.1) and terms.evidence_gap == Estimate(0.0) and near(terms.complexity, 0.8, DATA_FIT)
    )
    assert terms.family_gap == terms.optimisation_gap == Estimate(0.0) and terms.auxiliary_gap is None
    assert near(LEDGER.ledger(exact, SimpleNamespace(log_evidence=None), None).elbo, -3.5, 0.003)


@pytest.mark.parametrize("method", ["nuts", "draws", "reference", "importance", "svi"])
def test_what_has_no_density_has_no_ledger(method):
    fit = fitted()
    tree = fit.tree.copy()
    tree["sample_stats"] = DataTree(tree["sample_stats"].dataset.drop_vars("log_guide" if method == "svi" else ()))
    assert LEDGER.ledger(replace(fit, job=replace(fit.job, method=method), tree=tree), None, None) == Ledger()


def test_an_elbo_in_closed_form_keeps_all_its_digits(monkeypatch):
    value = -3.5000000000012345
    assert a_ledger(monkeypatch, elbo=value, elbo_mcse=0.0).elbo == Estimate(value, 0.0)
    assert a_ledger(monkeypatch, elbo=value).elbo == Estimate(-3.5, 0.003)
