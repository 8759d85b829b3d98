"""A single point as a guide: the mode of the density against closed forms, and what its verdict and pictures say."""

from __future__ import annotations

import warnings
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
from conftest import LIBRARIES, side
from scipy import optimize, stats
from test_user_guides import COUNTS, DATA, MEAN, written

import guides
import models
from compare import check, compare, fit_guide
from compare.cli.main import main
from compare.comparison import Request
from compare.fit.svi import points
from compare.fit.svi.svi import optimise
from compare.measure.many import moments as moments_of_many
from compare.measure.moments import moments
from compare.options import Options
from compare.pipeline import compare as compare_all
from compare.report.plots.posteriors import densities, forest
from compare.user_model.process import undisturbed
from compare.verdict.judge import judge
from models.coin import Coin
from models.linear.data import LinearData
from models.logistic import LogisticData

SHAPE, RATE = 2 + 31, 1 + 8
"""Of the posterior of the rate of `COUNTS`, a Gamma."""


def mode_of(library: str, name: str, data, options: Options | None = None):
    """The family's outcome on a model of the catalogue, and its latents."""
    with undisturbed(library):
        arguments, static = side(library).split_arguments(data.arguments())
        objective = side(library).prepare(name, "map", static, arguments)
        outcome = optimise(objective, arguments, guides.load("map"), options or Options(), 0)
        drawn = objective.evaluate(outcome.parameters, points.NO_DRAWS, arguments)
    return outcome, {site: value[0] for site, value in drawn.latents.items()}, float(drawn.log_ratio[0])


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(("heads", "tosses"), [(6, 10), (0, 3)])
def test_the_coin_in_closed_form(library, heads, tosses):
    """The mode of Beta(a, b), not that of its logit, a / (a + b); and the height there."""
    outcome, latents, height = mode_of(library, "coin", Coin(heads, tosses))
    a, b = 2 + heads, 2 + tosses - heads
    mode = (a - 1) / (a + b - 2)
    assert latents["theta"] == pytest.approx(mode, abs=1e-4 * stats.beta(a, b).std())
    assert height == pytest.approx(stats.beta(2, 2).logpdf(mode) + stats.binom(tosses, mode).logpmf(heads), abs=1e-7)
    assert outcome.converged and outcome.gap.value < 1e-7 and outcome.gap.mcse == 0


@pytest.mark.parametrize("library", LIBRARIES)
def test_where_the_posterior_is_gaussian_the_mode_is_the_mean(library):
    data = LinearData(prior="known")
    _, latents, _ = mode_of(library, "linear", data)
    truth = models.load("linear").truth(data)
    for site, mean in truth.mean().items():
        assert (latents[site] - mean) / truth.sd()[site] == pytest.approx(np.zeros(np.shape(mean)), abs=1e-4)


@pytest.mark.parametrize("library", LIBRARIES)
def test_logistic_regression_against_scipy(library):
    data = LogisticData()
    known = data.arguments()
    design = np.column_stack([np.ones(len(known["inputs"])), known["inputs"]])

    def minus_log_joint(w):
        scores = design @ w
        likelihood = known["targets"] @ scores - np.logaddexp(0, scores).sum()
        return -likelihood - stats.norm(0, known.get("prior_sd", 2.5)).logpdf(w).sum()

    best = optimize.minimize(minus_log_joint, np.zeros(design.shape[1]), options={"gtol": 1e-9})
    _, latents, height = mode_of(library, "logistic", data)
    assert [latents["intercept"], *latents["weights"]] == pytest.approx(best.x, abs=1e-4)
    assert height == pytest.approx(-best.fun, abs=1e-7)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_long_chain(library):
    """Where the curvature is held as a band, and Newton's steps take its place."""
    data = models.load("chain").data(length=2000)
    outcome, latents, _ = mode_of(library, "chain", data)
    truth = models.load("chain").truth(data)
    assert outcome.converged
    assert np.abs((latents["z"] - truth.mean()["z"]) / truth.sd()["z"]).max() < 1e-4


