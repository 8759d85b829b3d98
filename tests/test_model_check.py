"""Whether the model itself fits its data: p-values against a direct computation, and what is said of them."""

from __future__ import annotations

import arviz_base
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr
from scipy import stats

from compare import compare
from compare.measure import model_check
from compare.measure.model_check import check_model, p_value
from compare.summary import LooPit, ModelCheck, PredictiveP
from compare.verdict.model_check import judge_model
from compare.verdict.thresholds import EXTREME

ERRORS = 4.0  # standard errors that a right number may be off
SHAPE = (4, 500)


def normal_tree(y: np.ndarray, rng: np.random.Generator) -> xr.DataTree:
    """The tree of y ~ N(mean, 1), mean ~ N(0, 4), from its closed form."""
    precision = 1 / 4 + len(y)
    mean = y.sum() / precision + rng.standard_normal(SHAPE) / np.sqrt(precision)
    return arviz_base.from_dict(
        {
            "posterior": {"mean": mean},
            "log_likelihood": {"y": stats.norm(mean[..., None], 1).logpdf(y)},
            "posterior_predictive": {"y": mean[..., None] + rng.standard_normal((*SHAPE, len(y)))},
            "observed_data": {"y": y},
        }
    )


def poisson_tree(y: np.ndarray, rng: np.random.Generator) -> xr.DataTree:
    """The tree of y ~ Poisson(rate), rate ~ Gamma(1, 1/10), from its closed form."""
    rate = rng.gamma(1 + y.sum(), 1 / (0.1 + len(y)), SHAPE)
    return arviz_base.from_dict(
        {
            "posterior": {"rate": rate},
            "log_likelihood": {"y": stats.poisson(rate[..., None]).logpmf(y)},
            "posterior_predictive": {"y": rng.poisson(rate[..., None], (*SHAPE, len(y)))},
            "observed_data": {"y": y},
        }
    )


def checked(tree: xr.DataTree) -> ModelCheck:
    return judge_model(check_model("exact", "", tree, False))


def test_the_p_values_are_those_of_the_closed_form():
    y = np.random.default_rng(3).normal(0.7, 1.0, 12)
    p = checked(normal_tree(y, np.random.default_rng(4))).statistics["y"]
    precision = 1 / 4 + len(y)
    mean = stats.norm(y.sum() / precision, np.sqrt(1 / precision + 1 / len(y))).sf(y.mean())
    sd = stats.chi2(len(y) - 1).sf(y.var() * len(y))
    assert abs(p["mean"].value - mean) < ERRORS * p["mean"].mcse
    assert abs(p["sd"].value - sd) < ERRORS * p["sd"].mcse
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    centres = y.sum() / precision + nodes / np.sqrt(precision)
    largest = 1 - np.sum(weights * stats.norm(centres, 1).cdf(y.max()) ** len(y)) / weights.sum()
    smallest = np.sum(weights * stats.norm(centres, 1).sf(y.min()) ** len(y)) / weights.sum()
    assert abs(p["max"].value - largest) < ERRORS * p["max"].mcse
    assert abs(p["min"].value - smallest) < ERRORS * p["min"].mcse
    assert p["mean"].observed == pytest.approx(y.mean())


def test_of_a_right_model_p_values_are_uniform_or_nearer_to_a_half():
    """The sd does not depend on the mean, so that its p-value is uniform; the others are less spread (Meng 1994)."""
    rng, data_sets = np.random.default_rng(5), 200
    checks = [checked(normal_tree(rng.normal(rng.normal(0, 2), 1.0, 12), rng)) for _ in range(data_sets)]
    values = {name: np.array([c.statistics["y"][name].value for c in checks]) for name in ("mean", "sd", "min", "max")}
    assert stats.kstest(values["sd"], "uniform").pvalue > 1e-4
    for p in values.values():
        assert abs(p.mean() - 0.5) < ERRORS * np.sqrt(1 / 12 / data_sets)
        assert p.var() < 1 / 12 + ERRORS * np.sqrt(1 / 180 / data_sets)  # 1/180: the variance of (U - 1/2)^2
    alarms = sum(c.sentence is not None for c in checks)
    assert alarms <= 8 * EXTREME * data_sets + ERRORS * np.sqrt(8 * EXTREME * data_sets)


