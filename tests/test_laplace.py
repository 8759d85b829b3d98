"""Laplace's approximation against closed forms, the libraries' own, and what its verdict says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from conftest import LIBRARIES, side
from scipy import special

import guides
import models
from compare.cli.main import main
from compare.comparison import Job, Request
from compare.fit import run
from compare.fit.svi.laplace import laplace, positive_factor
from compare.fit.svi.svi import optimise_many
from compare.fit.svi.unoptimised import take_all
from compare.options import Options
from compare.pipeline import compare as compare_all
from models.coin import Coin
from models.logistic import LogisticData


def at_mode(library: str, name: str, data):
    """The family's outcome on a model of the catalogue."""
    arguments, static = side(library).split_arguments(data.arguments())
    objective = side(library).prepare(name, "laplace", static, arguments)
    (outcome,) = take_all(optimise_many, objective, [arguments], guides.load("laplace"), Options(), [0])
    return outcome


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(("heads", "tosses"), [(6, 10), (0, 3)])
def test_the_coin_in_closed_form(library, heads, tosses):
    """On the logit the mode of Beta(a, b) is log a/b and its curvature ab / (a + b)."""
    outcome, a, b = at_mode(library, "coin", Coin(heads, tosses)), 2 + heads, 2 + tosses - heads
    variance = (a + b) / (a * b)
    assert outcome.parameters["location"] == pytest.approx([math.log(a / b)], abs=1e-4 * math.sqrt(variance))
    assert outcome.parameters["scale_tril"] == pytest.approx(np.full((1, 1), math.sqrt(variance)), rel=1e-4)
    height = a * math.log(a / (a + b)) + b * math.log(b / (a + b)) - special.betaln(2, 2)
    height += math.log(math.comb(tosses, heads))
    assert outcome.log_evidence_at_mode == pytest.approx(height + 0.5 * math.log(2 * math.pi * variance), abs=1e-7)


def test_numpyro_has_the_same_covariance():
    import jax
    import jax.numpy as jnp
    from numpyro.infer.autoguide import AutoLaplaceApproximation

    from models.logistic.in_numpyro import model

    data = LogisticData()
    ours = at_mode("numpyro", "logistic", data).parameters
    guide = AutoLaplaceApproximation(model)
    arguments = {name: jnp.asarray(value) for name, value in data.arguments().items()}
    with jax.enable_x64():
        from numpyro import handlers

        handlers.seed(guide, 0)(**arguments)
        theirs = guide.get_posterior({"auto_loc": jnp.asarray(ours["location"])})
    assert ours["scale_tril"] @ ours["scale_tril"].T == pytest.approx(np.asarray(theirs.covariance_matrix), rel=1e-6)


def test_pyro_has_the_same_covariance():
    import pyro
    import torch
    from pyro.infer.autoguide import AutoLaplaceApproximation

    from models.logistic.in_pyro import model

    data = LogisticData()
    ours = at_mode("pyro", "logistic", data).parameters
    guide = AutoLaplaceApproximation(model)
    arguments = {name: torch.as_tensor(value) for name, value in data.arguments().items()}
    with pyro.get_param_store().scope():
        guide(**arguments)
        guide.loc = torch.nn.Parameter(torch.as_tensor(ours["location"]))
        theirs = guide.laplace_approximation(**arguments).get_posterior(**arguments)
    covariance = theirs.covariance_matrix.detach().numpy()
    assert ours["scale_tril"] @ ours["scale_tril"].T == pytest.approx(covariance, rel=1e-6)


@pytest.fixture(scope="module")
def launches():
    """The O-rings with Laplace and the best Gaussian."""
    model = models.load("logistic")
    return compare_all(Request(model, model.data(), ("numpyro",), ("laplace", "full_rank"), nuts=False))


def test_the_ledger_splits_what_the_mode_loses_from_what_the_family_does(launches):
    ledger = launches.summaries["numpyro-laplace"].ledger
    assert ledger.family_gap.value == pytest.approx(0.03486, abs=1e-5)
    assert ledger.family_gap == launches.summaries["numpyro-full_rank"].ledger.family_gap
    left = launches.summaries["numpyro-laplace"].optimisation.gap
    error = math.hypot(left.mcse, ledger.optimisation_gap.mcse)
    assert left.value == pytest.approx(ledger.optimisation_gap.value, abs=4 * error)
    assert left.value > 0.05


def test_the_verdict_blames_the_mode(launches):
    summary = launches.summaries["numpyro-laplace"]
    assert summary.verdict.word == "off"  # the mode is 0.38 sd from the mean
    assert "the mode was found" in summary.verdict.sentence
    assert f"{summary.optimisation.log_evidence_at_mode:.4f}" in summary.verdict.sentence
    assert "Use full_rank" in summary.verdict.sentence
    assert launches.summaries["numpyro-full_rank"].optimisation.log_evidence_at_mode is None


def test_without_a_mode_it_fails_and_the_other_data_sets_go_on():
    data = [Coin(6, 10), Coin(2, 10)]
    split = [side("numpyro").split_arguments(coin.arguments()) for coin in data]
    arguments = [arrays for arrays, _ in split]
    objective = side("numpyro").prepare("coin", "laplace", split[0][1], arguments[0])
    arguments[1] = arguments[1] | {"alpha": arguments[1]["alpha"] * 0 - 20.0}  # no Beta: the density has no top
    good, bad = take_all(optimise_many, objective, arguments, guides.load("laplace"), Options(), [0, 0])
    assert good.parameters["location"] == pytest.approx([math.log(8 / 6)], abs=1e-4)
    assert isinstance(bad, ArithmeticError)


def test_without_a_finite_curvature_the_reason_is_said():
    with pytest.raises(FloatingPointError, match="no finite curvature"):
        positive_factor(np.array([[1.0, np.nan], [np.nan, 1.0]]))


def test_the_program_of_a_fit_is_refused_in_a_line(capsys):
    assert main(["coin", "--show", "--guides", "laplace", "--libraries", "pyro"]) == 2
    assert "AutoLaplaceApproximation" in capsys.readouterr().err


def test_no_other_optimiser_is_said_to_have_made_it():
    job = Job("numpyro-laplace", "coin", Coin(6, 10), "svi", "numpyro", "laplace", options=Options(optimiser="adam"))
    assert run(job).tree["optimisation"].attrs["optimiser"] == "zoo"


@pytest.mark.parametrize(
    ("value", "slope", "line"),
    [
        (-np.inf, 0.0, "the log joint is not finite (-inf) where the guide starts"),
        (-1.5, np.nan, "the log joint is -1.5 with a gradient that is not finite where the guide starts"),
    ],
)
def test_a_climb_that_cannot_begin_says_what_is_not_finite(value, slope, line):
    (failed,) = laplace(lambda which, at: (np.array([value]), np.full((1, 2), slope)), None, np.zeros((1, 2)))
    assert isinstance(failed, FloatingPointError) and str(failed) == line