@pytest.mark.slow
def test_a_long_model_that_is_no_chain():
    """A regression of 700 columns: a band of its curvature would say nothing."""
    import numpyro
    import numpyro.distributions as dist

    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(800, 700))
    targets = 0.1 * inputs @ rng.normal(size=700) + rng.normal(size=800)

    def regression(inputs, targets):
        weights = numpyro.sample("weights", dist.Normal(0, 0.1).expand([700]).to_event(1))
        numpyro.sample("targets", dist.Normal(inputs @ weights, 1.0).to_event(1), obs=targets)

    best = fit_guide(regression, {"inputs": inputs, "targets": targets}, "map")
    exact = np.linalg.solve(inputs.T @ inputs + 100 * np.eye(700), inputs.T @ targets)
    assert best.optimisation.converged
    assert best.params["weights_auto_loc"] == pytest.approx(exact, abs=1e-5)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_density_without_a_maximum_is_refused_in_a_line(library):
    """Eight schools as centred: the density grows as tau^-8 where all schools are alike."""
    model = import_module(f"tests.user_models.eight_schools_{library}")
    with pytest.raises(ValueError, match=r"the density has no maximum: log p\(x, z\) is .* at tau = .*e-") as refusal:
        fit_guide(model.model, model.data, "map")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("library", LIBRARIES)
def test_from_a_saddle_it_climbs_on(library):
    """Pyro's topics start all equal, where the slope is 0 but for rounding; the density has no maximum."""
    with pytest.raises(FloatingPointError, match="the density has no maximum"):
        mode_of(library, "lda", models.load("lda").data())


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_maximum_at_the_edge_is_a_mode(library):
    """No head in three tosses under a uniform prior: the density 4 (1 - theta)^3 is highest at 0."""
    outcome, latents, height = mode_of(library, "coin", Coin(0, 3, 1.0, 1.0))
    assert outcome.converged
    assert 0 <= latents["theta"] < 1e-6
    assert height == pytest.approx(0.0, abs=1e-5)


def fitted(model, data: dict, guide="map"):
    """What is said of the climb on a model of a test, in NumPyro, and its params."""
    best = fit_guide(model, data, guide)
    return best, {site.removesuffix("_auto_loc"): np.asarray(value) for site, value in best.params.items()}


def from_mean(model):
    """NumPyro's AutoDelta that starts at the prior's means."""
    from numpyro.infer import init_to_mean
    from numpyro.infer.autoguide import AutoDelta

    return AutoDelta(model, init_loc_fn=init_to_mean)


def test_a_real_latent_far_out_beside_one_at_its_edge():
    """The mode of mu is its posterior's mean, 100 / (1 + 1e-4); theta's is 0."""
    import numpyro
    import numpyro.distributions as dist

    def model(m, heads):
        mu = numpyro.sample("mu", dist.Normal(0.0, 1000.0))
        numpyro.sample("m", dist.Normal(mu, 10.0), obs=m)
        theta = numpyro.sample("theta", dist.Uniform(0.0, 1.0))
        numpyro.sample("heads", dist.Binomial(3, theta), obs=heads)

    best, mode = fitted(model, {"m": np.array(100.0), "heads": np.array(0)})
    assert best.optimisation.converged
    assert mode["mu"] == pytest.approx(100 / (1 + 1e-4), abs=1e-3) and 0 <= mode["theta"] < 1e-6


def test_a_lasso_has_a_maximum():
    """Most weights end at 0, where the density has a kink: how near the mode is may stay unknown, but it is near."""
    import numpyro
    import numpyro.distributions as dist

    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(30, 8))
    targets = inputs[:, :3] @ [0.5, 0.5, 0.5] + rng.normal(size=30)

    def lasso(inputs, targets):
        weights = numpyro.sample("weights", dist.Laplace(0.0, 0.02).expand([8]).to_event(1))
        numpyro.sample("targets", dist.Normal(inputs @ weights, 1.0).to_event(1), obs=targets)

    def minus_log_joint(parts):
        weights = parts[:8] - parts[8:]
        return 0.5 * np.sum((targets - inputs @ weights) ** 2) + parts.sum() / 0.02

    exact = optimize.minimize(minus_log_joint, np.full(16, 0.1), bounds=[(0, None)] * 16, options={"ftol": 1e-15})
    best, mode = fitted(lasso, {"inputs": inputs, "targets": targets})
    assert mode["weights"] == pytest.approx(exact.x[:8] - exact.x[8:], abs=0.02)
    assert best.optimisation.converged or "no maximum" not in best.optimisation.reason


def test_a_latent_that_starts_at_0_has_not_gone_to_the_edge():
    """z starts at a saddle, where z^2 has no slope; mu, whose mode is 100 / 101, starts at 0."""
    import numpyro
    import numpyro.distributions as dist

    def model(y, m):
        z = numpyro.sample("z", dist.Normal(0.0, 1.0))
        mu = numpyro.sample("mu", dist.Normal(0.0, 10.0))
        numpyro.sample("m", dist.Normal(mu, 1.0), obs=m)
        numpyro.sample("y", dist.Normal(z**2, 0.5), obs=y)

    best, mode = fitted(model, {"y": np.array(2.0), "m": np.array(1.0)}, from_mean(model))
    assert best.optimisation.converged
    assert abs(mode["z"]) == pytest.approx(np.sqrt(2 - 0.125), abs=1e-4)
    assert mode["mu"] == pytest.approx(100 / 101, abs=1e-4)


