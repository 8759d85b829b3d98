"""Pathfinder: its covariances against BlackJAX's and closed forms, its member against every other on the way."""

from __future__ import annotations

import math

import numpy as np
import pytest
from conftest import LIBRARIES, side

import guides
import models
from compare import compare
from compare.cli.main import main
from compare.comparison import Request
from compare.fit.svi.draws import fresh
from compare.fit.svi.elbo import elbos
from compare.fit.svi.ensemble import Outcome, n_rows
from compare.fit.svi.pathfinder import gaussians, inverse_hessian, rescaled, way_to_the_mode
from compare.fit.svi.svi import optimise_many
from compare.fit.svi.unoptimised import take_all
from compare.options import Options
from compare.pipeline import compare as compare_all
from models.coin import Coin
from models.logistic import LogisticData
from tests.bent import DATA, EXACT, model


def gaussian(dimension: int):
    """A Gaussian log joint, and its precision."""
    rng = np.random.default_rng(dimension)
    root = rng.standard_normal((dimension, 2 * dimension))
    precision, mean = root @ root.T / dimension, rng.standard_normal(dimension)
    return lambda x: (-0.5 * (x - mean) @ precision @ (x - mean), -precision @ (x - mean)), precision, mean


SCALE = np.array([0.5, 1.0, 2.0])
STEPS = np.array([[1.0, 0.5, -0.2], [0.1, -0.4, 0.3]])
CHANGES = np.array([[2.0, 0.3, -0.1], [0.2, -0.9, 0.5]])


def test_the_covariance_is_blackjaxs():
    """`lbfgs_inverse_hessian_factors` of BlackJAX 1.7.1, for the same steps and diagonal."""
    theirs = [
        [0.54736832121923, 0.01242260315845, 0.00341335719751],
        [0.01242260315845, 0.71419707941759, 0.48058570168828],
        [0.00341335719751, 0.48058570168828, 1.4636889201599],
    ]
    ours = inverse_hessian(SCALE, list(zip(STEPS, CHANGES, strict=True)))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-13)


def test_the_diagonal_is_blackjaxs():
    """`lbfgs_recover_alpha` of BlackJAX 1.7.1, to the digits that it prints."""
    ours = rescaled(SCALE, STEPS[0], CHANGES[0])
    np.testing.assert_allclose(ours, [0.4820146, 1.10285458, 2.05549876], rtol=0, atol=5e-9)


def test_a_step_that_says_nothing_is_left_out():
    """Along it the log joint curves the wrong way."""
    way = [(np.zeros(2), np.zeros(2)), (np.ones(2), np.ones(2))]
    ((mean, covariance),) = gaussians(way)
    np.testing.assert_array_equal(covariance, np.eye(2))
    np.testing.assert_array_equal(mean, [2.0, 2.0])


def test_on_a_gaussian_the_way_ends_at_its_mean_and_sds_come_near():
    """In three dimensions six steps know the whole Hessian."""
    log_joint, precision, mean = gaussian(3)
    *_, (ended, covariance) = gaussians(way_to_the_mode(log_joint, np.ones(3)))
    np.testing.assert_allclose(ended, mean, atol=1e-6)
    np.testing.assert_allclose(covariance, np.linalg.inv(precision), rtol=0.05, atol=0.02)


def take(library: str, name: str, data, **options) -> Outcome:
    arguments, static = side(library).split_arguments(data.arguments())
    objective = side(library).prepare(name, "pathfinder", static, arguments)
    (outcome,) = take_all(optimise_many, objective, [arguments], guides.load("pathfinder"), Options(**options), [0])
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


@pytest.mark.parametrize("library", LIBRARIES)
def test_its_gap_is_what_the_best_gaussian_would_gain(library):
    """On the O-rings, where the best Gaussian's ELBO is known by quadrature."""
    data = LogisticData()
    outcome, elbo = take(library, "logistic", data), ELBO(library, "logistic", data)
    best = models.load("logistic").best_member(data, "full_rank").elbo
    value, error = elbo.at(outcome.parameters)
    assert outcome.gap.value == pytest.approx(best - value, abs=4 * math.hypot(error, outcome.gap.mcse))
    assert 0 < outcome.gap.value < 0.2