def test_ties_count_by_half_so_that_discrete_p_values_have_mean_a_half():
    rng, data_sets = np.random.default_rng(6), 200
    p = [p_value(rng.poisson(2.0), rng.poisson(2.0, SHAPE)).value for _ in range(data_sets)]
    assert abs(np.mean(p) - 0.5) < ERRORS * np.sqrt(1 / 12 / data_sets)
    exact = stats.poisson(2.0).sf(3) + stats.poisson(2.0).pmf(3) / 2
    p = p_value(3.0, rng.poisson(2.0, SHAPE))
    assert abs(p.value - exact) < ERRORS * p.mcse


def test_weights_stand_for_the_posterior():
    """Draws of N(0, 2), weighted to N(1, 1): the p-value of 1.5 is that of N(1, 1)."""
    rng = np.random.default_rng(7)
    draws = 2 * rng.standard_normal((4, 2000))
    ratio = stats.norm(1, 1).logpdf(draws) - stats.norm(0, 2).logpdf(draws)
    weights = np.exp(ratio) / np.exp(ratio).sum()
    p = p_value(1.5, draws, weights)
    assert abs(p.value - stats.norm(1, 1).sf(1.5)) < ERRORS * p.mcse


@pytest.mark.parametrize("observed", [-0.5, 2.0])
def test_the_error_of_a_weighted_p_value_is_what_it_varies_by(observed):
    """Of N(1, 1) by 1,000 weighted draws of N(0, 1.3); as many unweighted ones would have an error that is 1.6 times as
    large on the one side, where weights are small, and 0.65 times on the other. Over 400 sets, within 4 errors."""
    rng, p_values, right = np.random.default_rng(12), [], stats.norm(1, 1).sf(observed)
    for _ in range(400):
        draws = 1.3 * rng.standard_normal((4, 250))
        ratio = np.exp(stats.norm(1, 1).logpdf(draws) - stats.norm(0, 1.3).logpdf(draws))
        p = p_value(observed, draws, ratio / ratio.sum())
        p_values.append((p.value - right) / p.mcse)
    squares = np.square(p_values)
    assert abs(squares.mean() - 1) < ERRORS * squares.std() / np.sqrt(400) + 0.05  # a ratio of averages


def test_overdispersed_counts_under_a_poisson_are_told_and_right_counts_are_not():
    rng = np.random.default_rng(8)
    over = rng.poisson(rng.gamma(1.0, 5.0, 40))
    check = checked(poisson_tree(over, rng))
    assert check.statistics["y"]["sd"].value < EXTREME
    assert check.sentence.startswith("the model does not fit its data: ")
    assert "the sd of y is too large for it (p 0 ± " in check.sentence
    assert check.loo_pit["y"].observations == 40
    assert check.loo_pit["y"].p_value < EXTREME
    assert checked(poisson_tree(rng.poisson(5.0, 40), rng)).sentence is None


def test_of_many_observations_some_are_looked_at_and_as_many_are_said(monkeypatch):
    """They are spread evenly over all: the p-value is that of a tree that holds only these."""
    monkeypatch.setattr(model_check, "MOST", 25)
    rng = np.random.default_rng(10)
    tree = normal_tree(rng.normal(0.0, 1.0, 61), rng)
    places = np.linspace(0, 60, 25).round().astype(int)
    some = arviz_base.from_dict(
        {name: {site: values.values[..., places] for site, values in group.data_vars.items()} if "y" in group
         else {site: values.values for site, values in group.data_vars.items()}
         for name, group in tree.children.items()}
    )  # fmt: skip
    checked_tree, alone = (checked(each).loo_pit["y"] for each in (tree, some))
    assert checked_tree.observations == 25
    assert checked_tree.p_value == pytest.approx(alone.p_value, rel=1e-9)


def test_masked_observations_do_not_count():
    rng = np.random.default_rng(9)
    y = rng.normal(0.0, 1.0, 30)
    tree = normal_tree(y, rng)
    tree["observed_data"]["y"].values[3] = 1e6
    tree["log_likelihood"]["y"].values[..., 3] = 0.0
    assert checked(tree).sentence is None


def test_an_observation_that_is_certain_at_some_draws_is_not_masked():
    """Its log likelihood is 0 there, as of an event of probability 1; the statistics are of all observations."""
    rng = np.random.default_rng(9)
    y = rng.normal(3.0, 2.0, 30)
    tree = normal_tree(y, rng)
    tree["log_likelihood"]["y"].values[1, 7, :10] = 0.0
    statistics = checked(tree).statistics["y"]
    expected = {"mean": y.mean(), "sd": y.std(), "min": y.min(), "max": y.max()}
    assert {name: p.observed for name, p in statistics.items()} == pytest.approx(expected)