def test_a_long_model_climbs_on_from_a_saddle():
    """Products of pairs that lie far apart, all at 0: no band of the curvature shows that the density bends upwards.

    With u = z^2 for both of a pair, log p is -u - 2 (2 - u)^2 and constants, highest at u = 1.75.
    """
    import numpyro
    import numpyro.distributions as dist

    def pairs(y):
        z = numpyro.sample("z", dist.Normal(0.0, 1.0).expand([2, 301]).to_event(2))
        numpyro.sample("y", dist.Normal(z[0] * z[1], 0.5).to_event(1), obs=y)

    best, mode = fitted(pairs, {"y": np.full(301, 2.0)}, from_mean(pairs))
    assert best.optimisation.converged
    assert mode["z"] ** 2 == pytest.approx(np.full((2, 301), 1.75), abs=1e-3)


def test_a_saddle_of_a_long_model_is_no_top():
    """By Lanczos steps, one direction that bends upwards among 700; none that bends down is taken for it."""

    class Quadratic(points.Surface):
        def at(self, x):
            return float(x @ (self.bent * x)) / 2, self.bent * x

    surface = Quadratic(None, None, {"flat": np.zeros(700)}, np.inf)
    for last, is_top in ((-1.0, True), (0.0, True), (1.0, False)):
        surface.bent = np.append(np.linspace(-3, -1, 699), last)
        assert surface.is_top(np.ones(700), np.random.default_rng(0)) is is_top


def test_without_time_it_is_not_converged():
    outcome, _, _ = mode_of("numpyro", "linear", LinearData(), Options(budget=1e-9))
    assert not outcome.converged and "budget" in outcome.reason


@pytest.fixture(scope="module")
def launches():
    """The O-rings with the mode and Laplace's Gaussian."""
    model = models.load("logistic")
    return compare_all(Request(model, model.data(), ("numpyro",), ("map", "laplace"), nuts=False))


def test_the_ledger_has_no_number_for_a_point(launches):
    summary = launches.summaries["numpyro-map"]
    assert set(vars(summary.ledger).values()) == {None}
    assert summary.diagnostics.khat is None
    assert summary.optimisation.objective.mcse == 0
    assert {variable.sd for variable in summary.judged.values()} == {0.0}


def test_the_verdict_says_how_far_the_mode_is_from_the_mean(launches):
    summary = launches.summaries["numpyro-map"]
    worst = max((variable.mean_error for variable in summary.judged.values()), key=abs)
    assert summary.verdict.word == "off"
    assert f"{worst:+.2f} posterior sd, as a point need not be the posterior's mean" in summary.verdict.sentence
    assert "no bound" in summary.verdict.sentence
    assert summary.without_truth.word == "narrow"
    right = {name: replace(variable, mean_error=0.01) for name, variable in summary.variables.items()}
    verdict = judge(replace(summary, variables=right), Options())
    assert verdict.word == "narrow" and "off by 0.01 sd" in verdict.sentence


def test_its_picture_is_a_line(launches, tmp_path):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=UserWarning)
        figure = densities(launches)
        forest(launches, tmp_path / "forest.png")
    where = [float(variable.mean) for variable in launches.summaries["numpyro-map"].variables.values()]
    panels = [axes for axes in figure.axes if axes.get_title() == "map"]
    drawn = [line.get_xdata()[0] for axes in panels for line in axes.lines if len(set(line.get_xdata())) == 1]
    assert drawn == pytest.approx(where)


def test_rounding_is_no_spread():
    draws = np.full((4, 1024), 0.1)
    assert draws.std() > 0  # by rounding
    assert moments(draws, True) == (0.1, 0.0, 0.0, 0.0)
    assert [float(np.atleast_1d(part)[0]) for part in moments_of_many(draws[..., None], True)] == [0.1, 0.0, 0.0, 0.0]


def trained_numpyro(model, data):
    import jax
    import jax.numpy as jnp
    import numpyro
    from numpyro.infer import SVI, Trace_ELBO
    from numpyro.infer.autoguide import AutoDelta

    guide = AutoDelta(model)
    svi = SVI(model, guide, numpyro.optim.Adam(0.02), Trace_ELBO())
    arrays = {name: jnp.asarray(value) for name, value in data.items()}
    return guide, svi.run(jax.random.key(0), 2000, **arrays, progress_bar=False).params