def test_no_other_place_on_the_way_has_a_higher_elbo():
    """At fresh draws, within four errors: none of the Gaussians that L-BFGS comes by."""
    data = LogisticData()
    outcome, elbo = take("numpyro", "logistic", data), ELBO("numpyro", "logistic", data)
    start = elbo.objective.start(0, elbo.arguments)["location"]
    way = way_to_the_mode(lambda x: elbo.objective.log_joint.value(x, elbo.arguments), start)
    others = [
        elbo.at({"location": mean, "scale_tril": np.linalg.cholesky(covariance)}) for mean, covariance in gaussians(way)
    ]
    value, error = elbo.at(outcome.parameters)
    assert len(others) > 3 and min(other for other, _ in others) < value - 0.03
    assert all(other <= value + 4 * math.hypot(error, spread) for other, spread in others)


class ELBO:
    """An objective's ELBO at fresh draws, and its standard error."""

    def __init__(self, library: str, name: str, data) -> None:
        self.arguments, static = side(library).split_arguments(data.arguments())
        self.objective = side(library).prepare(name, "pathfinder", static, self.arguments)

    def at(self, parameters) -> tuple[float, float]:
        rng, shape = np.random.default_rng(5), (n_rows(self.objective.dimension), self.objective.dimension)
        values = elbos(self.objective, parameters, [fresh(rng, *shape) for _ in range(16)], self.arguments)
        return values.mean(), values.std(ddof=1) / 4


def test_the_verdict_says_where_it_was_taken():
    logistic = models.load("logistic")
    request = Request(logistic, logistic.data(), ("numpyro",), ("pathfinder",), nuts=False)
    summary = compare_all(request).summaries["numpyro-pathfinder"]
    assert summary.verdict.word == "off"  # as Laplace is: L-BFGS ends at the mode, 0.38 sd from the mean
    assert "it is the best on L-BFGS's way to the mode" in summary.verdict.sentence
    assert "the way to the mode is not where the family's best member lies" in summary.verdict.sentence
    assert "Use full_rank" in summary.verdict.sentence
    assert summary.optimisation.log_evidence_at_mode is None


def test_on_the_funnel_it_stops_before_the_mode():
    """The mode lies at v = -81/2: the gradient of -v^2 / 18 - 9 v / 2 vanishes there; the mean at 0, in sds of 3."""
    result = compare(
        model("numpyro", "funnel"), DATA["funnel"], guides=["pathfinder"], nuts=False, exact=EXACT["funnel"], seed=0
    )
    v = result.summary["fits"]["numpyro-pathfinder"]["variables"]["v"]
    assert -20 < v["mean"] < 0


def test_a_budget_that_ends_on_the_way_is_said():
    """The member so far is not called the best on the way."""
    outcome = take("numpyro", "logistic", LogisticData(), budget=1e-6)
    assert not outcome.converged and "its budget of 1e-06 s ended on the way to the mode" in outcome.reason
    assert outcome.gradients < take("numpyro", "logistic", LogisticData()).gradients


def test_where_the_log_joint_is_no_number_it_fails_and_the_other_data_sets_go_on():
    data = [Coin(6, 10), Coin(2, 10)]
    split = [side("numpyro").split_arguments(coin.arguments()) for coin in data]
    arguments = [arrays for arrays, _ in split]
    objective = side("numpyro").prepare("coin", "pathfinder", split[0][1], arguments[0])
    arguments[1] = arguments[1] | {"alpha": arguments[1]["alpha"] * math.nan}
    good, bad = take_all(optimise_many, objective, arguments, guides.load("pathfinder"), Options(), [0, 0])
    assert good.gap.upper < 0.01
    assert isinstance(bad, FloatingPointError) and "finite ELBO" in str(bad)


def test_the_program_of_a_fit_is_refused_in_a_line(capsys):
    assert main(["coin", "--show", "--guides", "pathfinder", "--libraries", "pyro"]) == 2
    assert "it is full_rank's guide on the way to the mode" in capsys.readouterr().err