def test_where_no_draw_lies_on_one_side_half_a_draw_may():
    """The error of the share of one half among n draws, sqrt(1/2) / n; by weights n is their effective number."""
    draws, weights = np.linspace(0, 1, 40).reshape(4, 10), np.repeat([0.01, 0.04], 20).reshape(4, 10)
    for observed, value in ((-1.0, 1.0), (2.0, 0.0)):
        for share, count in ((None, 40), (weights, 1 / (20 * 0.01**2 + 20 * 0.04**2))):
            p = p_value(observed, draws, share)
            assert (p.value, p.observed) == (pytest.approx(value), observed)
            assert p.mcse == pytest.approx(0.5**0.5 / count)


def test_a_guides_weights_belong_to_its_draws():
    """Chain by chain and draw by draw, as the replicates that they weigh: the heavier, the larger the ratio."""
    rng = np.random.default_rng(11)
    tree = normal_tree(rng.normal(size=5), rng)
    axes, ratio = ("chain", "draw"), rng.normal(0, 0.5, SHAPE)
    tree["sample_stats"] = xr.DataTree(
        xr.Dataset({"log_joint": (axes, ratio - 3), "log_guide": (axes, np.full(SHAPE, -3.0))})
    )
    weights = model_check.weights_of(tree)
    assert weights.shape == SHAPE and weights.sum() == pytest.approx(1)
    assert (weights.ravel()[np.argsort(ratio.ravel())] == np.sort(weights.ravel())).all()
    tree["posterior_predictive"]["y"].values[..., :] = 0.0
    tree["posterior_predictive"]["y"].values[2, 41] = 100.0
    p = check_model("a guide", "", tree, True).statistics["y"]["max"]
    assert p.value == pytest.approx(weights[2, 41])


@pytest.mark.parametrize(("count", "is_tried"), [(19, False), (20, True)])
def test_the_leave_one_out_pit_is_tried_from_twenty_observations(count, is_tried):
    rng = np.random.default_rng(12)
    assert bool(checked(normal_tree(rng.normal(size=count), rng)).loo_pit) == is_tried


def test_what_is_said_of_the_model_are_its_numbers():
    """The side by the p-value, its error, and a threshold that the statistics of several sites share."""
    p, certain = PredictiveP(0.5, 0.01, 1.0), PredictiveP(1e-5, 2e-5, 7.0)
    large = ModelCheck("exact", None, {"y": {"mean": p, "max": certain}, "x": {"min": PredictiveP(1.0, 3e-5, 7.0)}})
    assert judge_model(large).sentence == (
        "the model does not fit its data: the max of y is too large for it (p 1e-05 ± 2e-05); "
        "the min of x is too small for it (p 1 ± 3e-05)"
    )
    inside = EXTREME - ERRORS * 2e-5
    for value, sites, is_said in ((inside - 1e-9, 1, True), (inside + 1e-9, 1, False), (inside / 2, 2, False)):
        several = {f"y{k}": {"mean": p, "sd": p, "min": p, "max": PredictiveP(value, 2e-5, 7.0)} for k in range(sites)}
        assert (judge_model(ModelCheck("exact", None, several)).sentence is not None) == is_said
    uneven = ModelCheck("exact", None, {}, {"y": LooPit(40, 2e-5), "x": LooPit(40, 0.5)})
    expected = "the model does not fit its data: the leave-one-out PIT of y is not uniform (p 2e-05)"
    assert judge_model(uneven).sentence == expected


def test_a_comparison_says_so():
    """The check is in the summary, in the terminal when it is extreme, and on the page."""
    counts = np.array([0, 0, 0, 1, 14, 2, 0, 25, 3, 0, 9, 0, 31, 1, 0, 2, 17, 0, 4, 0, 6, 22, 0, 1])

    def poisson(counts):
        rate = numpyro.sample("rate", dist.Gamma(1.0, 0.1))
        with numpyro.plate("data", len(counts)):
            numpyro.sample("counts", dist.Poisson(rate), obs=counts)

    result = compare(poisson, {"counts": counts}, guides=[], nuts=False)
    check = result.summary["model_check"]
    assert check["fit"] == "exact"
    assert check["statistics"]["counts"]["sd"]["value"] < EXTREME
    assert "the sd of counts is too large for it" in " ".join(str(result).split())
    assert not np.isnan(result.tree["exact"]["log_likelihood"]["counts"].values).any()