def trained_pyro(model, data):
    import pyro
    import torch
    from pyro.infer import SVI, Trace_ELBO
    from pyro.infer.autoguide import AutoDelta

    pyro.clear_param_store()
    guide = AutoDelta(model)
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.02}), Trace_ELBO())
    for _ in range(1000):
        svi.step(**{name: torch.as_tensor(value) for name, value in data.items()})
    return guide, None


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_users_trained_autodelta_is_at_the_same_mode(library):
    """Judged as it is: the mode of the Gamma is 0.17 sd below its mean."""
    model = written(library).counts
    guide, params = {"numpyro": trained_numpyro, "pyro": trained_pyro}[library](model, COUNTS)
    fit = check(model, COUNTS, guide=guide, params=params).summary["fits"][f"{library}-AutoDelta"]
    assert (
        fit["verdict"]["word"] == "off" and "as a point need not be the posterior's mean" in fit["verdict"]["sentence"]
    )
    error = ((SHAPE - 1) / RATE - SHAPE / RATE) / (np.sqrt(SHAPE) / RATE)
    assert fit["variables"]["rate"]["mean_error"] == pytest.approx(error, abs=1e-3)


@pytest.mark.parametrize("library", LIBRARIES)
def test_given_params_away_from_the_mode_are_not_converged(library):
    """By the difference of the Gamma's log densities."""
    model = written(library).counts
    name = {"numpyro": "rate_auto_loc", "pyro": "AutoDelta.rate"}[library]
    delta = import_module(f"{library}.infer.autoguide").AutoDelta
    fit = check(model, COUNTS, guide=delta, params={name: np.array(3.0)}).summary["fits"][f"{library}-AutoDelta"]
    density = stats.gamma(SHAPE, scale=1 / RATE).logpdf
    assert fit["verdict"]["word"] == "not converged"
    assert fit["optimisation"]["gap"]["value"] == pytest.approx(density((SHAPE - 1) / RATE) - density(3.0), abs=1e-5)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_users_autodelta_is_fitted_as_the_family_is(library):
    delta = import_module(f"{library}.infer.autoguide").AutoDelta
    fits = {guide: fit_guide(written(library).counts, COUNTS, guide) for guide in ("map", delta)}
    for best in fits.values():
        (rate,) = best.params.values()
        assert rate == pytest.approx((SHAPE - 1) / RATE, abs=1e-6)
        height = stats.gamma(2).logpdf(rate) + stats.poisson(rate).logpmf(COUNTS["y"]).sum()
        assert best.elbo.value == pytest.approx(height, abs=1e-6) and best.elbo.mcse == 0


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_library_s_own_loop_is_measured_against_the_mode(library):
    """Adam at a rate that is too small ends where it can be computed how far it still has to go."""
    result = compare(
        written(library).line, DATA, guides=["map"], nuts=False, optimiser="adam", steps=3, learning_rate=1e-3
    )
    fit = result.summary["fits"][f"{library}-map"]
    there = np.array([fit["variables"][f"b[{i}]"]["mean"] for i in (0, 1)])
    precision = np.eye(2) + DATA["x"].T @ DATA["x"] / 0.25
    short = 0.5 * (there - MEAN) @ precision @ (there - MEAN)
    assert fit["verdict"]["word"] == "not converged"
    assert fit["optimisation"]["gap"]["value"] == pytest.approx(short, rel=1e-5)


def test_points_are_not_calibrated(tmp_path, capsys):
    options = ["--calibrate", "50", "--libraries", "numpyro", "--no-nuts", "--out", str(tmp_path)]
    assert main(["coin", "--guides", "map", *options]) == 0
    assert "map is a single point: it has no intervals" in capsys.readouterr().out


def test_the_program_of_a_fit_is_refused_in_a_line(capsys):
    assert main(["coin", "--show", "--guides", "map", "--libraries", "pyro"]) == 2
    assert "the guide itself stands in guides/map/in_pyro.py" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", models.CATALOGUE)
def test_every_model_of_the_catalogue(library, name):
    """Arrived, and off or narrow; or without a maximum, in a line."""
    model = models.load(name)
    summary = compare_all(Request(model, model.data(), (library,), ("map",), nuts=False, quick=True)).summaries[
        f"{library}-map"
    ]
    if name == "lda":  # its Dirichlet priors grow without end at the edges
        assert summary.status == "failed" and "no maximum" in summary.reason
        return
    assert summary.status == "done" and summary.optimisation.converged
    assert summary.verdict.word in ("off", "narrow") or "By itself: narrow" in summary.verdict.sentence
